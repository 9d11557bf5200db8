"""Kernels whose arrays lie on several devices: each computes its share, to the numbers of one device."""

import pytest

from tests.kernels.meshes import Found, check_numbers, run_program

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> Found:
    return run_program("pallas")


def test_numbers_are_those_of_one_device(found: Found) -> None:
    assert len(found) == 8
    check_numbers(found)


def test_each_device_computes_its_share_and_gathers_nothing(found: Found) -> None:
    alike = {name: case for name, case in found.items() if name != "cut along other axes"}
    summed = {"attention", "qk_norm_rope"}  # over samples, and over heads: the gradients of a bias and of a gain
    assert {name: case["collectives"] for name, case in alike.items()} == {
        name: ["all-reduce"] if name in summed else [] for name in alike
    }
    by_heads = {"attention", "qk_norm_rope", "in a scan, under vmap"}
    assert {name: case["share"] for name, case in alike.items()} == {
        name: 1 / 8 if name in by_heads else 1 / 4 for name in alike
    }
