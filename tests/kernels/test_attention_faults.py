"""The checks of attention catch faults in its implementations."""

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from artifex.kernels.attention import pallas, reference, xla
from tests.kernels.attentions import Implementation, Layout, check, inputs
from tests.kernels.faults import Fault

pytestmark = pytest.mark.slow

EVERYTHING: Final = Layout(b=1, t=7, s=11, h=2, d=3, e=2, bias=(1, 1, 1, 11), mask=(1, 2, 7, 1), segments=True)

FAULTS: Final = (
    Fault("scale forgotten", reference, "scores = scale * jnp", "scores = jnp"),
    Fault("mask forgotten", reference, "if mask is not None:", "if False:"),
    Fault("scale forgotten", xla, "q, scale = scale * q, 1.0", "q, scale = q, 1.0"),
    Fault("segments forgotten", xla, "if q_segments is not None and k_segments is not None:", "if False:"),
    Fault(
        "last tile forgotten",
        xla,
        "map(at, walked)",
        "map(at, jax.tree.map(lambda x: x.at[-1].set(jnp.zeros_like(x[-1])), walked))",
    ),
    Fault("scale forgotten", pallas, "scores = self.scale * _dot", "scores = _dot"),
    Fault("mask forgotten", pallas, 'if "mask" in x:', "if False:"),
    Fault("last tile of keys forgotten", pallas, 'count = self.tiles.count("s")', 'count = self.tiles.count("s") - 1'),
    Fault("last tile of tokens forgotten", pallas, 'self.tiles.count("t"), step', 'self.tiles.count("t") - 1, step'),
    Fault("old weights not faded", pallas, "mixed * fade + _dot", "mixed + _dot"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.module.__name__.split('.')[-1]}: {fault.name}")
def test_a_fault_is_caught(fault: Fault, tmp_path: Path) -> None:
    module = fault.planted(tmp_path)
    implementation: Implementation
    if fault.module is reference:
        implementation = module.reference
    elif fault.module is xla:
        implementation = partial(module.xla, tiling=module.Tiling(whole=0, scores=1, rows=2))
    else:
        implementation = partial(module.pallas, target="interpret", sides=(2, 4))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(implementation, EVERYTHING, inputs(EVERYTHING, 0, size=4.0), 0.5, np.float32)
