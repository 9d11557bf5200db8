"""U-Nets, ours beside diffusers' on PyTorch, with the same weights, inputs and threads, in turns.

    python3 -m venv ../torch
    ../torch/bin/pip install torch==2.13.0 diffusers==0.42.*
    uv run python bench/peers/torch_unet.py ../torch/bin/python [rounds] [part of a case's name] [threads]

``cifar`` is DDPM's network, 35.7M, on 32x32x3, batch 4; ``digits`` that of the digits, 8x8x1, batch 64, where
diffusers has convolutions between resolutions: so has ours here, which `UNetConfig.digits` leaves out. PyTorch runs as
it is used, eagerly, with its fused AdamW. A step is forward, mean squared error, backward and AdamW; ``ddim`` is 50
steps of `DDIMPipeline` against `sample`, from the same folder and noise. Outputs, the losses of a few steps and the
samples must agree before anything is timed; dropout is off.

With ``threads`` 1 both sides are held to one core, the same; then work compares what they have to do, whatever else the
machine does. Else each side has all cores, and PyTorch's threads spin while they wait, which counts as work.

What was found on two Xeon cores with AVX-512, seconds of work, JAX 0.10.2, batch 4 of ``cifar``: of the 48 GFLOP of a
forward pass 43 are those of 3x3 convolutions. XLA hands them to YNNPACK, which does 108 to 134 GFLOP/s a core from
32x32 to 8x8; oneDNN was seen at 158, at 8x8. Tried on them:

- Sums of nine shifted products, one product of all shifts side by side, or three of three: 1.8 to 3.1 times as long at
  32x32, 1.2 to 1.8 at 16x16, 1.1 to 1.3 below (walls of the fastest calls).
- Winograd's F(2x2, 3x3) on products of XLA: 0.8 to 0.9 of the time (9 ms of 10 at 32x32x128, 7 of 9 at 16x16x256).
  F(4, 3) along the rows alone, which leaves half the products: 0.65, and 0.7 with both gradients, once XLA does not
  recompute the cotangent for every product (`artifex.kernels.convolution.winograd`). With a quarter of the products
  after an upsampling (`artifex.kernels.convolution.polyphase`), a step's work on one core is 1,205 ms where it was
  1,537, that of a forward pass 310 where it was 400; compiling the step takes 28 s on one core where it was 14.
- The kernel's gradient, 53 GFLOP/s at 32x32, as nine products: the same; as one, shifts of the cotangent side by side:
  65; in parts, as `artifex.kernels.convolution.vjp` has it: 95. In a loop's body that is 13 ms, and was 400 to 900.
- Recomputing the SiLU behind a group norm for the gradient: 8% off a step.
- What is left in a step beside convolutions: a tenth is the kernel zeroing pages of the 350 MB that XLA allocates for
  each call, less with large pages (`race.LARGE_PAGES`, for both sides here), a twenty-fifth the kernels'
  transposition for the gradient by the image, which is a third of that where images are mirrored in place of the kernel
  (`artifex.kernels.convolution.vjp`); a reversal apart, nine slices and products with the identity made it no cheaper.
- JAX 0.10.2 runs a convolution with fewer than 128 channels of output on one core (0.12 on both), and operations that
  wait for nothing of each other in turn, on one core too, until more than eight are ready. A batch in two parts at once
  took a tenth off the digits' step for all that. Half the products, several at once, take a fifth off it in one part
  (62 ms to 50 on two AMD cores; compiling on one 16 s, where it was 8, in two parts 13). Two devices in place of two
  cores would do, but devices that share threads can deadlock.
- Loops with several outputs (`race.LARGER_LOOPS`, for our side, as the command has them): 0.80 of a step's time with
  that, 0.87 of the digits'.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from race import LARGE_PAGES, LARGER_LOOPS, Case, Side, race, serve

CHECKED: Final = 3
"""Steps whose losses are compared."""
RATE: Final = 1e-4
DECAY: Final = 1e-2
STEPS: Final = 50
BARS: Final = {"cifar, forward": 1.0, "cifar, step": 1.0, "digits, step": 1.0, "cifar, ddim": 1.2}

CIFAR: Final = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
DIGITS: Final = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D",) * 2,
    "up_block_types": ("UpBlock2D",) * 2,
    "norm_num_groups": 8,
    "attn_norm_num_groups": 8,
    "attention_head_dim": 32,
    "resnet_time_scale_shift": "scale_shift",
    "num_class_embeds": 11,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
BATCH: Final = {"cifar": 4, "digits": 64}


def theirs(folder: Path, names: list[str]) -> tuple[dict[str, Case], dict[str, object]]:
    """Makes pipelines and inputs, leaves them and what PyTorch makes of them in ``folder``."""
    import diffusers
    import numpy as np
    import torch

    cases: dict[str, Case] = {}
    for name in names:
        key, what = name.split(", ")
        torch.manual_seed(0)
        net = diffusers.UNet2DModel(**(CIFAR if key == "cifar" else DIGITS)).eval()
        # Where it clips, it keeps the noise of the prediction before: that is no sampler of ours.
        pipeline = diffusers.DDIMPipeline(net, diffusers.DDIMScheduler(clip_sample=False))
        pipeline.set_progress_bar_config(disable=True)
        pipeline.save_pretrained(folder / name)
        batch = BATCH[key]
        shape = (batch, net.config.in_channels, net.config.sample_size, net.config.sample_size)
        x, target, t = torch.randn(shape), torch.randn(shape), torch.arange(batch) * 10
        labels = {} if key == "cifar" else {"class_labels": torch.arange(batch) % 10}
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

        def forward(net: Any = net, x: Any = x, t: Any = t, labels: Any = labels) -> Any:  # noqa: ANN401
            with torch.no_grad():
                return net(x, t, **labels).sample

        def step(
            net: Any = net,  # noqa: ANN401
            x: Any = x,  # noqa: ANN401
            t: Any = t,  # noqa: ANN401
            labels: Any = labels,  # noqa: ANN401
            target: Any = target,  # noqa: ANN401
            optimizer: Any = optimizer,  # noqa: ANN401
        ) -> float:
            loss = (net(x, t, **labels).sample - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        def ddim(pipeline: Any = pipeline, batch: int = batch) -> Any:  # noqa: ANN401
            seed = torch.Generator().manual_seed(0)
            return pipeline(batch, seed, num_inference_steps=STEPS, output_type="np").images

        if what == "ddim":
            start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            given, out, losses = start, np.asarray(ddim()), []
        else:
            given, out = x, forward().permute(0, 2, 3, 1).numpy()
            losses = [step() for _ in range(CHECKED)] if what == "step" else []
        arrays = {"x": given.permute(0, 2, 3, 1).numpy(), "target": target.permute(0, 2, 3, 1).numpy(), "out": out}
        np.savez(folder / name / "theirs.npz", t=t.numpy(), losses=losses, **arrays)
        calls: dict[str, Case] = {"forward": forward, "step": step, "ddim": ddim}
        cases[name] = calls[what]
    return cases, {"torch": torch.__version__, "diffusers": diffusers.__version__, "threads": torch.get_num_threads()}


def ours(folder: Path, names: list[str]) -> tuple[dict[str, Case], dict[str, object]]:
    """Load what ``theirs`` left; the remarks are the distances of outputs, losses and samples from theirs."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx
    from step import make_step

    from artifex.backbones import UNet
    from artifex.backbones.interop import load_pipeline
    from artifex.generative_models.interop import read_scheduler
    from artifex.samplers import sample
    from artifex.schedules import NetworkDenoiser

    cases: dict[str, Case] = {}
    far: dict[str, float] = {}
    for name in names:
        key, what = name.split(", ")
        pipeline = load_pipeline(folder / name)
        net = pipeline.networks["unet"]
        assert isinstance(net, UNet)
        assert pipeline.scheduler is not None
        data = np.load(folder / name / "theirs.npz")
        x, target, t = jnp.asarray(data["x"]), jnp.asarray(data["target"]), jnp.asarray(data["t"])
        labels = None if key == "cifar" else jnp.arange(BATCH[key]) % 10
        graph, params = nnx.split(net)

        def apply(params: Any, x: Any, t: Any, labels: Any, graph: Any = graph) -> Any:  # noqa: ANN401
            return nnx.merge(graph, params)(x, t, labels)

        run, inputs = jax.jit(apply), (x, t, labels)
        step = make_step(apply, params, inputs, target, rate=RATE, decay=DECAY)

        def forward(run: Any = run, params: Any = params, inputs: Any = inputs) -> Any:  # noqa: ANN401
            return jax.block_until_ready(run(params, *inputs))  # type: ignore[no-untyped-call]

        scheduler = read_scheduler(pipeline.scheduler)
        denoiser = NetworkDenoiser(apply, scheduler.prediction, params)

        def ddim(denoiser: Any = denoiser, scheduler: Any = scheduler, x: Any = x) -> Any:  # noqa: ANN401
            images = sample(denoiser, scheduler.tableau(STEPS), x)
            return np.clip(np.asarray(images) / 2 + 0.5, 0, 1)

        out = np.asarray(ddim() if what == "ddim" else forward())
        far[f"{name}: output"] = float(np.abs(out - data["out"]).max() / data["out"].std())
        if what == "step":
            losses = np.array([step() for _ in range(CHECKED)])
            far[f"{name}: losses"] = float(np.abs(losses / data["losses"] - 1).max())
        calls: dict[str, Case] = {"forward": forward, "step": step, "ddim": ddim}
        cases[name] = calls[what]
    return cases, {"jax": jax.__version__, "far": far}


