"""The documented API, ours beside the public implementation of it, on networks of the same size, in turns.

    python3.12 -m venv ../peer
    ../peer/bin/pip install --no-deps avitai-artifex==0.1.15
    ../peer/bin/pip install jax flax optax pydantic dacite calibrax distrax datarax
    uv run python bench/peers/compare.py ../peer/bin/python [DiT]

Both are imported as ``artifex``, so each lives in a process of its own. The processes take turns, one call each: what
else the machine does meets both. The first call is that of a process with its models made and nothing compiled.
Medians over the rounds; the ratio is that of the medians.

Theirs as shipped: the loop over steps is Python's, the network compiled nowhere. Its transformer walks the timesteps 49
to 0 for 50 steps; that costs the same as the right ones.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from race import Case, Side, race, serve

ROUNDS: Final = 3
BARS: Final[Mapping[str, float]] = {"U-Net, DDIM 50, 4 samples": 2.0, "DiT, guided, 50 steps, 8 samples": 6.0}
FIRST: Final = 2.0
"""Required speedup; the first call, with all compilation, at least ``FIRST``."""


def parameters(module: Any) -> int:  # noqa: ANN401 -- a module of either side
    import jax
    from flax import nnx

    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def ours() -> tuple[dict[str, Case], dict[str, int]]:
    import jax.numpy as jnp
    from flax import nnx

    from artifex.backbones import UNet, UNetConfig
    from artifex.generative_models.models.diffusion import DDIMModel, DiTModel, ModelConfig

    def unet(config: ModelConfig, *, rngs: nnx.Rngs) -> UNet:
        levels = UNetConfig(base_channels=32, channel_mults=(1, 2, 4), num_res_blocks=1, attention_levels=(2,))
        return UNet(levels, rngs=rngs)

    rngs, labels = nnx.Rngs(0), jnp.arange(8)
    images = ModelConfig(name="ddim", model_class="DDIMModel", input_dim=(32, 32, 3))
    ddim = DDIMModel(images, backbone_fn=unet, rngs=rngs)
    small = {"patch_size": 4, "hidden_size": 128, "depth": 4, "num_heads": 4, "num_classes": 10}
    patches = ModelConfig(name="dit", model_class="DiTModel", input_dim=(32, 32, 3), parameters=small)
    dit = DiTModel(patches, rngs=rngs)
    return {
        "U-Net, DDIM 50, 4 samples": lambda: ddim.ddim_sample(4, 50, rngs=rngs),
        "DiT, guided, 50 steps, 8 samples": lambda: dit.generate(8, rngs=rngs, num_steps=50, y=labels, cfg_scale=4.0),
    }, {"U-Net": parameters(ddim.backbone), "DiT": parameters(dit.backbone)}


def theirs() -> tuple[dict[str, Case], dict[str, int]]:
    import jax.numpy as jnp
    from flax import nnx

    from artifex.generative_models.core.configuration import (  # type: ignore[attr-defined]
        DDIMConfig,
        DiTConfig,
        NoiseScheduleConfig,
        UNetBackboneConfig,
    )
    from artifex.generative_models.models.diffusion import DDIMModel, DiTModel

    rngs, labels = nnx.Rngs(0), jnp.arange(8)
    schedule = NoiseScheduleConfig(name="linear")
    backbone = UNetBackboneConfig(
        name="unet", hidden_dims=(32, 64, 128), activation="silu", in_channels=3, out_channels=3
    )
    ddim: Any = DDIMModel(
        DDIMConfig(name="ddim", backbone=backbone, noise_schedule=schedule, input_shape=(32, 32, 3)), rngs=rngs
    )
    dit: Any = DiTModel(
        DiTConfig(
            name="dit",
            noise_schedule=schedule,
            patch_size=4,
            hidden_size=128,
            depth=4,
            num_heads=4,
            num_classes=10,
            input_shape=(3, 32, 32),
        ),
        rngs=rngs,
    )
    return {
        "U-Net, DDIM 50, 4 samples": lambda: ddim.ddim_sample(4, steps=50, rngs=rngs),
        "DiT, guided, 50 steps, 8 samples": lambda: dit.generate(8, rngs=rngs, num_steps=50, y=labels, cfg_scale=4.0),
    }, {"U-Net": parameters(ddim), "DiT": parameters(dit)}


def work(side: str) -> tuple[dict[str, Case], dict[str, object]]:
    import jax

    cases, sizes = ours() if side == "ours" else theirs()

    def finished(case: Callable[[], Any]) -> Case:
        return lambda: jax.block_until_ready(case())  # type: ignore[no-untyped-call]

    return {name: finished(case) for name, case in cases.items()}, {"parameters": sizes, "jax": jax.__version__}


def main(peer: str, only: str = "") -> int:
    """Prints the table, of the cases whose name has ``only`` in it; the number of bars that were missed."""
    ours, theirs = Side(sys.executable, __file__, "ours"), Side(peer, __file__, "theirs")
    for name, side in (("ours", ours), ("theirs", theirs)):
        print(f"{name}: jax {side.about['jax']}, parameters {side.about['parameters']}")
    missed = 0
    for case, bar in BARS.items():
        if only not in case:
            continue
        for what, rounds, least in (("first call", 1, FIRST), ("next calls", ROUNDS, bar)):
            result = race(ours, theirs, case, rounds)
            missed += result.ratio < least
            verdict = "reached" if result.ratio >= least else "MISSED"
            print(f"{case}, {what}: {result.summary()}; at least {least:g}x: {verdict}", flush=True)
    ours.close()
    theirs.close()
    return missed


if __name__ == "__main__":
    if sys.argv[1] in ("ours", "theirs"):
        serve(lambda: work(sys.argv[1]))
    else:
        sys.exit(main(*sys.argv[1:]))
