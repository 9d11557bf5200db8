"""The folder of the results."""

from pathlib import Path

import pytest

from artifex.command import CommandError
from artifex.command.folder import check_results, make_writable


def test_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("old")
    (tmp_path / "folder").mkdir()
    check_results(tmp_path, ("a.png", "b.png"), ("folder", "new"))
    check_results(tmp_path / "new" / "deep", ("a.png",), ("folder",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "folder"]


def test_things_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandError, match=r"--out must be a folder, got .*file, a file$"):
        check_results(tmp_path / "file", (), ())
    with pytest.raises(CommandError, match=r"--out must be a folder, got .*file/a, inside a file: .*file$"):
        check_results(tmp_path / "file" / "a", (), ())
    with pytest.raises(CommandError, match=r"folder must be a file that can be replaced, got a folder$"):
        check_results(tmp_path, ("folder",), ())
    with pytest.raises(CommandError, match=r"file must be a folder, got a file$"):
        check_results(tmp_path, (), ("file",))


def test_a_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    make_writable(tmp_path / "a" / "b")
    make_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_created_folders_are_removed_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "kept").mkdir()
    monkeypatch.setattr("artifex.command.folder.tempfile.TemporaryFile", refuse)
    with pytest.raises(CommandError, match=r"--out must be a folder that can be written to, got .*: no space left"):
        make_writable(tmp_path / "kept" / "a" / "b")
    assert not list((tmp_path / "kept").iterdir())
