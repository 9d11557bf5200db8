import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.training import Checkpointer
from tests.training.tiny import same

STATE = {
    "a": jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32).at[0, 0].set(jnp.nan),
    "nested": [jnp.asarray(7, jnp.int32), (jnp.ones((2, 2), jnp.bfloat16), jnp.zeros(4, bool))],
}
ROOT = Path(__file__).parents[2]

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
        assert checkpointer.notes() == {"config": {"lr": 0.1}, "names": ["x", None]}


def test_the_last_few_are_kept_and_any_of_them_comes_back(tmp_path: Path) -> None:
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        for step in (5, 10, 15):
            checkpointer.save(step, {"a": jnp.full(2, float(step))}, {"step": step})
        assert checkpointer.latest() == 15
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(2)}, 10)["a"], [10, 10])
        assert checkpointer.notes(10) == {"step": 10}
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
            checkpointer.notes()
        checkpointer.clear()
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        Checkpointer(tmp_path, keep=0)


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    child = subprocess.run([sys.executable, "-c", SAVE_AND_DIE, str(tmp_path)], cwd=ROOT, env=environment, timeout=120)
    assert child.returncode == -signal.SIGKILL
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.latest() == 1
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(1000)})["a"], np.ones(1000))
        assert checkpointer.notes() == {"n": 1}
        checkpointer.save(2, {"a": jnp.full(1000, 3.0)}, {"n": 3})
        assert np.array_equal(checkpointer.restore({"a": jnp.zeros(1000)})["a"], np.full(1000, 3))
