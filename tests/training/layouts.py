"""One run on eight simulated devices, laid out in every way; what came of it, as JSON.

It is a program of its own, since the number of devices is fixed when JAX starts: see ``test_mesh.py``.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.backbones import DiT, DiTConfig
from artifex.schedules import Discrete, Velocity, betas
from artifex.training import (
    Checkpointer,
    Network,
    Objective,
    TrainingConfig,
    TrainState,
    digits,
    init_state,
    make_train_step,
)
from artifex.training.mesh import MeshConfig, global_batch, make_mesh, place, rules_of, state_shardings
from artifex.training.optimiser import make_optimiser
from tests.training.tiny import Turning, same

LAYOUTS = {
    "one": None,
    "data": MeshConfig(),
    "fsdp": MeshConfig(data=1, fsdp=8),
    "data x fsdp": MeshConfig(data=2, fsdp=4),
    "data x tensor": MeshConfig(data=4, tensor=2),
}
CONFIG = TrainingConfig(steps=50, batch_size=40)
NETWORK = DiTConfig(in_channels=1, hidden=64, depth=1, heads=4, num_classes=10, learn_sigma=False)
COLLECTIVE = re.compile(
    r"= (\S+|\(.*?\)) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)

# Ten samples of 16 tokens, as they are or as rows: no parameter has that shape.
TOKENS = re.compile(r"f32\[(?:10,16|160),64\]")


def trained(module: nnx.Module, config: MeshConfig | None) -> tuple[TrainState, TrainState, str]:
    """The state after all steps, one of zeros that lies as it does, and the program."""
    network, average, data = Network(module), CONFIG.ema.build(), digits()
    optimiser = make_optimiser(CONFIG.optimiser, CONFIG.steps)
    objective = Objective(Discrete(betas.cosine(1000)), Velocity(), num_classes=10)
    state = init_state(network, optimiser, average, CONFIG.steps)
    like = jax.tree.map(jnp.zeros_like, state)
    mesh, shardings = None, None
    if config is not None:
        mesh = make_mesh(config)
        shardings = state_shardings(state, mesh, rules_of(module, mesh))
        state, like = place(state, shardings), place(like, shardings)
    step = make_train_step(network, objective, optimiser, average, shardings=shardings)
    program = step.lower(state, *global_batch(data.batch(0, CONFIG.batch_size, 0), mesh)).compile()  # type: ignore[attr-defined]
    for k in range(CONFIG.steps):
        state, _ = program(state, *global_batch(data.batch(k, CONFIG.batch_size, 0), mesh))
    return state, like, program.as_text()


def main(folder: Path) -> None:
    module = DiT(NETWORK, rngs=nnx.Rngs(0))
    out: dict[str, object] = {}
    likes, finals = dict[str, TrainState](), dict[str, object]()
    for name, config in LAYOUTS.items():
        state, like, program = trained(module, config)
        with Checkpointer(folder / name) as checkpointer:
            checkpointer.save(CONFIG.steps, state, {})
        likes[name], finals[name] = like, jax.tree.map(np.asarray, state)
        collectives = COLLECTIVE.findall(program)
        specs = [getattr(leaf.sharding, "spec", ()) for leaf in jax.tree.leaves(state.parameters)]
        out[name] = {
            "losses": np.asarray(state.losses).tolist(),
            "kernel": state.parameters["blocks"][0]["expand"]["kernel"][...].addressable_shards[0].data.shape,
            "bytes": sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state)),
            "cut along fsdp": sum("fsdp" in spec for spec in specs),
            "collectives": Counter(kind for _, kind in collectives),
            "tokens": sum(len(TOKENS.findall(shape)) for shape, kind in collectives if kind == "all-reduce"),
        }  # fmt: skip
    for name, final in finals.items():
        with Checkpointer(folder / name) as checkpointer:
            for other, like in likes.items():
                read = checkpointer.restore(like, CONFIG.steps)
                assert same(read, final), f"{name} as {other}"
                assert [x.sharding for x in jax.tree.leaves(read)] == [x.sharding for x in jax.tree.leaves(like)]
    turning = {name: trained(Turning(64), LAYOUTS[name])[0] for name in ("one", "fsdp")}
    kernels = [leaf for leaf in jax.tree.leaves(turning["fsdp"].parameters) if leaf.ndim == 2]
    told = {
        "losses": {name: np.asarray(state.losses).tolist() for name, state in turning.items()},
        "cut": [list(kernel.sharding.spec) for kernel in kernels],
        "lengths": [(np.linalg.norm(kernel, axis=0) / len(kernel) ** 0.5).tolist() for kernel in kernels],
    }
    print(json.dumps({"dit": out, "turning": told}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
