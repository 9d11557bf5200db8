"""Roles of parameters: declared for every network here, by rule for a user's own."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax.numpy as jnp
import pytest
from flax import nnx

from artifex.backbones import (
    MLP,
    AutoencoderKL,
    AutoencoderKLConfig,
    CLIPText,
    CLIPTextConfig,
    DiT,
    DiTConfig,
    EDM2Config,
    EDM2UNet,
    Matrices,
    MLPConfig,
    MMDiT,
    MMDiTConfig,
    Role,
    T5Config,
    T5Encoder,
    UNet,
    UNetConditional,
    UNetConditionalConfig,
    UNetConfig,
    UViT,
    UViTConfig,
    hidden_matrices,
    parameter_roles,
)


class Case(NamedTuple):
    """A network, and the roles of its parameters counted by hand from its paper.

    Attributes:
        make: the network.
        hidden: how many parameters are matrices between hidden layers.
        rest: by pattern, the role of every other one of two axes or more.
        fused: by pattern, the kernels that hold several matrices, and how many.
    """

    make: Callable[[nnx.Rngs], nnx.Module]
    hidden: int
    rest: dict[str, str]
    fused: dict[str, int]


H = 16
EMBED = {"*embed.first.kernel": "embedding", "*embed.second.kernel": "embedding", "*embed.labels.table": "embedding"}
ENDS = {"stem.kernel": "input", "out.kernel": "output"}
CORE = {"core.stem.kernel": "input", "core.out.kernel": "output", "*res*.emb.kernel": "modulation"}
DIT = DiTConfig(in_channels=1, hidden=H, depth=2, heads=2, num_classes=3, learn_sigma=False)


def res(inner: int, outer: int) -> int:
    """Two 3x3 convolutions, and the skip projection if the width changes."""
    return 9 * inner * outer + 9 * outer**2 + (inner * outer if inner != outer else 0)


CASES = {
    # Q, K, V and out are 4 h^2, the MLP 8; adaLN's 6 are not counted.
    "dit": Case(lambda r: DiT(DIT, rngs=r), 2 * 12 * H**2,
                {**ENDS, **EMBED, "*modulation.kernel": "modulation"}, {"*qkv.kernel": 3}),
    "dit, embeddings in blocks": Case(
        lambda r: DiT(DiTConfig(in_channels=1, hidden=H, depth=1, heads=2, embed_per_block=True), rngs=r),
        12 * H**2, {**ENDS, **EMBED, "*modulation.kernel": "modulation"}, {"*qkv.kernel": 3}),
    # A block has 12 for the image, 12 for the text, 4 for the dual attention; the last one 3 for the text.
    "mmdit": Case(
        lambda r: MMDiT(MMDiTConfig(in_channels=2, heads=2, head_dim=8, depth=2, context_features=6, pooled_features=5,
                                    dual_layers=(0,), qk_norm=True, max_size=4, sample_size=8), rngs=r),
        (28 + 15) * H**2,
        {**ENDS, **EMBED, "context.kernel": "input", "pooled_*.kernel": "embedding",
         "*modulation.kernel": "modulation"},
        {"*qkv.kernel": 3}),
    "uvit": Case(lambda r: UViT(UViTConfig(in_channels=2, size=4, hidden=H, depth=3, heads=2, num_classes=3), rngs=r),
                 (3 * 12 + 2) * H**2,
                 {**ENDS, "final_conv.kernel": "output", "labels.table": "embedding", "positions": "embedding"},
                 {"*qkv.kernel": 3}),
    "unet": Case(
        lambda r: UNet(UNetConfig(in_channels=1, base_channels=8, channel_mults=(1, 2), num_res_blocks=1, groups=4,
                                  attention_levels=(1,), head_dim=8, num_classes=3), rngs=r),
        # down, middle, up; a strided convolution down, one after doubling; four attentions of 4 c^2
        res(8, 8) + res(8, 16) + 2 * res(16, 16) + res(32, 16) + res(24, 16) + res(24, 8) + res(16, 8)
        + 9 * 8**2 + 9 * 16**2 + 4 * 4 * 16**2,
        {**EMBED, **CORE}, {"*qkv.kernel": 3}),
    "unet, resampled in blocks": Case(
        lambda r: UNet(UNetConfig(in_channels=1, base_channels=8, channel_mults=(1, 1), num_res_blocks=1, groups=4,
                                  attention_levels=(), middle_attention=False, resample="block"), rngs=r),
        # the ways down and up, the middle, and a block for each change
        2 * res(8, 8) + 2 * res(8, 8) + 4 * res(16, 8) + 2 * res(8, 8),
        {**EMBED, **CORE, "*resample.emb.kernel": "modulation"}, {}),
    "unet, conditional": Case(
        lambda r: UNetConditional(
            UNetConditionalConfig(base_channels=8, channel_mults=(1,), depths=(1,), heads=(2,), num_res_blocks=1,
                                  groups=4, context_features=6, pooled_features=5, ids=2, id_features=4), rngs=r),
        # of four transformers the projections around, self-attention, cross-attention, gated MLP; residual blocks
        4 * (2 * 64 + 4 * 64 + 2 * 64 + 6 * 16 + 12 * 64) + 3 * res(8, 8) + 2 * res(16, 8),
        {**EMBED, **CORE, "pooled.*.kernel": "embedding"}, {"*qkv.kernel": 3, "*kv.kernel": 2, "*mlp_in.kernel": 2}),
    "edm2": Case(
        lambda r: EDM2UNet(EDM2Config(in_channels=1, base_channels=8, channel_mults=(1,), num_blocks=1, head_dim=8,
                                      attention_levels=(), num_classes=3), rngs=r),
        3 * res(8, 8) + 4 * 8**2 + 2 * res(16, 8),
        {**ENDS, "embed.kernel": "embedding", "labels.kernel": "embedding", "*.emb.kernel": "modulation"},
        {"*qkv.kernel": 3}),
    "mlp": Case(lambda r: MLP(MLPConfig(hidden=8, depth=2, num_classes=3), rngs=r), 2 * 2 * 64,
                {**ENDS, **EMBED, "*emb.kernel": "modulation"}, {}),
    "autoencoder": Case(
        lambda r: AutoencoderKL(AutoencoderKLConfig(channels=(8,), num_res_blocks=1, groups=4), rngs=r),
        # both middles, with attention; one block down, two up
        2 * (2 * res(8, 8) + 4 * 64) + 3 * res(8, 8),
        {"*.stem.kernel": "input", "*coder.out.kernel": "output", "quant_conv.kernel": "output",
         "post_quant_conv.kernel": "input"}, {"*qkv.kernel": 3}),
    "clip": Case(
        lambda r: CLIPText(CLIPTextConfig(vocab_size=9, max_length=5, hidden=H, mlp_hidden=2 * H, depth=2, heads=2,
                                          projection=6), rngs=r),
        2 * 8 * H**2,
        {"tokens": "embedding", "positions": "embedding", "project.kernel": "output"}, {"*qkv.kernel": 3}),
    # Of both, a head is half as wide as its share of a token.
    "t5": Case(lambda r: T5Encoder(T5Config(vocab_size=9, hidden=H, mlp_hidden=2 * H, depth=2, heads=2, head_dim=4),
                                   rngs=r),
               2 * (2 + 6) * H**2, {"tokens": "embedding", "bias_table": "embedding"},
               {"*qkv.kernel": 3, "*gate_in.kernel": 2}),
    "umt5, relu": Case(
        lambda r: T5Encoder(T5Config(vocab_size=9, hidden=H, mlp_hidden=2 * H, depth=2, heads=2, head_dim=4,
                                     bias_per_layer=True, feed_forward="relu"), rngs=r),
        2 * (2 + 4) * H**2, {"tokens": "embedding", "layers.*.bias_table": "embedding"}, {"*qkv.kernel": 3}),
}  # fmt: skip


def abstract(make: Callable[[nnx.Rngs], nnx.Module]) -> nnx.Module:
    made: nnx.Module = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    return made


def sizes(network: nnx.Module) -> dict[str, tuple[int, ...]]:
    parameters = ((path, node) for path, node in nnx.iter_graph(network) if isinstance(node, nnx.Param))
    return {".".join(map(str, path)): tuple(node.get_raw_value().shape) for path, node in parameters}


def count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_network_states_the_role_of_every_parameter(name: str) -> None:
    case, network = CASES[name], abstract(CASES[name].make)
    roles, matrices, shapes = parameter_roles(network), hidden_matrices(network), sizes(network)
    assert roles.keys() == shapes.keys()
    assert matrices.keys() == {path for path, role in roles.items() if role.name == "hidden"}
    assert sum(count(shapes[path]) for path in matrices) == case.hidden
    for path, role in roles.items():
        declared = {name for pattern, name in case.rest.items() if fnmatchcase(path, pattern)}
        vector = path.rpartition(".")[2] in ("bias", "scale", "gamma", "beta", "gain")
        assert declared == (set() if vector or role.name == "hidden" else {role.name}), (path, role)
        assert vector == (role.name == "vector"), path
        if role.name == "hidden":
            fused = {n for pattern, n in case.fused.items() if fnmatchcase(path, pattern) and not path.endswith(".q")}
            fused = {3} if fnmatchcase(path, "*qkv.kernel") else fused
            assert fused == (set() if role.fused == 1 else {role.fused}), path


@pytest.mark.slow
def test_the_share_of_published_sizes() -> None:
    """DiT-S/2: 12 blocks of 12 h^2. The default U-Net: all but its ends, the embedding of the time and the projections
    of that in each block, whose outputs are twice 128 x 5 + 256 x 17."""
    for make, hidden, share in (
        (lambda r: DiT(DiTConfig.s_2(), rngs=r), 12 * 12 * 384**2, 0.646),
        (lambda r: UNet(UNetConfig(), rngs=r),
         38_307_203 - (128 * 512 + 512**2) - 2 * 27 * 128 - 512 * 2 * (128 * 5 + 256 * 17) - 60_035, 0.856),
    ):  # fmt: skip
        shapes, matrices = sizes(network := abstract(make)), hidden_matrices(network)
        found = sum(count(shapes[path]) for path in matrices)
        assert found == hidden
        assert found / sum(map(count, shapes.values())) == pytest.approx(share, abs=5e-4)


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.qkv = nnx.Linear(8, 24, rngs=rngs)
        self.mix = nnx.Linear(8, 8, rngs=rngs)
        self.adaln = nnx.Linear(8, 16, rngs=rngs)


class Own(nnx.Module):
    """A network as users write them."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.patches = nnx.Conv(3, 8, (2, 2), rngs=rngs)
        self.time_embed = nnx.Linear(4, 8, rngs=rngs)
        self.classes = nnx.Embed(4, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=8, rngs=rngs)
        self.volume = nnx.List([nnx.Conv(8, 8, (3, 3, 3), rngs=rngs)])
        self.grouped = nnx.List([nnx.Conv(8, 4, (3, 3), feature_group_count=2, rngs=rngs)])
        self.depthwise = nnx.List([nnx.Conv(8, 8, (3, 3), feature_group_count=8, rngs=rngs)])
        self.block = Block(rngs)
        self.token = nnx.Param(jnp.zeros((1, 8)))
        self.middle = nnx.Linear(8, 8, rngs=rngs)
        self.to_pixels = nnx.Linear(8, 12, rngs=rngs)

        @nnx.split_rngs(splits=5)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(rngs)

        self.stacked = stack(rngs)


