"""Samples of schedulers read from configs, against those of diffusers 0.42.

The references are from ``tests/parity/make_scheduler_reference.py``, in float64, from the same configs: every class
with each of its options, over 1, 2, 3 and 10 steps, and over all steps of a chain of 20.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.generative_models.interop import read_scheduler
from artifex.generative_models.interop.scheduler.own import KNOWN, OWN
from artifex.schedules import NetworkDenoiser, NoiseLevel
from tests.parity.schedulers import CONFIGS, FIELDS, RUNS, SEQUENCE, START, W, walked

PAGE: Final = (Path(__file__).parents[2] / "docs" / "parity.md").read_text()
EULER: Final = (
    "(EulerDiscrete|EulerAncestralDiscrete|HeunDiscrete|KDPM2Discrete|KDPM2AncestralDiscrete|LMSDiscrete|DPMSolverSDE)"
)
DIFFER: Final = (
    # intended differences: runs as "name/steps", words of the parity page, the largest relative difference
    (r"DDIM(Inverse)?: (as saved|held|clip_sample)", "Clipped data in `DDIMScheduler`", 11),
    (r"DDIMInverse: prediction_type=v_prediction", "`ddim inverse`", 1.6),
    (r"DDIMInverse: set_alpha_to_(one|zero)=False/1$", "A single step without change", 0.02),
    (r"(DDPM|DDIM): timestep_spacing=linspace/1$", "A single step with `linspace`", 19),
    (r"EDM.*: sigma_schedule=exponential.*/1$", "A single step with `linspace`", 100),
    (rf"{EULER}: .*/1$", "A single step with `linspace`", 510),
    (r"DDIM(Inverse)?: .*trailing.*/3$", "`ddim uneven`", 2e-3),
    (r"DDIM: timestep_spacing=linspace", "`ddim linspace`", 1),
    (r"PNDM: timestep_spacing=linspace", "`PNDMScheduler` steps by", 0.12),
    (r"PNDM: every", "`PNDMScheduler` steps by", 7e-4),
    (r"PNDM: prediction_type=v_prediction", "`pndm`", 0.12),
    (r"LCM: ", "`lcm`", 4e-7),
    (r".*: rescale_betas_zero_snr", "`euler zero-snr`", 0.035),
    (rf"{EULER}: num_train_timesteps=40", "`euler linspace`", 1.1e-3),
    (rf"{EULER}: .*/3$", "`euler linspace`", 4e-5),
    (r"DPMSolverMultistep: solver_order=3 algorithm_type=sde-dpmsolver\+\+", "`dpm++ 3m sde`", 0.12),
    (r"DPMSolverSinglestep: solver_order=3 algorithm_type=sde-dpmsolver\+\+ solver_type=heun", "`dpm++ 3m sde`", 1.4),
    (r"DPMSolverSinglestep: every", "All steps of a chain", 6e-4),
)
ROUNDING: Final = 1e-9
UNUSED: Final = {  # constructor fields without effect on the samples
    "noise_sampler_seed": {"DPMSolverSDEScheduler"},
    "num_train_timesteps": {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"},
    "set_alpha_to_one": {"LCMScheduler"},
    "steps_offset": {"LCMScheduler"},
    "timestep_spacing": {"LCMScheduler"},
}
HIDDEN: Final = {  # fields that a class reads without declaring them
    *("sigma_min", "sigma_max", "set_alpha_to_zero"),
    *("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"),
}


def allowed(walk: str) -> tuple[str, float]:
    """The words of the page and the largest difference."""
    for pattern, words, most in DIFFER:
        if re.match(pattern, walk):
            return words, most
    return "", ROUNDING


@cache
def differences(name: str) -> dict[str, float]:
    """Relative ones, of every run that diffusers supports."""
    out = {}
    for steps, (theirs, _) in RUNS[name].items():
        if np.all(np.isfinite(theirs)):
            found = read_scheduler(CONFIGS[name], image_seq_len=SEQUENCE)
            ours = walked(found, found.tableau(steps))
            out[f"{name}/{steps}"] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return out


READABLE: Final = [name for name in CONFIGS if any(np.all(np.isfinite(x)) for x, _ in RUNS[name].values())]


@pytest.mark.slow
@pytest.mark.parametrize("name", READABLE)
def test_samples_are_those_of_diffusers(name: str) -> None:
    assert {walk: off for walk, off in differences(name).items() if not off <= allowed(walk)[1]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", READABLE)
def test_times_are_those_of_diffusers(name: str) -> None:
    """To within one step of the chain: solvers round them, see the page; EDM's network is given ``log(sigma) / 4``."""
    found = read_scheduler(CONFIGS[name], image_seq_len=SEQUENCE)
    for steps, (theirs, times) in RUNS[name].items():
        assert np.all(np.diff(found.times(steps)) < 0)  # as any sampler requires
        if not np.all(np.isfinite(theirs)) or allowed(f"{name}/{steps}")[0].startswith(("A single", "`PNDM", "All")):
            continue
        if "log_linear" in name and "karras" not in name:  # the network gets times of other levels; see the page
            continue
        ours = found.tableau(steps).level.t * found.time_scale
        if "EDM" in name and "v_prediction" not in name:
            ours = np.log(ours) / 4
        if name.startswith("DDIMInverse: set_alpha"):
            times = times[-len(ours) :]  # its first step has no effect
        np.testing.assert_allclose(ours, times, atol=1.01)


