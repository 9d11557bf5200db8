"""Small folders of pipelines, written once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from artifex.pipelines import Pipeline, StableDiffusion, load_pipeline
from tests.pipelines.helpers.folders import write_folder

Folders = Callable[[str], Path]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of a name in ``FOLDERS``."""
    return cache(lambda name: write_folder(tmp_path_factory.mktemp("folder"), name))


@pytest.fixture(scope="session")
def read(folders: Folders) -> Callable[[str], Pipeline]:
    """The pipeline of a name in ``FOLDERS``, shared by tests that don't change it."""
    return cache(lambda name: load_pipeline(folders(name)))


@pytest.fixture(scope="session")
def stable(read: Callable[[str], Pipeline]) -> StableDiffusion:
    """Stable Diffusion."""
    found = read("sd")
    assert isinstance(found, StableDiffusion)
    return found
