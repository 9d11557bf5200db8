"""One step of Muon on eight simulated devices, unsharded and sharded; the differences, as JSON.

A program of its own, since the number of devices is fixed when JAX starts; see ``test_muon_mesh.py``.
"""

import json
from typing import Any

import jax
import numpy as np
from flax import nnx

from artifex.backbones import DiT, DiTConfig, hidden_matrices
from artifex.schedules import Discrete, V, betas
from artifex.training import Network, Objective, OptimizerConfig, TrainingConfig, digits, init_state, make_train_step
from artifex.training.config.optimizer import make_optimizer
from artifex.training.named_leaves import map_by_name
from artifex.training.sharding.batches import global_batch
from artifex.training.sharding.mesh import MeshConfig, make_mesh
from artifex.training.sharding.sharding import shard
from artifex.training.step.state import TrainState, abstract_state, jit_init_state

HostArray = np.ndarray[Any, np.dtype[np.float64]]

RATE = 0.1
CONFIG = TrainingConfig(
    steps=10,
    batch_size=16,
    optimizer=OptimizerConfig(
        name="muon",
        learning_rate=RATE,
        schedule="constant",
        warmup_steps=0,
        weight_decay=0.1,
        options={"eps": 1e-4},  # AdamW's first update is the sign of a gradient, also of one that is only rounding
    ),
)
NETWORK = DiTConfig(in_channels=1, hidden=64, depth=1, heads=4, num_classes=10, learn_sigma=False)
LAYOUTS = {"data": MeshConfig(), "fsdp": MeshConfig(data=1, fsdp=8)}


def dit() -> DiT:
    """A network whose gradients are not zero anywhere."""
    network, rng = DiT(NETWORK, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    noise = jax.tree.map(
        lambda p: p + np.float32(0.1) * rng.normal(size=p.shape).astype(np.float32), nnx.state(network)
    )
    nnx.update(network, noise)
    return network


def after_a_step(config: MeshConfig | None) -> tuple[dict[str, HostArray], dict[str, str]]:
    """The updates of all parameters divided by the learning rate, and their shardings."""
    mesh = None if config is None else make_mesh(config)
    module = dit()
    network, average = Network(module), CONFIG.ema.build()
    optimizer = make_optimizer(CONFIG.optimizer, CONFIG.steps, module)
    _, shardings = abstract_state(network, optimizer, average, CONFIG.steps, mesh)
    state: TrainState
    if shardings is None:
        state = init_state(network, optimizer, average, CONFIG.steps)
    else:
        state = jit_init_state(optimizer, average, CONFIG.steps, shardings)(
            shard(network.parameters, shardings.parameters)
        )
    before = by_path(state.parameters)
    objective = Objective(Discrete(betas.cosine(1000)), V(), num_classes=10)
    step = make_train_step(network, objective, optimizer, average, shardings=shardings)
    state, _ = step(state, *global_batch(digits().batch(0, CONFIG.batch_size, 0), mesh))
    updates = {path: (value - before[path]) / RATE for path, value in by_path(state.parameters).items()}
    layout = dict[str, str]()
    map_by_name(lambda path, leaf: layout.update({path: str(leaf.sharding)}), state.parameters)
    return updates, layout


def by_path(parameters: object) -> dict[str, HostArray]:
    """Parameters on the host, in float64."""
    values = dict[str, HostArray]()
    map_by_name(lambda path, leaf: values.update({path: np.asarray(leaf, np.float64)}), parameters)
    return values


def main() -> None:
    """Print the largest difference of hidden matrices and of other parameters, for each layout."""
    one, _ = after_a_step(None)
    hidden = hidden_matrices(dit()).keys()
    out = {}
    for name, config in LAYOUTS.items():
        found, layout = after_a_step(config)
        difference = {path: float(np.abs(found[path] - one[path]).max()) for path in one}
        out[name] = {
            "hidden": max(difference[path] for path in hidden),
            "other": max(difference[path] for path in difference.keys() - hidden),
            "sharded": sorted(path for path in hidden if "'fsdp'" in layout[path].partition("spec")[2]),
            "smallest update": min(float(np.abs(one[path]).max()) for path in hidden),
        }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
