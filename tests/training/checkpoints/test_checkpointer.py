import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.training import Checkpointer
from artifex.training.checkpoints import manifest
from artifex.training.checkpoints.storage import TEMPORARY
from artifex.training.errors import CheckpointError
from tests.training.helpers.tiny import same

STATE = {
    "a": jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32).at[0, 0].set(jnp.nan),
    "nested": [jnp.asarray(7, jnp.int32), (jnp.ones((2, 2), jnp.bfloat16), jnp.zeros(4, bool))],
}
ROOT = Path(__file__).parents[3]

SAVE_AND_DIE = """
import os, signal, sys
from pathlib import Path
import jax.numpy as jnp
from artifex.training import Checkpointer

folder = Path(sys.argv[1])
checkpointer = Checkpointer(folder)
checkpointer.save(1, {"a": jnp.full(1000, 1.0)}, {"n": 1})
checkpointer.wait()

def deadly(original):
    def rename(source, target, **kwargs):
        if Path(target).name == "2":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(source, target, **kwargs)
    return rename

os.rename, os.replace = deadly(os.rename), deadly(os.replace)
checkpointer.save(2, {"a": jnp.full(1000, 2.0)}, {"n": 2})
checkpointer.wait()
"""


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    with Checkpointer(tmp_path / "deep" / "c") as checkpointer:
        assert checkpointer.latest() is None
        assert not (tmp_path / "deep").exists()
        checkpointer.save(3, STATE, {"config": {"lr": 0.1}, "names": ["x", None]})
    with Checkpointer(tmp_path / "deep" / "c") as checkpointer:
        assert checkpointer.latest() == 3
        blank = {
            "a": jnp.zeros((3, 5)),
            "nested": [jnp.asarray(0), (jnp.zeros((2, 2), jnp.bfloat16), jnp.ones(4, bool))],
        }
        assert same(checkpointer.restore(blank), STATE)
        assert checkpointer.metadata() == {"config": {"lr": 0.1}, "names": ["x", None]}


def test_the_last_few_are_kept_and_any_of_them_comes_back(tmp_path: Path) -> None:
    with Checkpointer(tmp_path, max_to_keep=2) as checkpointer:
        for step in (5, 10, 15):
            checkpointer.save(step, {"a": jnp.full(2, float(step))}, {"step": step})
        assert checkpointer.latest() == 15
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(2)}, 10)["a"], [10, 10])
        assert checkpointer.metadata(10) == {"step": 10}
        with pytest.raises(FileNotFoundError, match="must hold a checkpoint of step 5"):
            checkpointer.restore({"a": jnp.zeros(2)}, 5)


@pytest.mark.parametrize(
    ("like", "says"),
    [
        ({"a": jnp.zeros(3)}, r"a must be \(\(3,\), 'float32'\).*got \(\(2,\), 'float32'\)"),
        ({"a": jnp.zeros(2, jnp.int32)}, r"a must be \(\(2,\), 'int32'\).*got \(\(2,\), 'float32'\)"),
        ({"a": jnp.zeros(2), "b": jnp.zeros(1)}, "b must be .* got None"),
        ({}, "a must be None in the checkpoint of step 1, got"),
    ],
)
def test_another_state_is_refused_by_name(tmp_path: Path, like: dict[str, object], says: str) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": jnp.zeros(2)}, {})
        with pytest.raises(ValueError, match=says):
            checkpointer.restore(like)


def test_steps_that_are_multiples_are_kept_for_ever(tmp_path: Path) -> None:
    with Checkpointer(tmp_path, max_to_keep=1, keep_period=10) as checkpointer:
        for step in (5, 10, 15, 20, 25, 27):
            checkpointer.save(step, {"a": jnp.zeros(1)}, {})
        checkpointer.wait()
        assert checkpointer.steps() == [10, 20, 27]


