"""Going on with a run under other settings: what may change, what may not, and what is left in its folder."""

import os
import re
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.command.app import main
from artifex.training import Every, Trainer, TrainState, parse_config, read_config
from artifex.training.config.optimizer import Name, OptimizerConfig, make_optimizer
from artifex.training.run.resuming import changes, check_changes
from tests.training.cli.test_cli import tree
from tests.training.helpers.tiny import same

pytestmark = pytest.mark.slow

RUN = """
data: {kind: arrays, path: data.npy, labels: labels.npy}
backbone: {kind: mlp, hidden: 8, depth: 1}
schedule: {kind: discrete, steps: 50}
steps: 4
batch_size: 8
checkpoint: {every: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    write_data(tmp_path, 30)
    return tmp_path


def write_data(folder: Path, n: int) -> None:
    np.save(folder / "data.npy", np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(n) % 2)


def test_more_steps_are_those_of_a_run_that_stopped_and_has_another_schedule(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 steps of 4, then up to 8: with a constant rate and no warm-up, the bits of a run that always had 8."""
    plain = ["--set", "optimizer.schedule=constant", "--set", "optimizer.warmup_steps=0"]
    assert main(["train", "run.yaml", *plain, "--out", "whole", "--set", "steps=8"]) == 0
    assert main(["train", "run.yaml", *plain, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--out", "run", "--set", "steps=8", "--set", "checkpoint.every=3"]) == 0
    assert capsys.readouterr().err == "from step 4 on: checkpoint.every 3 for 2, steps 8 for 4\n"
    run, whole = Trainer.from_folder("run").load(), Trainer.from_folder("whole").load()
    assert same(run.state, whole.state)
    assert run.finished
    assert run.losses.shape == (8,)

    config, before = (read_config(folder / "run" / name) for name in ("config.yaml", "config.00000004.yaml"))
    assert (config.steps, config.checkpoint.every, before.steps, before.checkpoint.every) == (8, 3, 4, 2)
    # Its data lies where it lay, wherever the command is run.
    os.chdir("/")
    assert main(["train", "--resume", "--out", str(folder / "run"), "--set", "steps=9"]) == 0
    kept = {path.name for path in (folder / "run").glob("config*")}
    assert kept == {"config.yaml", "config.00000004.yaml", "config.00000008.yaml"}


def test_the_learning_rate_is_that_of_the_new_length_and_its_warm_up(folder: Path) -> None:
    """An update of SGD is as long as the gradient times the rate, which is r / 2 (1 + cos pi (k - w) / (n + 1 - w))."""
    sgd = ["optimizer={name: sgd, clip_norm: null, learning_rate: 0.01}", "ema=none"]
    Trainer(parse_config(RUN, sgd), "run").fit()
    kept, norms = list[np.ndarray](), list[float]()

    def keep(state: TrainState) -> None:
        kept.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.parameters)]))

    trainer = Trainer(parse_config(RUN, [*sgd, "steps=20", "optimizer.learning_rate=0.1"]), "run")
    keep(trainer.load().state)
    trainer.fit(
        resume=True, callback=lambda report: norms.append(report.gradient_norm), every=[Every(1, keep)],
        stop=lambda: len(kept) > 3,
    )  # fmt: skip
    rates = [np.linalg.norm(b - a) / norm for a, b, norm in zip(kept, kept[1:], norms, strict=False)]
    expected = [0.05 * (1 + np.cos(np.pi * (k - 2) / 19)) for k in (4, 5, 6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed=1", "seed must stay 0 when a run is resumed, got 1"),
        ("backbone.hidden=16", "backbone.hidden must stay 8 when a run is resumed, got 16"),
        ("schedule.steps=60", "schedule.steps must stay 50 when a run is resumed, got 60"),
        ("prediction=epsilon", "prediction must stay 'v' when a run is resumed, got 'epsilon'"),
        ("class_dropout=0.2", "class_dropout must stay 0.1 when a run is resumed, got 0.2"),
        ("optimizer.name=adam", "optimizer.name must stay 'adamw' when a run is resumed, got 'adam'"),
        ("optimizer.clip_norm=null", "optimizer.clip_norm must stay 1.0 when a run is resumed, got None"),
        ("optimizer.options={b1: 0.8}", "optimizer.options.b1 must stay None when a run is resumed, got 0.8"),
        ("ema=none", "ema.decay must stay"),
        ("data=toy", "data.kind must stay 'arrays' when a run is resumed, got 'toy'"),
        ("steps=3", "steps must be at least the 4 completed ones, got 3"),
    ],
)
def test_what_must_stay_is_named_with_both_values(override: str, says: str) -> None:
    old, new = parse_config(RUN), parse_config(RUN, [override])
    with pytest.raises(ValueError, match=re.escape(says)):
        check_changes(changes(old.model_dump(mode="json"), new), 4)


