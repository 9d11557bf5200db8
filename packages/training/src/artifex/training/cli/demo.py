"""``artifex demo``: train on real digits, draw new ones, and measure their quality."""

import json
import platform
import shlex
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key

from artifex.command import CommandError, as_command_error
from artifex.command.folder import check_results, make_writable
from artifex.guidance import ClassifierFree
from artifex.samplers import DDIM, prior, sample_trajectory
from artifex.schedules import Clipped, grid
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.cli.progress import Bar
from artifex.training.config.run import RunConfig, TrainingConfig
from artifex.training.config.yaml import ConfigError, validated
from artifex.training.data import Digits, Images, LabeledImages, Labels, digits
from artifex.training.errors import CheckpointError
from artifex.training.evaluation.memorization import memorization
from artifex.training.evaluation.recognition import recognize, spread_ratio
from artifex.training.files import replacing
from artifex.training.run.averages import AS_TRAINED
from artifex.training.run.folder import RunFolder
from artifex.training.run.keys import sampling_key
from artifex.training.run.plots import denoising_figure, loss_figure, samples_figure, save
from artifex.training.run.signals import EXIT_CODES, Stop
from artifex.training.run.trained import Trained
from artifex.training.run.trainer import Trainer

CHAIN: Final = 1000
"""Steps of the diffusion chain."""
SAMPLER_STEPS: Final = 50
"""Steps of the sampler."""
EACH: Final = 10
"""Number of images of each class."""
SCALE: Final = 1.5
"""Guidance scale."""
FRAMES: Final = 10
"""Number of frames of the picture of denoising, noise and image included."""
SHOWN: Final = 3
"""The digit in that picture."""
BAR: Final = {"recognized_at_least": 0.97, "spread_ratio_within": [0.7, 1.3], "near_copies_at_most": 0.05}
"""Expected quality of a run of the default steps."""
FILES: Final = ("samples.png", "samples.npz", "denoising.png", "loss.png", "metrics.json")
Frames = Float32[np.ndarray, "frames h w c"]


@as_command_error(CheckpointError)
def run(out: Path, seed: int | None, steps: int | None, resume: bool) -> None:
    """Train, draw and measure in ``out``.

    Raises:
        CommandError: if ``out`` can't be used, there is nothing to resume, or training is interrupted.
    """
    folder = RunFolder(out)
    check_results(out, (*FILES, folder.config.name), (folder.checkpoint.name,))
    if resume:
        seed, steps = _interrupted(out, seed, steps)
    config = make_config(0 if seed is None else seed, TrainingConfig().steps if steps is None else steps)
    make_writable(out)
    try:
        _make_results(out, make_trainer(config, out), resume)
    except KeyboardInterrupt:
        raise CommandError(_how_to_resume(out, config), 130) from None
    except OSError as error:
        raise CommandError(f"{error.filename or out} could not be written: {error.strerror or error}", 1) from error


def make_config(seed: int, steps: int) -> RunConfig:
    """Make the configuration of the demo: the defaults."""
    return RunConfig(data=Digits(), seed=seed, steps=steps)


def make_trainer(config: RunConfig, out: Path) -> Trainer:
    """Make the trainer of the demo."""
    return Trainer(config, out)


def draw(trained: Trained, key: Key[Array, ""]) -> tuple[Images, Labels, Frames, list[str]]:
    """Draw guided samples of every class; return them, their labels, and frames of one of them with captions."""
    objective = trained.objective
    assert objective.num_classes is not None
    labels = np.repeat(np.arange(objective.num_classes, dtype=np.int32), EACH)
    tableau = DDIM().tableau(objective.schedule, grid.trailing(CHAIN, SAMPLER_STEPS))
    guided = ClassifierFree(SCALE, null=jnp.asarray(objective.num_classes))(trained.denoiser, jnp.asarray(labels))
    start = prior(tableau, (len(labels), 8, 8, 1), key)
    states = np.round(np.linspace(0, SAMPLER_STEPS, FRAMES)).astype(int)
    images, kept = sample_trajectory(Clipped(guided), tableau, start, after=[int(i) - 1 for i in states[1:]])
    one = SHOWN * EACH
    frames = np.concatenate([np.asarray(start[one])[None], np.asarray(kept[:, one])])
    sigmas = np.append(tableau.level.sigma, tableau.end.sigma)[states]
    return np.asarray(images), labels, frames, [f"σ = {sigma:.2f}" for sigma in sigmas]


def _make_results(out: Path, trainer: Trainer, resume: bool) -> None:
    data, config = digits(), trainer.config
    done = (RunFolder(out).latest_step() or 0) if resume else 0
    with Bar(config.steps, done, every=config.log.every) as bar:
        with Stop() as stop:
            trained = trainer.fit(resume=resume, callback=bar, stop=stop)
        if stop.signal is not None:
            raise CommandError(_how_to_resume(out, config), EXIT_CODES[stop.signal])
        bar.describe("drawing  ")
        start = time.perf_counter()
        images, labels, frames, captions = draw(trained, sampling_key(config.seed))
        sampling = time.perf_counter() - start
    # Samples first: those of a network that learned nothing may not be measurable.
    with replacing(out / "samples.npz") as file:
        np.savez(file, images=images, labels=labels)
    losses = np.asarray(trained.losses)
    save(samples_figure(images, labels), out / "samples.png")
    save(denoising_figure(frames, captions), out / "denoising.png")
    save(loss_figure(losses), out / "loss.png")
    metrics = _measure(trained, losses, sampling, images, labels, data)
    with replacing(out / "metrics.json") as file:
        file.write((json.dumps(metrics, indent=2) + "\n").encode())
    _report(out, metrics)


