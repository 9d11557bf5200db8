"""Devices in a mesh: what fits, where arrays lie, and that training does not depend on it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, PartitionSpec
from pydantic import ValidationError

from artifex.backbones import MLP, DiT, DiTConfig, MLPConfig
from artifex.training import Digits, RunConfig, Trainer
from artifex.training.sharding.mesh import AXES, MeshConfig, make_mesh
from artifex.training.sharding.sharding import check_mesh, rules_of, state_shardings

ROOT = Path(__file__).parents[3]
SMALL_DIT = DiTConfig(in_channels=1, hidden=64, depth=1, heads=4, num_classes=10, learn_sigma=False)


def small_dit() -> DiT:
    """Shapes alone."""
    dit: DiT = nnx.eval_shape(lambda: DiT(SMALL_DIT, rngs=nnx.Rngs(0)))
    return dit


class State(NamedTuple):
    parameters: Any
    moments: dict[str, Any]
    losses: Any


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # A matrix product that waits for threads that all wait for it in an all-reduce would deadlock.
        "NPROC": "32",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, "-m", "tests.training.helpers.layouts", str(tmp_path_factory.mktemp("layouts"))]
    child = subprocess.run(command, cwd=ROOT, env=environment, timeout=600, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    out: dict[str, Any] = json.loads(child.stdout)
    return out


@pytest.fixture(scope="module")
def layouts(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = report["dit"]
    return out


@pytest.mark.slow
def test_every_layout_has_the_losses_of_one_device(layouts: dict[str, dict[str, Any]]) -> None:
    one = np.array(layouts["one"]["losses"])
    assert one.shape == (50,)
    assert one[-10:].mean() < 0.8 * one[:10].mean()
    for name, found in layouts.items():
        np.testing.assert_allclose(found["losses"], one, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_each_device_holds_its_share(layouts: dict[str, dict[str, Any]]) -> None:
    shares = {name: found["kernel"] for name, found in layouts.items()}
    assert shares == {
        "one": [64, 256],
        "data": [64, 256],
        "fsdp": [64, 32],
        "data x fsdp": [64, 64],
        "data x tensor": [64, 128],
    }
    size = {name: found["bytes"] / layouts["one"]["bytes"] for name, found in layouts.items()}
    assert size["data"] == 1
    # What is replicated is small: biases, the ends of the network.
    assert size["fsdp"] < 0.16
    assert size["data x fsdp"] < 0.28
    assert size["data x tensor"] < 0.6


@pytest.mark.slow
def test_a_model_is_never_whole_on_one_device(report: dict[str, Any]) -> None:
    """At initialization and with the optimizer's state and averages; its numbers are those of one device."""
    size = {name: found["bytes at the start"] / report["dit"]["one"]["bytes"] for name, found in report["dit"].items()}
    # The network's own parameters stay beside the state's: a fourth of it.
    assert size["one"] == pytest.approx(1.25, abs=0.01)
    assert size["fsdp"] < 0.2
    assert size["data x fsdp"] < 0.35
    assert size["data x tensor"] < 0.75
    parameters = report["dit"]["one"]["bytes"] / 4
    assert report["drawing"]["given"] < 0.16 * parameters
    assert report["drawing"]["temporary"] < 0.2 * parameters
    # The same inside the program that makes the state: a share of the parameters, and of what is made of them.
    for name, share in (("fsdp", 0.16), ("data x fsdp", 0.28), ("data x tensor", 0.6)):
        start = report["dit"][name]["memory of the start"]
        assert start["taken"] < share * parameters
        assert start["given"] < share * report["dit"]["one"]["bytes"]
        assert start["temporary"] < 0.01 * parameters


@pytest.mark.slow
def test_devices_tell_each_other_what_they_must_and_no_more(layouts: dict[str, dict[str, Any]]) -> None:
    kinds = {name: set(found["collectives"]) for name, found in layouts.items()}
    assert kinds["one"] == set()
    assert kinds["data"] == {"all-reduce"}
    assert kinds["data x tensor"] == {"all-reduce"}
    # All tokens behind attention and behind the MLP, forward and backward.
    assert layouts["data x tensor"]["tokens"] == 4
    for name in ("fsdp", "data x fsdp"):
        assert kinds[name] <= {"all-gather", "all-reduce", "reduce-scatter"}, name
        # Every parameter is gathered for the forward pass, and again for the backward pass where that needs it.
        cut = layouts[name]["cut along fsdp"]
        assert cut == 8
        assert cut < layouts[name]["collectives"]["all-gather"] <= 2 * cut, name


@pytest.mark.slow
def test_weights_that_devices_share_keep_their_length(report: dict[str, Any]) -> None:
    found = report["turning"]
    assert found["cut"] == [[None, "fsdp"], ["fsdp"], ["fsdp"]]  # some within a unit's weights
    np.testing.assert_allclose(found["losses"]["fsdp"], found["losses"]["one"], rtol=1e-5)
    for lengths in found["lengths"]:
        np.testing.assert_allclose(lengths, 1, rtol=1e-6)