def test_a_refused_change_is_one_line_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.yaml", "--set", "seed=5", "--out", "run"]) == 0
    before = tree(folder)
    capsys.readouterr()
    for arguments, says in (
        (["--set", "seed=1"], "artifex: seed must stay 5 when a run is resumed, got 1\n"),
        (["run.yaml"], "artifex: seed must stay 5 when a run is resumed, got 0\n"),
        (["--set", "steps=3"], "artifex: steps must be at least the 4 completed ones, got 3\n"),
        (
            ["--set", "backbone.hidden=16", "--set", "backbone.depth=2"],
            "artifex: backbone.depth must stay 1 when a run is resumed, got 2; backbone.hidden must stay 8 when a run "
            "is resumed, got 16\n",
        ),
    ):
        assert main(["train", *arguments, "--resume", "--out", "run"]) == 2
        assert capsys.readouterr() == ("", says)
    assert tree(folder) == before


def test_all_that_may_change_at_once_and_in_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stream of examples goes on: 4 steps of 8 and 3 of 6 are 50 examples, each once in 30."""
    assert main(["train", "run.yaml", "--out", "run"]) == 0
    (folder / "other").mkdir()
    (folder / "data.npy").rename("other/data.npy")
    (folder / "new.yaml").write_text(
        RUN.replace("data.npy", "other/data.npy")
        .replace("steps: 4", "steps: 7")
        .replace("batch_size: 8", "batch_size: 6")
        + """
accumulation_steps: 3
parallel_microbatches: 2
max_skipped: 3
optimizer: {learning_rate: 1e-4, schedule: linear, warmup_steps: 3, clip_norm: 2.0, weight_decay: 0.1}
log: {every: 2}
preview: {every: 7, steps: 2, count: 3}
precision: {compute: bfloat16}
"""
    )
    capsys.readouterr()
    assert main(["train", "new.yaml", "--resume", "--out", "run"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith("from step 4 on: accumulation_steps 3 for 1, batch_size 6 for 8, data.path ")
    run = Trainer.from_folder("run").load()
    assert (run.steps_done, run.finished, run.config.batch_size) == (7, True, 6)
    assert np.isfinite(run.losses).all()
    assert (folder / "run" / "previews" / "00000007.png").is_file()
    assert main(["info", "run"]) == 0
    assert capsys.readouterr().out.startswith("# step 7 of 7, after ")


def test_data_that_grew_is_gone_on_with_when_it_is_accepted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.yaml", "--out", "run"]) == 0
    write_data(folder, 40)
    before = tree(folder)
    capsys.readouterr()
    again = ["train", "--resume", "--out", "run", "--set", "steps=6"]
    assert main(again) == 2
    assert capsys.readouterr() == (
        "",
        "artifex: the number of examples must stay 30 when a run is resumed, got 40; changed data must be accepted: "
        "--accept-changed-data, in Python accept_changed_data=True\n",
    )
    assert tree(folder) == before
    assert main([*again, "--accept-changed-data"]) == 0
    assert Trainer.from_folder("run").load().finished
    # Once accepted it is the run's data.
    assert main(["train", "--resume", "--out", "run", "--set", "steps=7"]) == 0


@pytest.mark.parametrize("name", get_args(Name))
def test_what_may_change_of_an_optimizer_is_no_part_of_its_state(name: Name) -> None:
    parameters = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}
    more: list[dict[str, object]] = [
        {"learning_rate": 1.0}, {"schedule": "constant"}, {"schedule": "rsqrt"}, {"warmup_steps": 0},
        {"clip_norm": 3.0},
    ]  # fmt: skip
    try:
        OptimizerConfig(name=name, weight_decay=0.5)
    except ValueError:
        pass  # it has none
    else:
        more += [{"weight_decay": 0.5}, {"weight_decay": 0.0}]
    states = [
        jax.eval_shape(make_optimizer(OptimizerConfig(**{"name": name, **one}), steps).init, parameters)  # type: ignore[arg-type]
        for one, steps in (({}, 40), *((one, 40) for one in more), ({}, 4000))
    ]
    leaves = [[(str(path), leaf.shape, leaf.dtype) for path, leaf in jax.tree.leaves_with_path(s)] for s in states]
    assert all(leaf == leaves[0] for leaf in leaves)
