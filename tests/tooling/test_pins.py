"""The pins: where they stand, how they are rewritten, and what holds of them now."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tooling.pins import read_pins, write_pins
from tooling.workspace import ROOT, portions

TEXT = """# a comment
[tool.uv]
package = false
constraint-dependencies = [
    "old==1",
]

[tool.other]
list = [
    "kept",
]
"""


def test_pins_are_replaced_and_nothing_else() -> None:
    pins = ("jax==0.10.2 ; python_full_version < '3.12'", "numpy==2.4")
    text = write_pins(TEXT, pins)
    assert read_pins(text) == pins
    assert read_pins(write_pins(text, ())) == ()
    assert write_pins(write_pins(text, ()), pins) == text
    assert write_pins(text, ["old==1"]) == TEXT


@pytest.mark.parametrize("text", ["[tool.uv]\n", TEXT + TEXT])
def test_without_exactly_one_list_nothing_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="expected one list constraint-dependencies"):
        write_pins(text, ())


def test_every_declared_dependency_is_pinned_to_one_version() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    pins = [Requirement(pin) for pin in read_pins(text)]
    assert all([specifier.operator for specifier in pin.specifier] == ["=="] for pin in pins)
    groups = tomllib.loads(text)["dependency-groups"].values()
    members = portions()
    declared = {
        Requirement(line).name
        for lines in (
            *groups,
            *(member.metadata["dependencies"] for member in members),
            *(extra for member in members for extra in member.metadata.get("optional-dependencies", {}).values()),
        )
        for line in lines
    }
    assert declared - {member.name for member in members} <= {pin.name for pin in pins}


@pytest.mark.parametrize(("python", "jax"), [("3.11.7", "0.10."), ("3.12.0", "0.12."), ("3.14.1", "0.12.")])
def test_each_python_has_one_jax(python: str, jax: str) -> None:
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    pins = [Requirement(pin) for pin in read_pins((ROOT / "pyproject.toml").read_text())]
    chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    versions = {pin.name: str(pin.specifier) for pin in chosen}
    assert len(chosen) == len(versions)
    assert versions["jax"].startswith(f"=={jax}")
    assert versions["jaxlib"] == versions["jax"]
