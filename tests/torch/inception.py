"""Writes ``tests/training/evaluation/golden.npz``: pytorch-fid's Inception v3 in float64, with weights of our own.

Run in an environment with ``requirements.txt``: ``python tests/torch/inception.py``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from pytorch_fid import inception

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.training.evaluation import inceptions

TARGET = Path(__file__).parents[1] / "training" / "evaluation" / "golden.npz"
SIZES = {"enlarged": 40, "reduced": 310, "as they are": 75}
"""The sides of small images, of large ones, and of those that are not resized."""


def state() -> dict[str, torch.Tensor]:
    """The weights under the network's own names."""
    network = torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=False, num_classes=1008)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if value.ndim}
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters")
    return {name: torch.from_numpy(array) for name, array in inceptions.weights(shapes).items()}


if __name__ == "__main__":
    weights = state()
    inception.load_state_dict_from_url = lambda *args, **kwargs: weights  # it would fetch the published ones
    found = {}
    for name, side in SIZES.items():
        network = inception.InceptionV3([3], resize_input=name != "as they are").eval().double()
        # It takes [0, 1] and makes [-1, 1] of it.
        x = torch.from_numpy(inceptions.images(side)).double().movedim(-1, 1) / 2 + 0.5
        with torch.no_grad():
            pooled = network(x)[0][..., 0, 0]
            found[f"{name}.features"] = pooled.numpy()
            found[f"{name}.probabilities"] = torch.softmax(pooled @ weights["fc.weight"].double().T, dim=1).numpy()
    np.savez_compressed(TARGET, **found)
    print({name: (value.shape, float(value.mean()), float(value.std())) for name, value in found.items()})