def main(peer: str, rounds: int = 20, only: str = "", threads: int = 0) -> int:
    """Prints the table; the number of ratios below their bars."""
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    missed = 0
    for name in (name for name in BARS if only in name):
        with tempfile.TemporaryDirectory() as folder:
            other = Side(peer, __file__, "theirs", folder, name, env=LARGE_PAGES)
            mine = Side(sys.executable, __file__, "ours", folder, name, env={**LARGE_PAGES, **LARGER_LOOPS})
            print({key: value for key, value in (mine.about | other.about).items() if key != "far"})
            for what, far in mine.about["far"].items():
                print(f"{what} differs by {far:.1e}", flush=True)
                if not far <= 1e-3:
                    raise SystemExit(f"{what}: at most 1e-3 expected")
            result = race(mine, other, name, max(1, rounds // 5) if "ddim" in name else rounds, warm=1)
            missed += result.ratio < BARS[name]
            verdict = "reached" if result.ratio >= BARS[name] else "MISSED"
            print(f"{name}: {result.summary()}; at least {BARS[name]:g}x: {verdict}", flush=True)
            mine.close()
            other.close()
    return missed


if __name__ == "__main__":
    first, *arguments = sys.argv[1:]
    if first in ("theirs", "ours"):
        make = theirs if first == "theirs" else ours
        serve(lambda: make(Path(arguments[0]), arguments[1:]))
    else:
        sys.exit(main(first, *(kind(value) for kind, value in zip((int, str, int), arguments, strict=False))))
