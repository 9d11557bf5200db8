"""The import contracts of ``pyproject.toml``: they see every module, and each breaks where it should."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tooling.workspace import ROOT, portions

pytestmark = pytest.mark.slow

PACKAGES = {portion.module: portion for portion in portions()}


def test_every_module_is_seen() -> None:
    roots = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    graph = grimp.build_graph(*roots, cache_dir=None)
    files = {
        ".".join(path.relative_to(portion.source).with_suffix("").parts).removesuffix(".__init__")
        for portion in PACKAGES.values()
        for path in portion.source.rglob("*.py")
    }
    assert graph.modules == files


@pytest.mark.parametrize("module", PACKAGES)
def test_what_is_imported_is_declared(module: str) -> None:
    metadata = PACKAGES[module].metadata
    extras = metadata.get("optional-dependencies", {}).values()
    # NumPy and SciPy come with JAX
    with_jax = [line for line in requires("jax") or () if "extra" not in line]
    lines = [PACKAGES[module].name, *metadata["dependencies"], *(line for extra in extras for line in extra), *with_jax]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    graph = grimp.build_graph(module, include_external_packages=True, cache_dir=None)
    external = {name for name in graph.modules if graph.is_module_squashed(name)} - set(sys.stdlib_module_names)
    shipped = {**packages_distributions(), **{portion.module: [portion.name] for portion in PACKAGES.values()}}
    for name in external:
        shippers = shipped.get(name, [name])  # an extra that is not installed here is known by its own name
        assert declared & {canonicalize_name(shipper) for shipper in shippers}, f"{module} imports {name}"


PLANTED = [
    ("artifex.kernels", "artifex.schedules"),
    ("artifex.schedules", "artifex.samplers"),
    ("artifex.samplers", "artifex.guidance"),
    ("artifex.guidance", "artifex.backbones"),
    ("artifex.backbones", "artifex.samplers"),
    ("artifex.backbones", "artifex.schedules"),
    ("artifex.generative_models", "artifex.training"),
    ("artifex.generative_models", "artifex.pipelines"),
    ("artifex.pipelines", "artifex.training"),
    ("artifex.pipelines", "optax"),
    ("artifex.generative_models", "artifex.command"),
    ("artifex.command", "artifex.pipelines"),
    ("artifex.command", "artifex.samplers"),
    ("artifex.command", "jax"),
    ("artifex.kernels", "flax"),
    ("artifex.schedules", "pydantic"),
    ("artifex.samplers", "flax"),
    ("artifex.guidance", "flax"),
    ("artifex.backbones", "pydantic"),
    ("artifex.generative_models", "optax"),
    ("artifex.generative_models", "matplotlib"),
    ("artifex.backbones", "orbax"),
    ("artifex.generative_models", "grain"),
    ("artifex.samplers", "rich"),
    ("artifex.guidance", "sklearn"),
    ("artifex.kernels", "typer"),
]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter on the workspace at ``root``."""
    sources = [str(root / portion.source.relative_to(ROOT)) for portion in PACKAGES.values()]
    code = "import importlinter.cli as c, sys; sys.exit(c.lint_imports(no_cache=True))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources)}
    return subprocess.run((sys.executable, "-c", code), cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and the root ``pyproject.toml`` elsewhere, to plant imports in."""
    root = tmp_path_factory.mktemp("workspace")
    shutil.copy(ROOT / "pyproject.toml", root)
    for portion in PACKAGES.values():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(portion.source, root / portion.source.relative_to(ROOT), ignore=ignored)
    return root


@pytest.fixture(scope="module")
def broken(copy: Path) -> str:
    """The report of import-linter on a tree with every import of ``PLANTED`` in a module of its own."""
    for module, imported in PLANTED:
        name = f"planted_{imported.replace('.', '_')}.py"
        (copy / PACKAGES[module].package.relative_to(ROOT) / name).write_text(f"import {imported}\n")
    folder = copy / PACKAGES["artifex.schedules"].package.relative_to(ROOT)
    (folder / "planted_one.py").write_text("import artifex.schedules.planted_other\n")
    (folder / "planted_other.py").write_text("import artifex.schedules.planted_one\n")
    result = lint(copy)
    assert result.returncode != 0
    return result.stdout


@pytest.mark.parametrize(("module", "imported"), PLANTED)
def test_a_planted_import_breaks_its_contract(broken: str, module: str, imported: str) -> None:
    assert f"{module}.planted_{imported.replace('.', '_')} -> {imported} " in broken


def test_a_planted_circle_breaks_its_contract(broken: str) -> None:
    assert "No modules import each other in a circle, and no folders BROKEN" in broken
    assert "planted_one" in broken
    assert "planted_other" in broken


def test_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
