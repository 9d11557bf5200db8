"""A run's own network, evaluated: samples of it against its data, and the bits it spends on them."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.command.app import main
from artifex.guidance import ClassifierFree
from artifex.samplers import SAMPLERS, prior, sample
from artifex.schedules import grid
from artifex.training import PreviewConfig, RunConfig, Toy, Trainer
from artifex.training.config.yaml import parse_config
from artifex.training.data import Arrays, open_dataset
from artifex.training.evaluation import Features, fid
from artifex.training.evaluation.examples import in_memory
from artifex.training.evaluation.run import Run

pytestmark = pytest.mark.slow

CONFIG = """
data: {kind: toy, name: gaussians, size: 300}
backbone: {kind: mlp, hidden: 16, depth: 1}
schedule: {kind: %s}
prediction: v
steps: 2
"""


def config(schedule: str) -> RunConfig:
    return parse_config(CONFIG % schedule)


def test_a_run_against_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Trainer(config("discrete"), "run").fit()
    arguments = [
        "evaluate",
        "run",
        "--count",
        "64",
        "--metrics",
        "fid,kid",
        "--likelihood-bits",
        "3",
        "--out",
        "r.json",
    ]
    assert main([*arguments, "--out", "r.json"]) == 0
    first, drawn_by, *scores, bits = capsys.readouterr().out.splitlines()
    assert first == "raw values; 64 generated, 64 real"
    assert drawn_by == (
        "  samples             sampler = ddim, steps = 50, guidance_scale = 1.0, seed = 0, labels = all 8 in turn, "
        "network = step 2, averaged as in training"
    )
    assert [line.split()[0] for line in scores] == ["fid", "kid"]
    assert bits.startswith("bits_per_dim ")
    assert (
        "(density of the network of step 2, averaged as in training, without labels; 3 real; dequantization = none"
        in bits
    )
    stored = json.loads(Path("r.json").read_text())
    assert stored["against"] == "gaussians"
    assert stored["bits_per_dim"]["settings"] == {
        "dequantization": "none", "divergence": "1 Rademacher probes", "solver": "Tsit5", "rtol": 1e-5, "atol": 1e-5,
        "start": 999.0, "end": 0.0, "seed": 0,
    }  # fmt: skip
    assert f"{stored['bits_per_dim']['value']:.4g}" in bits
    run = Run(Path("run"))
    # Other samples, held against other data.
    assert main(["evaluate", "run", "--against", "moons", "--count", "64", "--metrics", "fid", "--seed", "1"]) == 0
    drawn, moons = np.concatenate(list(run.samples(64, 1))), in_memory(open_dataset(Toy(name="moons")), 64).x
    expected = fid(Features.of("raw values", drawn), Features.of("raw values", moons)).value
    assert float(capsys.readouterr().out.splitlines()[2].split()[1]) == pytest.approx(expected, rel=1e-3)
    assert run.ends == (999, 0)


def test_the_likelihood_of_bytes_is_dequantized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise between them, levels have an infinite density: no number of bits is their truth."""
    monkeypatch.chdir(tmp_path)
    np.save("bytes.npy", np.random.default_rng(0).integers(0, 256, (64, 2), np.uint8))
    data = Arrays(path=Path("bytes.npy"))
    Trainer(config("discrete").model_copy(update={"data": data}), "run").fit()
    assert Run(Path("run")).likelihood(3, 0).settings["dequantization"] == "uniform, 256 levels"


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_samples_scored_are_those_that_the_options_name(
    scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network whose noise is known for each label, drawn by the library itself, whatever the previews are."""
    monkeypatch.chdir(tmp_path)
    previews = PreviewConfig(guidance=7.0, steps=3, every=100)
    Trainer(config("discrete").model_copy(update={"preview": previews, "steps": 30}), "run").fit()
    more = [] if scale == 1 else ["--guidance", "3", "--sampler", "euler", "--steps", "7", "--seed", "5"]
    assert main(["evaluate", "run", "--count", "48", "--metrics", "fid", "--out", "r.json", *more]) == 0
    stored = json.loads(Path("r.json").read_text())
    sampler, steps, seed = ("ddim", 50, 0) if scale == 1 else ("euler", 7, 5)
    assert stored["sampling"] == {
        "sampler": sampler, "steps": steps, "guidance_scale": scale, "seed": seed, "labels": "all 8 in turn",
        "network": "step 30, averaged as in training",
    }  # fmt: skip
    trainer = Trainer.from_folder("run")
    trained, path, labels = trainer.load(), trainer.objective, np.arange(48) % 8
    walk = SAMPLERS[stored["sampling"]["sampler"]].tableau(path.schedule, grid.trailing(1000, steps))
    guided = ClassifierFree(scale, null=jnp.asarray(8))(trained.denoiser, jnp.asarray(labels))
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(jax.random.key(seed), i)))(jnp.arange(48))
    drawn = np.asarray(sample(guided, walk, prior(walk, (48, 2), keys[:, 0]), keys[:, 1]))
    expected = fid(Features.of("raw values", drawn), Features.of("raw values", in_memory(trainer.data, 48).x)).value
    assert stored["scores"][0]["value"] == pytest.approx(expected, rel=1e-3)


def test_settings_that_do_not_fit_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Trainer(config("discrete").model_copy(update={"steps": 1}), "run").fit()
    for arguments, says in (
        (["--sampler", "dimm"], "--sampler must be one of ddim, ddpm, "),
        (
            ["--ema", "0.1"],
            "an average of width 0.1 needs a run with stored averages, ema: {kind: power}; this has none",
        ),
        (["--guidance", "x"], "--guidance must be a number in [-100, 100], got 'x'"),
    ):
        assert main(["evaluate", "run", *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert says in err


def test_a_run_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "config.yaml could not be read" in capsys.readouterr().err
