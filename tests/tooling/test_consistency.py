"""Each complaint of ``tooling.consistency`` is raised by a tree that deserves it, and none by this one."""

import subprocess
from pathlib import Path

import pytest

from tooling import consistency
from tooling.workspace import ROOT

PROJECT = """
[project]
name = "artifex-{name}"
version = "{version}"
dependencies = [{requires}]
[tool.uv.build-backend]
module-name = "artifex.{name}"
"""


def member(root: Path, name: str, version: str = "1.2.0", requires: str = "") -> Path:
    """Writes a member of a workspace and returns the folder of its import package."""
    package = root / "packages" / name / "src" / "artifex" / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "py.typed").touch()
    (root / "packages" / name / "pyproject.toml").write_text(
        PROJECT.format(name=name, version=version, requires=requires)
    )
    return package


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    member(tmp_path, "a")
    return tmp_path


def test_this_workspace_is_consistent() -> None:
    assert [*consistency.versions(), *consistency.namespace(), *consistency.leaks(consistency.committable())] == []


def test_sound_workspace(root: Path) -> None:
    member(root, "b", requires='"artifex-a==1.2.0", "jax>=0.10"')
    assert list(consistency.versions(root)) == []
    assert list(consistency.namespace(root)) == []


def test_another_version(root: Path) -> None:
    member(root, "b", version="1.3.0")
    assert list(consistency.versions(root)) == ["artifex-b: version 1.3.0, artifex-a has 1.2.0"]


@pytest.mark.parametrize("requires", ["artifex-a", "artifex-a>=1.2.0", "artifex-a==1.1.0", "artifex-a[extra]==1.1.0"])
def test_sibling_not_pinned_to_the_version(root: Path, requires: str) -> None:
    member(root, "b", requires=f'"{requires}"')
    assert list(consistency.versions(root)) == [f"artifex-b: requires {requires}, expected artifex-a==1.2.0"]


@pytest.mark.parametrize("name", ["__init__.py", "__init__.pyi"])
def test_stray_init(root: Path, name: str) -> None:
    (root / "packages" / "a" / "src" / "artifex" / name).touch()
    (complaint,) = consistency.namespace(root)
    assert complaint.startswith(f"packages/a/src/artifex/{name}: breaks the sibling packages")


def test_no_py_typed(root: Path) -> None:
    (member(root, "b") / "py.typed").unlink()
    (complaint,) = consistency.namespace(root)
    assert complaint.startswith("packages/b/src/artifex/b: no py.typed")


def test_folder_that_is_no_package(root: Path) -> None:
    nested = member(root, "b") / "nested"
    nested.mkdir()
    (nested / "module.py").touch()
    (complaint,) = consistency.namespace(root)
    assert complaint.startswith("packages/b/src/artifex/b/nested: no __init__.py")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("index = 'https://" + "pypi" + ".org/simple'", "a registry's host"),
        ("from files." + "python" + "hosted.org", "a registry's host"),
        ("cd /" + "home/someone", "an absolute path of one machine"),
        ("/" + "root/.cache", "an absolute path of one machine"),
        ("(/" + "Users/x/y)", "an absolute path of one machine"),
    ],
)
def test_leak(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "notes.md").write_text(f"first\n{text}\n")
    assert list(consistency.leaks([Path("notes.md")], tmp_path)) == [f"notes.md:2: mentions {what}"]


@pytest.mark.parametrize("text", ["a/root/b", "https://example.org/root/x", "/rooted/", "workspace", "src/work/x"])
def test_no_leak(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.md").write_text(text)
    assert list(consistency.leaks([Path("notes.md")], tmp_path)) == []


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "pylock.dev.toml"])
def test_lock_file(tmp_path: Path, name: str) -> None:
    assert list(consistency.leaks([Path(name)], tmp_path)) == [f"{name}: a lock file; the pins are in pyproject.toml"]


def test_binary_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe /" + b"root/")
    assert list(consistency.leaks([Path("picture.png")], tmp_path)) == []


def test_committable_takes_new_files_and_leaves_ignored_and_deleted_ones(tmp_path: Path) -> None:
    for name in ("kept.txt", "gone.txt", "ignored.txt", "new.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    subprocess.run(("git", "add", "kept.txt", "gone.txt"), cwd=tmp_path, check=True)
    (tmp_path / "gone.txt").unlink()
    assert [str(path) for path in consistency.committable(tmp_path)] == [".gitignore", "kept.txt", "new.txt"]
    assert Path("pyproject.toml") in consistency.committable(ROOT)
