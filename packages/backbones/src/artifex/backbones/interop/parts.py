"""Parts that several of diffusers' networks are made of, and their names there."""

from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.fields import Fields
from artifex.backbones.interop.names import Name, Table, name, under

RES: Final[Table] = {
    "norm1": name("norm1"),
    "conv1": name("conv1"),
    "emb": name("time_emb_proj"),
    "norm2": name("norm2"),
    "conv2": name("conv2"),
    "skip": name("conv_shortcut", spatial=(1, 1)),
}
ATTENTION: Final[Table] = {
    "norm": name("group_norm"),
    "attend.qkv": name("to_q", "to_k", "to_v", qkv=True),
    "attend.out": name("to_out.0"),
}

_OLD: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def current(key: str) -> str:
    """A tensor's name today, from one that may be of before 2023, when attention had other names."""
    *head, module, leaf = ["", *key.split(".")]
    return ".".join([*head, _OLD.get(module, module), leaf])[1:]


def check_ignored(fields: Fields, base_channels: int) -> None:
    """Take the fields of a U-Net that are of no effect, one of them only at one value."""
    fields.optional("num_train_timesteps")  # of learned times
    fields.optional("addition_embed_type_num_heads")  # of another embedding of the text
    features = fields.optional("time_embedding_dim")
    if features not in (None, 4 * base_channels):
        raise CheckpointError(f"time_embedding_dim must be None or {4 * base_channels} for this config, got {features}")


def middle(ours: str, theirs: str, attention: Table) -> dict[str, Name]:
    """The two residual blocks of a middle and the attention between them."""
    return {
        **under(f"{ours}.*.res", f"{theirs}.resnets.*", RES),
        **under(f"{ours}.*.attention", f"{theirs}.attentions.*", attention),
    }
