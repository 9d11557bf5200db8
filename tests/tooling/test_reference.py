"""The reference checker: what counts as an entry, and which names must have one."""

import pytest

from tooling.reference import exports, missing, unlisted
from tooling.workspace import portions


@pytest.mark.parametrize(
    ("anchor", "found"),
    [
        ("artifex.samplers.sample", True),
        ("artifex.samplers.sample.sample", True),
        ("artifex.samplers.DDIM.sample", False),
        ("artifex.samplers.sampled", False),
        ("artifex.kernels.sample", False),
    ],
)
def test_entry(anchor: str, found: bool) -> None:
    assert missing("artifex.samplers", ["sample"], {anchor}) == ([] if found else ["sample"])


def test_the_documented_models_are_public() -> None:
    """Their package lists nothing itself; the package below it that does is found."""
    assert "DDPMModel" in exports("artifex.generative_models")["artifex.generative_models.models.diffusion"]


@pytest.mark.parametrize("module", [portion.module for portion in portions()])
def test_a_name_without_an_entry_is_found(module: str) -> None:
    """For each package: the last of its names is hidden from a site that has all others."""
    public = exports(module)
    names = sorted({name for names in public.values() for name in names})
    site = [f"{module}.{name}" for name in names]
    assert not list(unlisted(module, public, site))
    assert any(names[-1] in complaint for complaint in unlisted(module, public, site[:-1]))


def test_a_package_without_public_names_is_a_fault() -> None:
    assert list(unlisted("artifex.empty", {}, [])) == [
        "artifex.empty: expected an __all__ in it or in a package below it, got none"
    ]
