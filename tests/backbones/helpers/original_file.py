"""Arrays of a file of the original Stable Diffusion, made of those that diffusers and transformers have."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.backbones.helpers.text_weights import weight

Tensors = dict[str, np.ndarray]


def diffusers_arrays(component: str, shapes: Mapping[str, Sequence[int]]) -> Tensors:
    """The arrays of a network of diffusers or transformers."""
    return {key: weight(f"{component}.{key.removeprefix('text_model.')}", shape) for key, shape in shapes.items()}


def merged(original: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Sequence[int]]]) -> Tensors:
    """The arrays of a file, given each one's network, shape and parts there; an array without parts is not used."""
    found: Tensors = {}
    for key, (component, shape, parts) in original.items():
        if not parts:
            found[key] = weight(key, shape)
            continue
        arrays = diffusers_arrays(component, {part: tensors[component][part] for part in parts})
        value = np.concatenate([arrays[part] for part in parts])
        found[key] = np.ascontiguousarray((value.T if key.endswith(".text_projection") else value).reshape(shape))
    return found
