"""Key mappings and fields of blocks that several networks of diffusers share."""

from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.backbones.interop.key_mapping import KeyMapping, Name, name, with_prefix

RES: Final[KeyMapping] = {
    "norm1": name("norm1"),
    "conv1": name("conv1"),
    "emb": name("time_emb_proj"),
    "norm2": name("norm2"),
    "conv2": name("conv2"),
    "skip": name("conv_shortcut", spatial=(1, 1)),
}
ATTENTION: Final[KeyMapping] = {
    "norm": name("group_norm"),
    "attention.qkv": name("to_q", "to_k", "to_v", qkv=True),
    "attention.out": name("to_out.0"),
}

_OLD: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def current_key(key: str) -> str:
    """The current key of a tensor; before 2023 the layers of attention had other names."""
    *head, module, leaf = ["", *key.split(".")]
    return ".".join([*head, _OLD.get(module, module), leaf])[1:]


def check_ignored(fields: Fields, base_channels: int) -> None:
    """Take the fields of a U-Net that have no effect, and check ``time_embedding_dim``."""
    fields.optional("num_train_timesteps")  # of learned times
    fields.optional("addition_embed_type_num_heads")  # of another embedding of the text
    features = fields.optional("time_embedding_dim")
    if features not in (None, 4 * base_channels):
        raise CheckpointError(f"time_embedding_dim must be None or {4 * base_channels} for this config, got {features}")


def middle(ours: str, theirs: str, attention: KeyMapping) -> dict[str, Name]:
    """The key mapping of the two residual blocks of a middle and the attention between them."""
    return {
        **with_prefix(f"{ours}.*.res", f"{theirs}.resnets.*", RES),
        **with_prefix(f"{ours}.*.attention", f"{theirs}.attentions.*", attention),
    }
