"""The parts of Stable Diffusion 1.5, ours beside transformers and diffusers on PyTorch, in turns.

    python3 -m venv ../torch
    ../torch/bin/pip install torch==2.13.0 diffusers==0.42.* transformers==5.*
    uv run python bench/peers/torch_stable_diffusion.py ../torch/bin/python [rounds] [part of a case's name]

``text`` encodes a prompt, ``unet`` is one call for a guided picture of 512x512, of the prompt and the negative prompt
together, and ``decode`` makes the picture of its latents. Sizes are the published ones, weights random, all in float32
on all cores. Peak memory is that of each process, its libraries and one network after another included.
"""

import resource
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from race import LARGE_PAGES, LARGER_LOOPS, Case, Side, race, serve

WARM: Final = 1
SIDE: Final = 64
"""Of the latents."""


def memory() -> None:
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB", file=sys.stderr)


def ours() -> tuple[Mapping[str, Case], Mapping[str, object]]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from artifex.backbones import (
        AutoencoderKL,
        AutoencoderKLConfig,
        CLIPText,
        CLIPTextConfig,
        TextCondition,
        UNetConditional,
        UNetConditionalConfig,
    )

    rng = np.random.default_rng(0)

    def made(build: Callable[[], nnx.Module]) -> tuple[Any, Any]:
        """A network of random weights, made without those of its initialization."""
        graph, state = nnx.split(nnx.eval_shape(build))
        return graph, jax.tree.map(lambda v: jnp.asarray(0.02 * rng.standard_normal(v.shape, np.float32)), state)

    text = made(lambda: CLIPText(CLIPTextConfig.vit_l_14(), rngs=nnx.Rngs(0)))
    unet = made(lambda: UNetConditional(UNetConditionalConfig.sd_1(), rngs=nnx.Rngs(0)))
    vae = made(lambda: AutoencoderKL(AutoencoderKLConfig.f8(), rngs=nnx.Rngs(0)))
    x = jnp.asarray(rng.standard_normal((2, SIDE, SIDE, 4), np.float32))
    context = jnp.asarray(rng.standard_normal((2, 77, 768), np.float32))
    ids, t = jnp.arange(77, dtype=jnp.int32)[None], jnp.full((2,), 500)
    encode = jax.jit(lambda state: nnx.merge(text[0], state)(ids).hidden)
    predict = jax.jit(lambda state: nnx.merge(unet[0], state)(x, t, TextCondition(context)))
    decode = jax.jit(lambda state: nnx.merge(vae[0], state).decode(x[:1]))

    def finished(out: jax.Array) -> jax.Array:
        return jax.block_until_ready(out)  # type: ignore[no-any-return, no-untyped-call]

    return {
        "text": lambda: finished(encode(text[1])),
        "unet": lambda: finished(predict(unet[1])),
        "decode": lambda: finished(decode(vae[1])),
        "memory": memory,
    }, {"jax": jax.__version__}


def theirs() -> tuple[Mapping[str, Case], Mapping[str, object]]:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.set_grad_enabled(False)
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
    text = CLIPTextModel(config).eval()
    unet = UNet2DConditionModel(sample_size=SIDE, cross_attention_dim=768).eval()
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks).eval()
    x, context = torch.randn(2, 4, SIDE, SIDE), torch.randn(2, 77, 768)
    ids, t = torch.arange(77)[None], torch.full((2,), 500)
    return {
        "text": lambda: text(ids),
        "unet": lambda: unet(x, t, context),
        "decode": lambda: vae.decode(x[:1]),
        "memory": memory,
    }, {"torch": torch.__version__, "threads": torch.get_num_threads()}


def main(python: str, rounds: int, part: str) -> None:
    sides = (
        Side(sys.executable, __file__, "ours", env={**LARGE_PAGES, **LARGER_LOOPS}),
        Side(python, __file__, "theirs", env=LARGE_PAGES),
    )
    print(*(side.about for side in sides))
    for case in ("text", "unet", "decode"):
        if part in case:
            print(f"{case}: {race(*sides, case, rounds, warm=WARM).summary()}", flush=True)
    for side in sides:
        side.call("memory")
        side.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours"]:
            serve(ours)
        case ["theirs"]:
            serve(theirs)
        case [python, *rest]:
            main(python, int(rest[0]) if rest else 5, rest[1] if rest[1:] else "")
