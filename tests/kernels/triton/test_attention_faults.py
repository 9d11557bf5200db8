"""The checks of attention catch faults in its Triton kernels."""

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from artifex.kernels.attention import triton as implementation
from artifex.kernels.attention import triton_kernels
from artifex.kernels.attention.config import Tile, TritonTiles
from tests.kernels.attentions import Layout, check, inputs
from tests.kernels.faults import Fault
from tests.kernels.triton import interpreter

MANY: Final = Layout(b=1, t=20, s=18, h=2, d=40, e=40, bias=(1, 1, 20, 18), mask=(1, 2, 20, 1), segments=True)
TILE: Final = Tile(16, 16, 4, 1)

FAULTS: Final = tuple(
    Fault(name, triton_kernels, right, wrong)
    for name, right, wrong in (
        ("scale forgotten", "scores *= scale * 1.4426950408889634", "scores *= 1.4426950408889634"),
        ("scale of a gradient forgotten", "d_k_1 * scale", "d_k_1"),
        ("bias forgotten", "if given[0]:", "if False:"),
        ("mask forgotten", "if given[1]:", "if False:"),
        ("segments forgotten", "if given[2]:", "if False:"),
        ("keys beyond the last visible", "visible = (rows < t) & (cols < s)", "visible = rows < t"),
        ("last tile of tokens forgotten", "range(begin, t, queries)", "range(begin, t - queries, queries)"),
        ("second part of a head forgotten", "tl.dot(weights, d_out_1, d_v_1,", "tl.dot(weights, d_out_1 * 0, d_v_1,"),
        ("old weights not faded", "mixed_1 * fade[:, None]", "mixed_1"),
    )
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = fault.planted(tmp_path)
    for name in ("forward_kernel", "queries_kernel", "keys_kernel"):
        monkeypatch.setattr(implementation, name, getattr(module, name))
    # A launch of its own, so that nothing compiled without the fault is run.
    faulty = partial(implementation.triton, launch=partial(interpreter.launch), tiles=TritonTiles(TILE, TILE, TILE))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(faulty, MANY, inputs(MANY, 0, size=4.0), 0.5, np.float32)


def test_without_a_fault() -> None:
    sound = partial(implementation.triton, launch=interpreter.launch, tiles=TritonTiles(TILE, TILE, TILE))
    check(sound, MANY, inputs(MANY, 0, size=4.0), 0.5, np.float32)
