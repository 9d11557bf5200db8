import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from artifex.backbones import MLP
from artifex.command.app import main
from artifex.training import RunConfig, Trained, Trainer
from artifex.training.checkpoints.manifest import versions
from artifex.training.errors import CheckpointError
from artifex.training.run.export import export_network, load_exported
from tests.training.helpers.tiny import same

CONFIG = RunConfig.model_validate(
    {
        "data": {"kind": "toy", "name": "moons", "size": 50},
        "backbone": {"kind": "mlp", "hidden": 8, "depth": 1},
        "schedule": {"kind": "discrete", "steps": 50},
        "steps": 3,
        "batch_size": 8,
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Trained]:
    trainer = Trainer(CONFIG, tmp_path_factory.mktemp("run"))
    return trainer, trainer.fit()


@pytest.fixture(scope="module")
def exported(run: tuple[Trainer, Trained], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "deep" / "network.safetensors"
    export_network(run[0], path)
    return path


@pytest.mark.slow
def test_a_network_comes_back_whole_from_its_file_alone(run: tuple[Trainer, Trained], exported: Path) -> None:
    trainer, trained = run
    back = load_exported(exported)
    assert same(back.parameters, trained.parameters)
    assert not same(back.parameters, trained.state.parameters)
    assert (back.card.config, back.card.step, back.card.weights) == (CONFIG, 3, "average")
    assert back.card.versions == versions()
    assert back.objective == trainer.objective
    assert isinstance(back.module, MLP)
    x, level = jax.random.normal(jax.random.key(0), (4, 2)), trainer.objective.schedule.at(jnp.full(4, 20.0))
    assert np.array_equal(
        back.denoiser(x, level, jnp.zeros(4, jnp.int32)), trained.denoiser(x, level, jnp.zeros(4, jnp.int32))
    )


@pytest.mark.slow
def test_names_and_values_are_those_of_the_network(run: tuple[Trainer, Trained], exported: Path) -> None:
    stored = load_file(exported)
    flat = {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(run[1].parameters)}
    assert stored.keys() == flat.keys()
    assert all(np.array_equal(stored[name], leaf) for name, leaf in flat.items())
    with safe_open(exported, "np") as file:
        card = json.loads(file.metadata()["artifex"])
    assert card["config"]["backbone"] == {"kind": "mlp", "preset": None, "hidden": 8, "depth": 1}
    assert card["shape"] == [2]


@pytest.mark.slow
def test_parameters_in_half_the_bytes(run: tuple[Trainer, Trained], tmp_path: Path) -> None:
    trainer, trained = run
    path = tmp_path / "half.safetensors"
    export_network(trainer, path, trained, weights="parameters", dtype="bfloat16")
    assert {str(leaf.dtype) for leaf in load_file(path).values()} == {"bfloat16"}
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), trained.state.parameters)
    assert same(load_exported(path).parameters, rounded)


def test_a_failure_leaves_what_was_there(
    run: tuple[Trainer, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.safetensors"
    path.write_text("old")

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as failing:
        failing.setattr("artifex.training.files.os.fsync", fail)
        with pytest.raises(KeyboardInterrupt):
            export_network(*run[:1], path)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def changed(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    arrays["stem.kernel"] = np.zeros(3, np.float32)


def lost(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    del arrays["stem.kernel"]


def left_over(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    arrays["other"] = np.zeros(3, np.float32)


def of_another_version(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    card["config"]["gravity"] = 9.81
    card["versions"]["artifex-training"] = "7.0"


def of_an_earlier_version(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    card["config"]["version"] = 1
    card["versions"]["artifex-training"] = "0.0.9"


def of_an_unknown_network(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    card["shape"] = [8, 8, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (changed, r"stem\.kernel must be \(2, 8\) in .*, got \(3,\)"),
        (lost, r"stem\.kernel must be \(2, 8\) in .*, got None"),
        (left_over, r"other must be None in .*, got \(3,\)"),
        (of_another_version, r"config\.gravity: .* it was written by version 7\.0 of artifex-training, this is "),
        (of_an_earlier_version, r"config\.version: .* it was written by version 0\.0\.9 of artifex-training, this is "),
        (of_an_unknown_network, "can't be built: backbone"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(exported: Path, tmp_path: Path, damage: Any, says: str) -> None:  # noqa: ANN401
    arrays = load_file(exported)
    with safe_open(exported, "np") as file:
        card = json.loads(file.metadata()["artifex"])
    damage(arrays, card)
    path = tmp_path / "network.safetensors"
    save_file(arrays, path, {"artifex": json.dumps(card, separators=(",", ":"))})
    with pytest.raises(CheckpointError, match=says):
        load_exported(path)


def test_files_of_other_kinds_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        load_exported(tmp_path / "none.safetensors")
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"must be a file of artifex\.training, got one without 'artifex'"):
        load_exported(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(exported.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="is cut short"):
        load_exported(tmp_path / "cut.safetensors")


@pytest.mark.usefixtures("unhooked")
def test_unknown_choices_are_refused(run: tuple[Trainer, Trained], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights must be one of average, parameters, got 'ema'"):
        export_network(run[0], tmp_path / "a", weights="ema")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype must be one of None, float32, float16, bfloat16, got 'int8'"):
        export_network(run[0], tmp_path / "a", dtype="int8")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_converts_a_run(
    run: tuple[Trainer, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run[0].folder is not None
    folder, path = run[0].folder.path, tmp_path / "network.safetensors"
    assert main(["convert", str(folder), str(path), "--dtype", "bfloat16"]) == 0
    assert load_exported(path).card.config == CONFIG
    assert main(["convert", str(folder), str(tmp_path / "folder")]) == 2
    assert "diffusers has no MLP: DST must end in .safetensors" in capsys.readouterr().err
    assert main(["convert", str(folder), str(tmp_path / "b.safetensors"), "--config", "dit-xl-2"]) == 2
    assert "--config is for a file: a run has a config of its own" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [path]