@pytest.mark.slow
def test_a_save_is_of_the_values_it_was_given_and_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step takes over the buffers, and a NumPy array is overwritten, while nothing is written yet."""
    written, write = threading.Event(), Checkpointer._write

    def late(self: Checkpointer, *args: object) -> None:
        assert written.wait(60)
        write(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpointer, "_write", late)
    step = jax.jit(lambda state: {name: value + 1 for name, value in state.items()}, donate_argnums=0)
    host, metadata = np.zeros(4, np.float32), {"list": [1]}
    state = step({"a": jnp.zeros(1000), "b": jnp.zeros(3, jnp.bfloat16)})
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {**state, "host": host}, metadata)
        for _ in range(3):
            state = step(state)
        host += 1
        metadata["list"].append(2)
        assert state["a"][0] == 4
        assert checkpointer.steps() == []
        written.set()
        stored = checkpointer.restore({"a": jnp.zeros(1000), "b": jnp.zeros(3, jnp.bfloat16), "host": jnp.zeros(4)})
        assert checkpointer.metadata() == {"list": [1]}
    assert np.array_equal(stored["a"], np.ones(1000))
    assert np.array_equal(stored["b"], np.ones(3))
    assert np.array_equal(stored["host"], np.zeros(4))


def test_a_state_can_be_restored_from_its_shapes_into_a_layout(tmp_path: Path) -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))  # type: ignore[no-untyped-call]
    like: dict[str, object] = {
        "a": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=layout),  # type: ignore[no-untyped-call]
        "b": jax.ShapeDtypeStruct((3,), jnp.int32),  # type: ignore[no-untyped-call]
    }
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": jnp.arange(4.0), "b": jnp.arange(3)}, {})
        stored = checkpointer.restore(like)
    assert same(stored, {"a": jax.device_put(jnp.arange(4.0), layout), "b": jnp.arange(3)})
    assert isinstance(stored["a"], jax.Array)
    assert stored["a"].sharding == layout


def largest(folder: Path) -> Path:
    """The file with most of the arrays."""
    return max((path for path in (folder / "state").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut_short(folder: Path) -> None:
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-100])


def lose(folder: Path) -> None:
    largest(folder).unlink()


def flip_a_bit(folder: Path) -> None:
    path = largest(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def corrupt_the_metadata(folder: Path) -> None:
    (folder / "metadata" / "metadata").write_text('{"config": ')


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest" / "files.json").unlink()


def corrupt_the_manifest(folder: Path) -> None:
    (folder / "manifest" / "files.json").write_bytes(b"\xff\x00")


def come_from_the_future(folder: Path) -> None:
    path = folder / "manifest" / "files.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3}))


def be_of_an_earlier_format(folder: Path) -> None:
    path = folder / "manifest" / "files.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))


def be_deleted_in_part(folder: Path) -> None:
    shutil.rmtree(folder / "manifest")
    shutil.rmtree(folder / "metadata")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_short, r"state/\S+ has [\d,]+ bytes instead of [\d,]+$"),
        (lose, r"state/\S+ is missing$"),
        (flip_a_bit, r"state/\S+ does not match its checksum$"),
        (corrupt_the_metadata, r"metadata/metadata has 11 bytes instead of 12$"),
        (lose_the_manifest, "it has no manifest, so it is incomplete or was written by an earlier version of Artifex$"),
        (corrupt_the_manifest, "its manifest is unreadable"),
        (come_from_the_future, "its format is 3, and this version of Artifex reads 2$"),
        (be_of_an_earlier_format, "its format is 1, and this version of Artifex reads 2$"),
        (be_deleted_in_part, "it has no manifest"),
    ],
)
def test_a_corrupt_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    values = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    with Checkpointer(tmp_path) as checkpointer:
        for step in (10, 20):
            checkpointer.save(step, {"a": jnp.asarray(values + step)}, {"step": step})
    damage(tmp_path / "20")
    warnings: list[str] = []
    with Checkpointer(tmp_path, warn=warnings.append) as checkpointer:
        assert checkpointer.latest() == 10
        assert checkpointer.metadata() == {"step": 10}
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(5000)})["a"], values + 10)
        assert len(warnings) == 1
        assert warnings[0].startswith(f"going back to step 10: the checkpoint in {tmp_path} of step 20 can't be used: ")
        assert re.search(says, warnings[0])
        with pytest.raises(CheckpointError, match=r"of step 20 can't be used"):
            checkpointer.restore({"a": jnp.zeros(5000)}, 20)
        assert checkpointer.steps() == [10, 20], "reading changes nothing"
        checkpointer.save(20, {"a": jnp.asarray(values + 21)}, {"step": 21})
        checkpointer.wait()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20", "20.corrupt"]
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(5000)})["a"], values + 21)


def test_what_orbax_writes_beside_the_items_is_not_needed(tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": jnp.ones(3)}, {"n": 1})
    for path in (tmp_path / "1").iterdir():
        if path.is_file():
            path.write_text("{")
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.metadata() == {"n": 1}
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(3)})["a"], np.ones(3))
        checkpointer.save(2, {"a": jnp.ones(3)}, {"n": 2})
        assert checkpointer.latest() == 2


def test_where_no_checkpoint_is_whole_that_is_said(tmp_path: Path) -> None:
    """As in a folder that version 0.1 of the demo left: Orbax's files, and no manifest."""
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(7, {"a": jnp.zeros(2)}, {})
    shutil.rmtree(tmp_path / "7" / "manifest")
    with Checkpointer(tmp_path) as checkpointer:
        for ask in (checkpointer.latest, checkpointer.metadata, lambda: checkpointer.restore({"a": jnp.zeros(2)})):
            with pytest.raises(CheckpointError) as error:
                ask()
            assert str(error.value) == (
                f"no checkpoint in {tmp_path} can be used; the last of step 7 can't be used: "
                "it has no manifest, so it is incomplete or was written by an earlier version of Artifex"
            )