@pytest.mark.slow
def test_every_difference_is_there_and_on_the_parity_page() -> None:
    largest: dict[str, float] = {}
    for name in READABLE:
        for walk, off in differences(name).items():
            words, _ = allowed(walk)
            largest[words] = max(largest.get(words, 0.0), off)
    del largest[""]
    assert set(largest) == {words for _, words, _ in DIFFER}
    assert {words: off for words, off in largest.items() if off <= ROUNDING} == {}
    assert [words for words in largest if words not in PAGE] == []


def test_every_scheduler_of_the_parity_page_is_read() -> None:
    rows = set(re.findall(r"^\| `(\w+Scheduler)` \|", PAGE, re.MULTILINE))
    assert len(rows) == 20
    assert rows == set(OWN) == set(FIELDS)
    assert {config["_class_name"] for config in CONFIGS.values()} == rows


def test_every_field_of_a_constructor_is_read_or_known_to_do_nothing() -> None:
    for kind, fields in FIELDS.items():
        theirs = set(fields) - {"self", "kwargs"}
        assert theirs <= KNOWN
        assert theirs - OWN[kind] == {field for field, kinds in UNUSED.items() if kind in kinds}
        assert OWN[kind] - theirs <= HIDDEN


def _network(w: Array, x: Float[Array, "b d"], t: Float[Array, " b"], cond: None) -> Float[Array, "b d"]:
    return jnp.tanh(x @ w)


@pytest.mark.parametrize("kind", OWN)
def test_what_is_absent_is_as_diffusers_saves_it(kind: str) -> None:
    """Its saved configs have every field at its default."""
    saved = read_scheduler(CONFIGS[f"{kind.removesuffix('Scheduler')}: as saved"])
    absent = read_scheduler({"_class_name": kind})
    assert replace(absent, grid=saved.grid) == saved
    for steps in (1, 7):
        np.testing.assert_array_equal(absent.grid(steps), saved.grid(steps))


@pytest.mark.slow
def test_bounds_of_the_data_are_those_that_were_compared() -> None:
    """``bounded`` in float32 agrees with the float64 arithmetic of the comparison."""
    for option in ("held", "clip_sample=True clip_sample_range=0.7"):
        found = read_scheduler(CONFIGS[f"DDPM: {option}"])
        level = found.schedule.at(np.full(2, 600.0))
        network = NetworkDenoiser(_network, found.prediction, jnp.asarray(W, jnp.float32))
        reached = NoiseLevel(*(jnp.asarray(x, jnp.float32) for x in (level.t, level.alpha, level.sigma)))
        with jax.default_matmul_precision("highest"):
            ours = np.asarray(found.bounded(network)(jnp.asarray(START, jnp.float32), reached))
        x0 = (START - level.sigma[0] * np.tanh(START @ W)) / level.alpha[0]
        reach = np.clip(np.quantile(np.abs(x0), 0.8, axis=1, keepdims=True), 1.0, 1.5)
        want = np.clip(x0, -reach, reach) / reach if option == "held" else np.clip(x0, -0.7, 0.7)
        np.testing.assert_allclose(ours, want, atol=2e-6)
