"""Parts that several of diffusers' networks are made of, and their names there."""

from typing import Final

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


def middle(ours: str, theirs: str, attention: Table) -> dict[str, Name]:
    """The two residual blocks of a middle and the attention between them."""
    return {
        **under(f"{ours}.*.res", f"{theirs}.resnets.*", RES),
        **under(f"{ours}.*.attention", f"{theirs}.attentions.*", attention),
    }