def test_steps_go_up_and_metadata_is_json(tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(4, {"a": jnp.zeros(1)}, {})
        for step in (4, 3):
            with pytest.raises(ValueError, match=f"step must be above 4, that of the last checkpoint, got {step}"):
                checkpointer.save(step, {"a": jnp.zeros(1)}, {})
        with pytest.raises(TypeError, match="not JSON serializable"):
            checkpointer.save(5, {"a": jnp.zeros(1)}, {"path": tmp_path})
        assert checkpointer.steps() == [4]


def test_what_wrote_a_checkpoint_is_known_and_named_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = manifest.versions()
    assert {"python", "artifex-training", "jax", "flax", "optax"} <= here.keys()
    with monkeypatch.context() as older, Checkpointer(tmp_path) as checkpointer:
        older.setattr(manifest, "versions", lambda: {**here, "artifex-training": "0.0.7"})
        checkpointer.save(1, {"a": jnp.zeros(2)}, {})
        checkpointer.wait()
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.written_by() == {**here, "artifex-training": "0.0.7"}
        assert np.array_equal(checkpointer.restore({"a": jnp.ones(2)})["a"], [0, 0])
        with pytest.raises(ValueError, match=r"it was written by version 0\.0\.7 of artifex-training, this is 0\.1\.0"):
            checkpointer.restore({"a": jnp.zeros(3)})


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 100 kB: the system refuses the rest of it half-way, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_can_not_be_written_is_an_error_of_the_next_call_and_leaves_the_checkpoint_before(
    tmp_path: Path, little_room: None
) -> None:
    big = {"a": jnp.asarray(np.random.default_rng(0).normal(size=100_000), jnp.float32)}
    says = f"the checkpoint of step 2 could not be written to {tmp_path}: file too large; that of step 1 is the last"
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": jnp.ones(3)}, {"n": 1})
        calls: tuple[Callable[[], None], ...] = (
            lambda: checkpointer.save(3, {"a": jnp.ones(3)}, {}),
            checkpointer.wait,
            checkpointer.close,
        )
        for fails in calls:
            checkpointer.save(2, big, {})
            with pytest.raises(CheckpointError) as error:
                fails()
            assert str(error.value) == says
            assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert checkpointer.latest() == 1
        checkpointer.save(2, {"a": jnp.ones(3)}, {"n": 2})
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.metadata() == {"n": 2}


def test_a_failed_save_does_not_hide_what_else_went_wrong(tmp_path: Path, little_room: None) -> None:
    warnings: list[str] = []
    with pytest.raises(ZeroDivisionError), Checkpointer(tmp_path, warn=warnings.append) as checkpointer:  # noqa: PT012
        checkpointer.save(2, {"a": jnp.asarray(np.random.default_rng(0).normal(size=100_000), jnp.float32)}, {})
        raise ZeroDivisionError
    assert warnings == [f"the checkpoint of step 2 could not be written to {tmp_path}: file too large"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: ... Failed to write 885544 bytes to file 14: ... [os_error_code='28']"),
    ],
)
def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The second is the error of Orbax's storage, recorded on a full file system."""

    def refuse(*args: object) -> None:
        raise error

    monkeypatch.setattr(Checkpointer, "_write", refuse)
    with (
        pytest.raises(CheckpointError, match=f"could not be written to {tmp_path}: no space left on device$"),
        Checkpointer(tmp_path) as checkpointer,
    ):
        checkpointer.save(2, {"a": jnp.ones(3)}, {})


def test_who_only_reads_leaves_a_save_of_another_process_alone(tmp_path: Path) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": jnp.ones(3)}, {})
    underway = tmp_path / f"2{TEMPORARY}"
    underway.mkdir()
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.latest() == 1
        checkpointer.restore({"a": jnp.ones(3)})
        assert underway.is_dir()
        checkpointer.save(2, {"a": jnp.ones(3)}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_clearing_touches_checkpoints_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, STATE, {})
        checkpointer.clear()
        assert checkpointer.latest() is None
        checkpointer.save(1, STATE, {})
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_nothing_to_restore_and_nothing_to_keep_are_refused(tmp_path: Path) -> None:
    with Checkpointer(tmp_path / "none") as checkpointer:
        with pytest.raises(FileNotFoundError, match="none must hold a checkpoint"):
            checkpointer.metadata()
        checkpointer.clear()
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        Checkpointer(tmp_path, max_to_keep=0)
    with pytest.raises(ValueError, match="keep_period must be at least 1, got 0"):
        Checkpointer(tmp_path, keep_period=0)


@pytest.mark.slow
def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    child = subprocess.run([sys.executable, "-c", SAVE_AND_DIE, str(tmp_path)], cwd=ROOT, env=environment, timeout=120)
    assert child.returncode == -signal.SIGKILL
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.latest() == 1
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(1000)})["a"], np.ones(1000))
        assert checkpointer.metadata() == {"n": 1}
        checkpointer.save(2, {"a": jnp.full(1000, 3.0)}, {"n": 3})
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(1000)})["a"], np.full(1000, 3))
