"""Muon on sharded parameters makes the step of one device."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
# Five Newton-Schulz steps multiply rounding errors of small singular values by up to 3.4445 each.
ROUNDING = 3.4445**5 * 2.0**-23


@pytest.fixture(scope="module")
def differences() -> dict[str, dict[str, Any]]:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "NPROC": "32",  # enough threads for all devices to wait in an all-reduce
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, "-m", "tests.training.helpers.muon_layouts"]
    child = subprocess.run(command, cwd=ROOT, env=environment, timeout=600, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    out: dict[str, dict[str, Any]] = json.loads(child.stdout)
    return out


@pytest.mark.parametrize("layout", ["data", "fsdp"])
def test_a_sharded_step_is_the_step_of_one_device(differences: dict[str, dict[str, Any]], layout: str) -> None:
    found = differences[layout]
    assert found["smallest update"] > 0.1
    assert found["hidden"] < ROUNDING
    assert found["other"] < 1e-3


def test_matrices_are_sharded(differences: dict[str, dict[str, Any]]) -> None:
    assert differences["data"]["sharded"] == []
    assert differences["fsdp"]["sharded"] == [
        f"blocks.0.{name}.kernel" for name in ("attention.out", "attention.qkv", "mlp_in", "mlp_out")
    ]