def test_a_network_of_a_users_own_follows_the_rule() -> None:
    network = abstract(Own)
    roles = {path: role for path, role in parameter_roles(network).items() if role.name != "vector"}
    hidden = {
        *(f"attention.{name}.kernel" for name in ("query", "key", "value", "out")),
        *(f"{path}.{name}.kernel" for path in ("block", "stacked") for name in ("qkv", "mix")),
        "volume.0.kernel", "grouped.0.kernel", "middle.kernel",
    }  # fmt: skip
    assert {path: role.name for path, role in roles.items()} == {
        **dict.fromkeys(hidden, "hidden"), "patches.kernel": "input", "to_pixels.kernel": "output",
        "time_embed.kernel": "embedding", "classes.embedding": "embedding", "token": "embedding",
        "block.adaln.kernel": "modulation", "stacked.adaln.kernel": "modulation",
    }  # fmt: skip
    matrices = hidden_matrices(network)
    assert matrices["attention.query.kernel"] == Matrices((-3,), (-2, -1), (8, 2, 4))
    assert matrices["attention.out.kernel"] == Matrices((-3, -2), (-1,), (2, 4, 8))
    assert matrices["volume.0.kernel"] == Matrices((-5, -4, -3, -2), (-1,), (3, 3, 3, 8, 8))
    assert matrices["grouped.0.kernel"] == Matrices((-5, -4, -3), (-1,), (3, 3, 4, 2, 2))
    assert matrices["stacked.mix.kernel"] == Matrices((-2,), (-1,), (5, 8, 8))
    assert matrices["stacked.qkv.kernel"] == Matrices((-3,), (-1,), (5, 8, 3, 8))


def test_what_a_class_states_of_itself_holds_over_what_its_layers_state() -> None:
    class Stated(Own):
        roles = {"block.qkv": Role("hidden"), "attention.*": Role("embedding"), "token": Role("vector")}  # noqa: RUF012

    roles: dict[str, Any] = parameter_roles(abstract(Stated))
    assert roles["block.qkv.kernel"] == Role("hidden")
    assert roles["attention.key.kernel"] == Role("embedding")
    assert roles["token"] == Role("vector")
    assert roles["stacked.qkv.kernel"] == Role("hidden", fused=3)


def test_a_fused_kernel_that_can_not_be_cut_is_refused() -> None:
    class Odd(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.blocks = nnx.List([Block(rngs)])
            self.blocks[0].qkv = nnx.Linear(8, 10, rngs=rngs)

    with pytest.raises(ValueError, match=r"blocks.0.qkv.kernel must hold 3 matrices .*, got shape \(8, 10\)"):
        hidden_matrices(abstract(Odd))
