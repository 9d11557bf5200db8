"""Every row of the page *Coming from diffusers* is executed, and computes what diffusers computes."""

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import artifex.backbones as backbones
from artifex import samplers, schedules, training
from artifex.backbones.interop import diffusers, transformers
from artifex.generative_models.interop import read_scheduler
from artifex.guidance import CFGRescale, ClassifierFree
from artifex.schedules import Discrete, Epsilon, NoiseLevel, betas, weighting
from tooling.workspace import ROOT

pytestmark = pytest.mark.slow

PAGE: Final = (ROOT / "docs" / "coming-from-diffusers.md").read_text()
STEPS, COUNT = 1000, 10


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of the table below a heading, without code marks."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [tuple(re.sub(r"`", "", cell).strip() for cell in line.strip("|").split(" | ")) for line in lines]


def config(call: str) -> dict[str, object]:
    """The scheduler config of a constructor's call."""
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    return {"_class_name": node.func.id} | {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}


def denoiser(x_t: jax.Array, level: NoiseLevel[jax.Array]) -> jax.Array:
    return x_t


@pytest.mark.parametrize(("call", "part", "ours"), rows("Schedulers and their options"))
def test_scheduler_options(call: str, part: str, ours: str) -> None:
    found = read_scheduler(config(call))
    names = {**vars(samplers), **vars(schedules), "np": np, "n": STEPS, "k": COUNT}
    expected = eval(ours, names | {"schedule": found.schedule, "denoiser": denoiser})
    match part:
        case "sampler" | "prediction":
            assert getattr(found, part) == expected
        case "schedule":
            times = found.times(COUNT)[:-1]
            np.testing.assert_allclose(found.schedule.at(times).alpha, expected.at(times).alpha, rtol=1e-12)
            np.testing.assert_allclose(found.schedule.at(times).sigma, expected.at(times).sigma, rtol=1e-12)
        case "times":
            np.testing.assert_allclose(found.times(COUNT), expected, rtol=1e-12)
        case "denoiser":
            assert found.bounded(denoiser) == expected
        case _:
            raise AssertionError(f"part must be that of a scheduler, got {part!r}")


def test_every_scheduler_of_the_parity_page_is_here() -> None:
    parity = set(re.findall(r"^\| `(\w+Scheduler)`", (ROOT / "docs" / "parity.md").read_text(), re.MULTILINE))
    here = {call.split("(")[0] for call, _, _ in rows("Schedulers and their options")}
    elsewhere = {"DPMSolverSinglestepScheduler", "EDMDPMSolverMultistepScheduler"}
    assert parity - here == elsewhere


def test_every_network_that_is_read_is_here() -> None:
    expected = {
        conversion.class_name: conversion.network.__name__
        for conversion in (*diffusers.CONVERSIONS, *transformers.CONVERSIONS)
    }
    assert sorted(rows("Networks")) == sorted(expected.items())
    assert all(hasattr(backbones, ours) for ours in expected.values())


SCHEDULE: Final = Discrete(betas.linear(STEPS))
ABAR: Final = np.cumprod(1 - np.linspace(1e-4, 0.02, STEPS))
T: Final = np.array([0, 400, 999])
X0, NOISE, OUT, MEAN, NEGATIVE = np.random.default_rng(0).normal(size=(5, 3, 4, 4, 1)).astype(np.float32)
ALPHA, SIGMA = (np.sqrt(v)[T].reshape(-1, 1, 1, 1).astype(np.float32) for v in (ABAR, 1 - ABAR))
SNR: Final = (ABAR / (1 - ABAR))[T]
GUIDED: Final = NEGATIVE + 3.0 * (MEAN - NEGATIVE)
MASK: Final = (NOISE > 0).astype(np.float32)


def known(x_t: jax.Array, level: NoiseLevel[jax.Array], cond: jax.Array | None) -> jax.Array:
    """A conditional denoiser whose two answers are given: the condition itself."""
    assert cond is not None
    return cond


def rescaled() -> np.ndarray:
    """Lin et al. 2023, equations 15 and 16."""
    axes = (1, 2, 3)
    factor = MEAN.std(axes, keepdims=True) / GUIDED.std(axes, keepdims=True)
    out: np.ndarray = 0.7 * GUIDED * factor + 0.3 * GUIDED
    return out


def close(expected: np.ndarray) -> Callable[[Any], None]:
    return lambda got: np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def denoises(expected: np.ndarray) -> Callable[[Any], None]:
    return lambda got: close(expected)(got(X_T, LEVEL))


LEVEL: Final = SCHEDULE.at(jnp.asarray(T))
X_T: Final = jnp.asarray(ALPHA * X0 + SIGMA * NOISE)
NAMES: Final[Mapping[str, object]] = {
    **vars(samplers),
    **vars(schedules),
    "EMA": training.EMA,
    "ClassifierFree": ClassifierFree,
    "CFGRescale": CFGRescale,
    "jnp": jnp,
    "optax": optax,
    "schedule": SCHEDULE,
    "prediction": schedules.X0(),
    "x0": jnp.asarray(X0),
    "noise": jnp.asarray(NOISE),
    "out": jnp.asarray(NOISE),
    "x_t": X_T,
    "t": jnp.asarray(T),
    "snr_gamma": 5.0,
    "guidance_scale": 3.0,
    "guidance_rescale": 0.7,
    "negative": jnp.asarray(NEGATIVE),
    "prompt": jnp.asarray(MEAN),
    "image": jnp.asarray(X0),
    "mask": jnp.asarray(MASK),
    "denoiser": known,
    "times": np.linspace(999, 0, COUNT + 1),
    "strength": 0.6,
    "lr": 1e-3,
    "warmup": 100,
    "steps": 1000,
}


def weighs(got: weighting.Weighting) -> None:
    close(np.minimum(SNR, 5) / SNR)(weighting.weight(got, Epsilon(), LEVEL))


def rescales(got: CFGRescale) -> None:
    close(rescaled())(got.combine(jnp.asarray(MEAN), jnp.asarray(NEGATIVE), X_T, LEVEL))


def decays(got: training.EMA) -> None:
    for update in (2, 10, 10**7):
        assert np.isclose(got.decay_at(update), min(0.9999, update / (9 + update)), rtol=1e-6)


def warms_up_and_falls(got: optax.Schedule) -> None:
    expected = [1e-3 * 50 / 100, 1e-3, 1e-3 * 0.5 * (1 + np.cos(np.pi * 400 / 900)), 0]
    close(np.array(expected))(np.array([got(k) for k in (50, 100, 500, 1000)]))


CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "scheduler.add_noise(x0, noise, t)": close(ALPHA * X0 + SIGMA * NOISE),
    "scheduler.get_velocity(x0, noise, t)": close(ALPHA * NOISE - SIGMA * X0),
    "scheduler.step(out, t, x_t).pred_original_sample": lambda got: np.testing.assert_allclose(
        got, X0, atol=2.0**-20 / float(ALPHA.min())
    ),
    "compute_snr(scheduler, t)": lambda got: np.testing.assert_allclose(got, SNR, rtol=1e-4),
    "min(snr, snr_gamma) / snr * mse(out, noise)": weighs,
    "uncond + guidance_scale * (text - uncond)": denoises(GUIDED),
    "rescale_noise_cfg(guided, text, guidance_rescale)": rescales,
    "timesteps[k - int(k * strength) :]": lambda got: np.testing.assert_array_equal(
        got[:-1], np.linspace(999, 0, COUNT + 1)[:-1][COUNT - int(COUNT * 0.6) :]
    ),
    "mask of an inpainting pipeline": denoises(MASK * np.asarray(X_T) + (1 - MASK) * X0),
    "EMAModel(parameters, decay=0.9999)": decays,
    'get_scheduler("cosine", optimizer, warmup, steps)': warms_up_and_falls,
}


@pytest.mark.parametrize(("theirs", "ours"), rows("Training and sampling code"))
def test_code(theirs: str, ours: str) -> None:
    names = {**NAMES, "denoiser": denoiser} if "mask" in theirs else {**NAMES}
    CHECKS[theirs](eval(ours, names))


def test_every_check_has_its_row() -> None:
    assert {theirs for theirs, _ in rows("Training and sampling code")} == set(CHECKS)
