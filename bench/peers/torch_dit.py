"""Diffusion transformers, ours beside PyTorch's, with the same weights, inputs and threads, in turns.

    python3 -m venv ../torch
    ../torch/bin/pip install torch==2.13.0 diffusers==0.42.*
    uv run python bench/peers/torch_dit.py ../torch/bin/python [rounds] [part of a case's name] [threads]

Two opponents, both eager: ``paper``, written here from the paper's formulas with PyTorch's fused attention and AdamW,
and ``diffusers``, its own class (each block there embeds time and label for itself, and so does ours for that race).
Two sizes: DiT-S/2 on latents of 32x32x4, batch 4, and a DiT for the digits, 8x8x1, batch 128.

A step is forward, mean squared error, backward and AdamW. Before anything is timed, both sides must give the same
output and the same losses of a few steps.

With ``threads`` 1 both sides are held to one core, the same; then work compares what they have to do, whatever else the
machine does. Else each side has all cores, and PyTorch's threads spin while they wait, which counts as work.

What was found on two Xeon cores with AVX-512, DiT-S/2: of a step, 60% are products that both sides do equally fast. XLA
takes a step's temporaries from the system afresh each time, a tenth of the step, less with large pages
(`race.LARGE_PAGES`, for both sides here). Scaling queries instead of scores, and a softmax that XLA can hand to YNNPACK
whole, took 14% off the forward pass and 5% off a step; the gradients of keys and values as ``(b, h, d, s)``, and Q, K
and V of one matrix, 5%; a derivative of the layer norm by hand 2%; a step compiled to copy no parameters before it
updates them, 2%. Of work on one core, PyTorch then needs 0.98 to 0.99 of ours; 4 to 6% of ours is the system handing
out pages, none of PyTorch's, which keeps what it frees. In some processes of a virtual machine, perhaps as it gives
free pages back to its host, that was 40% (950 ms of 2,300). XLA takes the 450 MiB of a step in one piece, which glibc
gives back at once unless it comes from its first arena: with memory that is kept (docs/training.md) half a percent is
left of it. Loops with several outputs (`race.LARGER_LOOPS`, for our side, as the command has them) took 2% off a step's
work here, 1% off the digits'. Tried without gain: layer norms recomputed in the backward pass, a sigmoid for the
tanh, other orders of the kernels' gradients, a narrowing layer's as a transposed product, the gradients of Q, K and V
joined before they are transposed (3% slower), compiler flags (vectors of 512 bits, XNNPACK, oneDNN, fast maths), and
two devices in place of two cores, which cost a second optimizer and an all-reduce.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from race import LARGE_PAGES, LARGER_LOOPS, Case, Side, race, serve

BAR: Final = 1.0
CHECKED: Final = 3
"""Steps whose losses are compared."""
RATE: Final = 1e-4
DECAY: Final = 1e-2


@dataclass(frozen=True)
class Size:
    """A network and its batch."""

    batch: int
    side: int
    channels: int
    patch: int
    heads: int
    head_dim: int
    depth: int
    classes: int
    sigma: bool

    @property
    def out(self) -> int:
        return self.channels * (2 if self.sigma else 1)


SIZES: Final = {
    "S-2": Size(4, 32, 4, 2, 6, 64, 12, 1000, True),
    "digits": Size(128, 8, 1, 2, 4, 24, 4, 10, False),
}
ABREAST: Final = {"S-2": 1, "digits": 2}
"""In how many parts at once ours works through a batch, see `artifex.training.step.microbatch`."""
OPPONENTS: Final = ("paper", "diffusers")
NAMES: Final = [
    f"{size}, {opponent}, {what}" for size in SIZES for opponent in OPPONENTS for what in ("forward", "step")
]


def paper(size: Size) -> Any:  # noqa: ANN401 -- torch.nn.Module
    """The paper's network in PyTorch, under the names of its published weights."""
    import math

    import torch
    from torch import nn
    from torch.nn import functional

    hidden, side = size.heads * size.head_dim, size.side // size.patch

    def norm(x: Any, shift: Any, scale: Any) -> Any:  # noqa: ANN401
        normal = functional.layer_norm(x, (hidden,), eps=1e-6)
        return normal * (1 + scale[:, None]) + shift[:, None]

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)

        def forward(self, x: Any) -> Any:  # noqa: ANN401
            b, n, _ = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, size.heads, size.head_dim).permute(2, 0, 3, 1, 4)
            out = functional.scaled_dot_product_attention(q, k, v)
            return self.proj(out.transpose(1, 2).reshape(b, n, hidden))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attn = Attention()
            self.mlp = nn.ModuleDict({"fc1": nn.Linear(hidden, 4 * hidden), "fc2": nn.Linear(4 * hidden, hidden)})
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

        def forward(self, x: Any, c: Any) -> Any:  # noqa: ANN401
            b1, s1, g1, b2, s2, g2 = self.adaLN_modulation(c).chunk(6, dim=1)
            x = x + g1[:, None] * self.attn(norm(x, b1, s1))
            wide = functional.gelu(self.mlp["fc1"](norm(x, b2, s2)), approximate="tanh")
            return x + g2[:, None] * self.mlp["fc2"](wide)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(size.channels, hidden, size.patch, size.patch)})
            self.t_embedder = nn.ModuleDict(
                {"mlp": nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden))}
            )
            self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(size.classes + 1, hidden)})
            self.blocks = nn.ModuleList([Block() for _ in range(size.depth)])
            self.final_layer = nn.ModuleDict(
                {
                    "linear": nn.Linear(hidden, size.patch**2 * size.out),
                    "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden)),
                }
            )
            omega = torch.tensor([10_000.0 ** (-i / (hidden // 4)) for i in range(hidden // 4)], dtype=torch.float64)
            y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
            parts = [f(a.reshape(-1, 1) * omega) for a in (x, y) for f in (torch.sin, torch.cos)]
            self.register_buffer("pos_embed", torch.cat(parts, dim=1).float()[None])
            frequency = torch.tensor([math.exp(-math.log(10_000.0) * i / 128) for i in range(128)])
            self.register_buffer("frequency", frequency, persistent=False)

        def forward(self, x: Any, t: Any, y: Any) -> Any:  # noqa: ANN401
            phase = t[:, None] * self.frequency
            c = self.t_embedder["mlp"](torch.cat([phase.cos(), phase.sin()], dim=1))
            c = c + self.y_embedder["embedding_table"](y)
            h = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
            for block in self.blocks:
                h = block(h, c)
            shift, scale = self.final_layer["adaLN_modulation"](c).chunk(2, dim=1)
            h = self.final_layer["linear"](norm(h, shift, scale))
            h = h.reshape(-1, side, side, size.patch, size.patch, size.out).permute(0, 5, 1, 3, 2, 4)
            return h.reshape(-1, size.out, size.side, size.side)

    return Network()


def theirs(folder: Path, names: list[str]) -> tuple[dict[str, Case], dict[str, object]]:
    """Makes weights and inputs, leaves them and what PyTorch makes of them in ``folder``."""
    import diffusers
    import numpy as np
    import torch
    from safetensors.torch import save_file

    cases: dict[str, Case] = {}
    for name in names:
        key, opponent, what = name.split(", ")
        size = SIZES[key]
        torch.manual_seed(0)
        if opponent == "paper":
            net = paper(size)
        else:
            net = diffusers.DiTTransformer2DModel(
                num_attention_heads=size.heads,
                attention_head_dim=size.head_dim,
                in_channels=size.channels,
                out_channels=size.out,
                num_layers=size.depth,
                sample_size=size.side,
                patch_size=size.patch,
                num_embeds_ada_norm=size.classes,
            )
        net.eval()  # no label is dropped
        at = folder / name
        at.mkdir()
        if opponent == "paper":
            save_file(dict(net.state_dict()), at / "paper.safetensors")
        else:
            net.save_pretrained(at)
        shape = (size.batch, size.channels, size.side, size.side)
        x, target = torch.randn(shape), torch.randn(size.batch, size.out, *shape[2:])
        t, y = torch.arange(size.batch) % 150, torch.arange(size.batch) % size.classes

        def call(net: Any = net, x: Any = x, t: Any = t, y: Any = y, plain: bool = opponent == "paper") -> Any:  # noqa: ANN401
            return net(x, t, y) if plain else net(x, t, y).sample

        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

        def forward(call: Any = call) -> None:  # noqa: ANN401
            with torch.no_grad():
                call()

        def step(call: Any = call, target: Any = target, optimizer: Any = optimizer) -> float:  # noqa: ANN401
            loss = (call() - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        with torch.no_grad():
            out = call()
        losses = [step() for _ in range(CHECKED)] if what == "step" else []
        found = {"x": x, "target": target, "out": out}
        arrays = {key: value.permute(0, 2, 3, 1).numpy() for key, value in found.items()}
        np.savez(at / "theirs.npz", t=t.numpy(), y=y.numpy(), losses=losses, **arrays)
        cases[name] = step if what == "step" else forward
    return cases, {"torch": torch.__version__, "diffusers": diffusers.__version__, "threads": torch.get_num_threads()}


def ours(folder: Path, names: list[str]) -> tuple[dict[str, Case], dict[str, object]]:
    """Load what ``theirs`` left; the remarks are the distances of outputs and losses from theirs."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx
    from step import make_step

    from artifex.backbones import DiT, DiTConfig
    from artifex.backbones.interop import load_diffusers, load_original

    cases: dict[str, Case] = {}
    far: dict[str, float] = {}
    for name in names:
        key, opponent, what = name.split(", ")
        size, at = SIZES[key], folder / name
        if opponent == "paper":
            config = DiTConfig(
                in_channels=size.channels,
                patch=size.patch,
                hidden=size.heads * size.head_dim,
                depth=size.depth,
                heads=size.heads,
                learn_sigma=size.sigma,
                num_classes=size.classes,
                sample_size=size.side,
            )
            net = load_original(at / "paper.safetensors", config)
        else:
            found = load_diffusers(at)
            assert isinstance(found, DiT)
            net = found
        data = np.load(at / "theirs.npz")
        x, t, y, target = (jnp.asarray(data[key]) for key in ("x", "t", "y", "target"))
        graph, params = nnx.split(net)

        def apply(params: Any, x: Any, t: Any, y: Any, graph: Any = graph) -> Any:  # noqa: ANN401
            return nnx.merge(graph, params)(x, t, y)

        run, inputs = jax.jit(apply), (x, t, y)
        step = make_step(apply, params, inputs, target, rate=RATE, decay=DECAY, parallel_microbatches=ABREAST[key])

        def forward(run: Any = run, params: Any = params, inputs: Any = inputs) -> Any:  # noqa: ANN401
            return jax.block_until_ready(run(params, *inputs))  # type: ignore[no-untyped-call]

        far[f"{name}: output"] = float(np.abs(np.asarray(forward()) - data["out"]).max() / data["out"].std())
        if what == "step":
            losses = np.array([step() for _ in range(CHECKED)])
            far[f"{name}: losses"] = float(np.abs(losses / data["losses"] - 1).max())
        cases[name] = step if what == "step" else forward
    return cases, {"jax": jax.__version__, "far": far}


def main(peer: str, rounds: int = 20, only: str = "", threads: int = 0) -> int:
    """Prints the table; the number of ratios below the bar."""
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    names = [name for name in NAMES if only in name]
    with tempfile.TemporaryDirectory() as folder:
        other = Side(peer, __file__, "theirs", folder, *names, env=LARGE_PAGES)
        mine = Side(sys.executable, __file__, "ours", folder, *names, env={**LARGE_PAGES, **LARGER_LOOPS})
        print({key: value for key, value in (mine.about | other.about).items() if key != "far"})
        for what, far in mine.about["far"].items():
            print(f"{what} differs by {far:.1e}")
            if not far <= 1e-4:
                raise SystemExit(f"{what}: at most 1e-4 expected")
        missed = 0
        for name in names:
            result = race(mine, other, name, rounds, warm=2)
            missed += result.ratio < BAR
            print(f"{name}: {result.summary()}; {'reached' if result.ratio >= BAR else 'MISSED'}", flush=True)
        mine.close()
        other.close()
    return missed


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first in ("theirs", "ours"):
        make = theirs if first == "theirs" else ours
        serve(lambda: make(Path(rest[0]), rest[1:]))
    else:
        sys.exit(main(first, *(kind(value) for kind, value in zip((int, str, int), rest, strict=False))))
