"""Losses of every documented model on one device and on a mesh of four, printed as JSON; see ``test_models``."""

import json

import numpy as np

from artifex.training import Learner, MeshConfig, train
from artifex.training.sharding.mesh import make_mesh
from tests.training.helpers.models import MODELS, config, data, trainer


def losses(name: str, mesh: MeshConfig | None) -> list[float]:
    """Losses of a few steps."""
    made = trainer(name).learner
    short = config(name, "mesh: {}").model_copy(update={"steps": 4})
    learner = Learner(made.module, made.objective, short, mesh=None if mesh is None else make_mesh(mesh))
    return [float(loss) for loss in np.asarray(train(learner, data(name).batches(16, 0)).losses)]


if __name__ == "__main__":
    print(json.dumps({name: [losses(name, mesh) for mesh in (None, MeshConfig(data=2, fsdp=2))] for name in MODELS}))