def _measure(
    trained: Trained,
    losses: Float[np.ndarray, " steps"],
    sampling: float,
    images: Images,
    labels: Labels,
    data: LabeledImages,
) -> dict[str, Any]:
    """Compute the content of metrics.json."""
    recognition, copies = recognize(images, labels, data), memorization(images, data.images)
    return {
        "recognized": recognition.share,
        "classifier_held_out_accuracy": recognition.held_out,
        "spread_ratio": spread_ratio(images, labels, data),
        "near_copies": copies.share,
        "nearest_neighbor": {
            "threshold": copies.threshold,
            "mean_distance": copies.nearest,
            "mean_distance_between_real": copies.nearest_real,
        },
        "bar": BAR,
        "loss": float(losses[-100:].mean()),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained.state.parameters)),
        "seconds_training": round(trained.seconds, 2),
        "seconds_sampling": round(sampling, 2),
        "seed": trained.config.seed,
        "steps": trained.config.steps,
        "training": trained.config.model_dump(mode="json"),
        "sampling": {
            "sampler": "ddim",
            "steps": SAMPLER_STEPS,
            "guidance_scale": SCALE,
            "seed": trained.config.seed,
            "labels": f"{EACH} of each class",
            "average": AS_TRAINED,
            "images": len(images),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("artifex-training", "flax", "jax", "numpy", "optax", "scikit-learn")},
        },
    }


def _report(out: Path, metrics: dict[str, Any]) -> None:
    """Print a summary: quality, files, and what to do next."""
    other = int(metrics["seed"]) + 1
    print(
        f"{metrics['parameters']:,} parameters learned for {metrics['steps']:,} steps in "
        f"{metrics['seconds_training']:.0f} s, then drew 100 digits in {metrics['seconds_sampling']:.0f} s.\n"
        f"  {metrics['recognized']:.0%} are recognized as the digit asked for, "
        f"by a classifier that is right about {metrics['classifier_held_out_accuracy']:.1%} of unseen real ones\n"
        f"  {metrics['spread_ratio']:.2f} of the real digits' spread within a class\n"
        f"  {metrics['near_copies']:.0%} lie nearer to a training image than all but 1% of those lie to each other\n\n"
        f"{out / 'samples.png'}    the digits, a row for each class; samples.npz has the numbers\n"
        f"{out / 'denoising.png'}  one of them on its way from noise\n"
        f"{out / 'loss.png'}       how the network learned\n"
        f"{out / 'metrics.json'}   all of the above and more\n"
        f"{RunFolder(out).checkpoint}     parameters, their average, and the optimizer\n\n"
        f"Next: open {out / 'samples.png'}, then draw others with\n"
        f"  artifex demo --seed {other} --out {shlex.quote(f'{out}-{other}')}"
    )


def _interrupted(out: Path, seed: int | None, steps: int | None) -> tuple[int, int]:
    """Return seed and steps of the run to resume.

    Raises:
        CommandError: if there is none, or it had others than those given.
    """
    stored, checkpoints = _stored(out), RunFolder(out).checkpoint
    if stored is None:
        raise CommandError(f"--resume expects the checkpoint of an earlier run in {checkpoints}, got none")
    try:
        config = validated(RunConfig, stored)
    except ConfigError:
        config = None
    if config is None or config != make_config(config.seed, config.steps):
        raise CommandError(f"--resume expects a checkpoint of this version's demo, got another in {checkpoints}")
    for name, got, expected in (("--seed", seed, config.seed), ("--steps", steps, config.steps)):
        if got not in (None, expected):
            raise CommandError(f"{name} must be {expected}, as in the run to resume, or left out; got {got}")
    return config.seed, config.steps


def _how_to_resume(out: Path, config: RunConfig) -> str:
    """Describe how to resume an interrupted run."""
    if _stored(out) != config.model_dump(mode="json"):
        return "interrupted before the first checkpoint; nothing was kept"
    return (
        f"interrupted; the checkpoint of step {RunFolder(out).latest_step()} of {config.steps} is saved. "
        f"Continue with: artifex demo --out {shlex.quote(str(out))} --resume"
    )


def _stored(out: Path) -> dict[str, object] | None:
    """Return the configuration of the last checkpoint, None if there is none."""
    with Checkpointer(RunFolder(out).checkpoint, warn=lambda _: None) as checkpointer:
        if checkpointer.latest() is None:
            return None
        stored: dict[str, object] = checkpointer.metadata()["config"]
    return stored