@pytest.mark.slow
def test_a_run_is_read_where_its_batch_does_not_fit(report: dict[str, Any]) -> None:
    assert report["elsewhere"] < 1e-5


@pytest.mark.slow
def test_devices_draw_a_picture_together(report: dict[str, Any]) -> None:
    """Of ten samples each of eight draws two; what is over is dropped."""
    found = report["pictures"]
    assert found["shares"] == [[10], [2]]
    assert found["differ"] <= 1  # of 255, by rounding
    assert found["contrast"] > 100


def test_parameters_lie_along_their_largest_axis_that_is_free() -> None:
    array = jax.ShapeDtypeStruct
    parameters = {
        "wide": array((64, 128), np.float32),  # type: ignore[no-untyped-call]
        "square": array((64, 64), np.float32),  # type: ignore[no-untyped-call]
        "odd": array((4096, 66), np.float32),  # type: ignore[no-untyped-call]
        "prime": array((67, 71), np.float32),  # type: ignore[no-untyped-call]
        "small": array((63, 64), np.float32),  # type: ignore[no-untyped-call]
        "ruled": array((64, 128), np.float32),  # type: ignore[no-untyped-call]
    }
    state = State(parameters, {"mu": parameters, "factored": {"wide": parameters["ruled"]}}, parameters["wide"])
    mesh = AbstractMesh((1, 4, 2), AXES)
    found = state_shardings(state, mesh, {"ruled": (None, "tensor")})
    specs = {name: tuple(found.parameters[name].spec) for name in parameters}
    assert specs == {
        "wide": (None, "fsdp"),
        "square": ("fsdp",),
        "odd": ("fsdp",),
        "prime": (),
        "small": (),
        "ruled": ("fsdp", "tensor"),
    }
    assert found.moments["mu"] == found.parameters
    # What has the name of a parameter and another's shape is not of it; what has no parameter's name is of none.
    assert found.losses.spec == PartitionSpec()  # type: ignore[no-untyped-call]


def test_sizes_left_open_take_what_is_left() -> None:
    assert MeshConfig().sizes(8) == (8, 1, 1)
    assert MeshConfig(data=2, fsdp=-1, tensor=2).sizes(16) == (2, 4, 2)
    assert MeshConfig(data=1).sizes(1) == (1, 1, 1)
    assert make_mesh(MeshConfig()).shape == {"data": 1, "fsdp": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (
            {"fsdp": 3},
            "the product of the mesh must be the number of devices, 8, got data = -1 x fsdp = 3 x tensor = 1",
        ),
        ({"data": 2, "fsdp": 2}, "8, got data = 2 x fsdp = 2 x tensor = 1"),
        ({"data": 16}, "8, got data = 16"),
    ],
)
def test_sizes_that_do_not_fit_the_devices_are_refused(sizes: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MeshConfig(**sizes).sizes(8)


@pytest.mark.parametrize("sizes", [{"data": 0}, {"fsdp": -1}, {"tensor": -2}, {"data": 2.5}, {"pipeline": 2}])
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(sizes))):
        MeshConfig(**sizes)


@pytest.mark.slow
def test_what_a_mesh_can_not_share_is_refused_with_its_numbers() -> None:
    dit, mlp = small_dit(), MLP(MLPConfig(), rngs=nnx.Rngs(0))
    halves, eighths = AbstractMesh((4, 1, 2), AXES), AbstractMesh((1, 1, 8), AXES)
    check_mesh(halves, dit, 8)
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of mesh.data = 4 x mesh.fsdp = 1, got 6"):
        check_mesh(halves, dit, 6)
    with pytest.raises(ValueError, match=r"mesh.fsdp = 1 x accumulation_steps = 4, got 8"):
        check_mesh(halves, dit, 8, accumulation_steps=4)
    with pytest.raises(ValueError, match=r"mesh.tensor must be 1 for MLP, which has no rules .* \(DiT has\), got 2"):
        check_mesh(halves, mlp, 8)
    with pytest.raises(
        ValueError,
        match=r"axis 1 of blocks.0.attention.qkv.bias, of shape \(3, 4, 16\), must be a multiple of mesh.tensor, got 8",
    ):
        check_mesh(eighths, dit, 8)
    assert rules_of(MLP, AbstractMesh((4, 2, 1), AXES)) == {}


@pytest.mark.slow
def test_every_rule_is_of_a_parameter() -> None:
    mesh = AbstractMesh((1, 1, 2), AXES)
    dit = small_dit()
    parameters = nnx.state(dit, nnx.Param)
    found = state_shardings(State(parameters, {}, np.zeros(3)), mesh, rules_of(DiT, mesh)).parameters
    cut = [x for x in jax.tree.leaves(found) if "tensor" in x.spec]
    assert len(cut) == len(rules_of(DiT, mesh)) + 1  # one of them is of the blocks and of the last layer
    assert rules_of(DiT, mesh)


def test_a_trainer_says_what_does_not_fit_before_it_begins() -> None:
    with pytest.raises(ValueError, match=r"the product of the mesh must be the number of devices, 1, got .* fsdp = 8"):
        Trainer(RunConfig(data=Digits(), mesh=MeshConfig(fsdp=8)))
