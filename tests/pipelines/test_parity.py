"""Pipelines against diffusers' at small random weights: the final latents, and the pictures.

Both begin in the same noise. diffusers scales pure noise by ``init_noise_sigma``, in its schedulers' own coordinates:
there the state is given. Elsewhere the noise that is added to data is replaced.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.pipelines import Pipeline, load_pipeline, walk
from artifex.samplers import DDPM, Sampler, Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray
from tests.pipelines.helpers.cases import CASES, PROMPT, Case
from tests.pipelines.helpers.folders import write_folder
from tests.pipelines.helpers.weights import mask, noise, picture

RESULTS: Final = Path(__file__).parent / "golden" / "results.npz"
LATENTS: Final = 1e-4
"""Of the largest latent: float32 through up to 20 steps of a guided network."""


@dataclass(frozen=True)
class Quiet:
    """A sampler without the noise that it draws."""

    sampler: Sampler

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """The table without noise."""
        found = self.sampler.tableau(schedule, times)
        return replace(found, noise=0 * found.noise)


@cache
def results() -> dict[str, np.ndarray]:
    return dict(np.load(RESULTS))


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Pipeline]:
    """Pipelines by folder and scheduler, each read once; those of a folder share what encodes and decodes, compiled."""
    first: dict[str, Pipeline] = {}

    @cache
    def read(folder: str, scheduler: str) -> Pipeline:
        pipe = load_pipeline(write_folder(tmp_path_factory.mktemp("folder"), folder, scheduler))
        shared = first.setdefault(folder, pipe)
        for name in {"space", "encoder", "encoders"} & set(vars(pipe)):
            setattr(pipe, name, getattr(shared, name))
        return pipe

    return read


def noisy(tableau: Tableau[Any], x0: Any, _key: Any) -> Any:  # noqa: ANN401
    """``start_from`` with given noise."""
    alpha, sigma = (jnp.asarray(v[0], jnp.float32) for v in (tableau.level.alpha, tableau.level.sigma))
    return alpha * x0 + sigma * noise(x0.shape)


def options(case: Case, pipe: Pipeline) -> tuple[Any, dict[str, Any]]:
    """The prompt and the options of a call."""
    out = dict(case.options)
    prompt = out.pop("cls", None) if case.folder in ("ddpm", "dit") else PROMPT
    size = out.get("size") or out.get("image") or pipe.size(pipe.settings({}), None)
    if not 0 < out.get("strength", 1) < 1:
        height, width = (side // pipe.space.factor for side in size)
        out["latents"] = results()[f"{case.name}/scale"] * noise((1, height, width, pipe.space.channels))
    if "image" in out:
        out["image"] = picture(*out["image"])
    if "mask" in out:
        out["mask"] = mask(*out["mask"])
    if case.scheduler == "ddpm-pixels":
        out["sampler"] = Quiet(DDPM())
    return prompt, out


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_agrees(case: Case, pipelines: Callable[[str, str], Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "start_from", noisy)
    pipe = pipelines(case.folder, case.scheduler)
    prompt, given = options(case, pipe)
    expected = results()[f"{case.name}/latents"]
    latents = np.asarray(pipe.latents(prompt, **given))
    assert latents.shape == expected.shape
    assert np.abs(latents - expected).max() <= LATENTS * np.abs(expected).max()
    if f"{case.name}/picture" in results():
        drawn = np.asarray(pipe(prompt, **given)[0], np.int32)
        assert np.abs(drawn - results()[f"{case.name}/picture"]).max() <= 1
