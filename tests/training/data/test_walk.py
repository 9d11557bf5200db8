"""Content of a folder: links, system files, splits, names of classes."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.training.data import ImageFolder, UnreadableError, open_dataset
from artifex.training.data.folder import ImageFolderSource


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(folder / name, format="PNG")
    return folder


def read(folder: Path, **options: object) -> ImageFolderSource:
    source = open_dataset(ImageFolder.model_validate({"path": folder, **options})).source
    assert isinstance(source, ImageFolderSource)
    return source


def counts(source: ImageFolderSource) -> dict[str, int]:
    assert source.labels is not None
    return dict(zip(source.classes, np.bincount(source.labels).tolist(), strict=True))


@pytest.mark.parametrize("target", ["..", ".", "../..", "../../..", "../cats"])
def test_a_link_to_a_folder_that_is_read_anyway_adds_nothing(tmp_path: Path, target: str) -> None:
    root = images(tmp_path / "in" / "root", "cats/1.png", "cats/2.png", "dogs/3.png")
    images(tmp_path, "in/other/4.png", "5.png")
    (root / "cats" / "loop").symlink_to(target)
    source = read(root)
    assert counts(source) == {"cats": 2, "dogs": 1}
    assert sum(source.left_out.values()) == 1


def test_links_are_followed_once(tmp_path: Path) -> None:
    images(tmp_path, "pool/a.png", "pool/b.png", "pool/deep/c.png", "root/cats/1.png", "root/.store/9.png")
    root = tmp_path / "root"
    for name, target in {
        "dogs": "../pool",  # a class that lies elsewhere
        "cats/again": "../../pool/deep",  # part of it, in another class: read before, by its class
        "cats/2.png": "1.png",  # the same image twice in its class
        "cats/3.png": "../../pool/a.png",  # an image of two classes
        "foxes": ".store",  # a hidden folder by a name that is not hidden
    }.items():
        (root / name).symlink_to(target)
    source = read(root)
    assert source.files == ("cats/1.png", "cats/3.png", "cats/again/c.png", "dogs/a.png", "dogs/b.png", "foxes/9.png")
    assert dict(source.left_out) == {
        "hidden": 1, "links to folders read already": 1, "links to images read already": 1,
    }  # fmt: skip


def test_a_folder_given_by_a_link_is_read(tmp_path: Path) -> None:
    images(tmp_path, "there/cats/1.png", "there/dogs/2.png")
    (tmp_path / "here").symlink_to("there")
    assert counts(read(tmp_path / "here")) == {"cats": 1, "dogs": 1}


def test_broken_links_are_refused_before_training_or_skipped(tmp_path: Path) -> None:
    images(tmp_path, "cats/1.png")
    for name in ("2.png", "3.png"):
        (tmp_path / "cats" / name).symlink_to(f"gone{name}")
    (tmp_path / "cats" / "loop.png").symlink_to("loop.png")
    with pytest.raises(UnreadableError, match=r"cats/2\.png can't be read: the link leads nowhere, as 3 do"):
        read(tmp_path)
    data = open_dataset(ImageFolder(path=tmp_path, corrupt="skip"))
    stream = data.batches(4, seed=0)
    next(stream)
    assert len(stream.skipped) == 3


def test_what_systems_leave_behind_is_left_out_and_counted(tmp_path: Path) -> None:
    images(
        tmp_path, "cats/1.png", "cats/2.PNG", "cats/._1.png", "__MACOSX/cats/1.png", "cats/@eaDir/1.png", ".git/1.png"
    )
    for name in (".DS_Store", "cats/Thumbs.db", "cats/4.heic", "cats/5.HEIC", "cats/README"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "cats" / "pipe.png")
    source = read(tmp_path)
    assert counts(source) == {"cats": 2}
    assert dict(source.left_out) == {
        "hidden": 3, "__MACOSX": 1, "@eaDir": 1, ".db": 1, ".heic": 2, "without an extension": 1,
        "pipes and devices": 1,
    }  # fmt: skip
    with pytest.raises(
        ValueError, match=r"must hold images \(\.gif\), got none but \.db \(1\), \.heic \(2\), \.png \(2\), "
    ):
        read(tmp_path, extensions=[".gif"])


@pytest.mark.parametrize(
    ("folders", "options", "expected"),
    [
        (["train", "test"], {}, "train"),
        (["train", "test"], {"split": "test"}, "test"),
        (["Training", "Validation", "TEST"], {"split": "val"}, "Validation"),
        (["train", "valid", "annotations"], {}, "train"),
        (["test"], {}, "test"),
        (["train"], {}, "train"),
    ],
)
def test_splits_are_no_classes(tmp_path: Path, folders: list[str], options: dict[str, str], expected: str) -> None:
    for i, folder in enumerate(folders):
        images(tmp_path, *(f"{folder}/{name}/{j}.png" for name in ("cats", "dogs") for j in range(i + 1)))
    images(tmp_path, "preview.png")
    data = open_dataset(ImageFolder.model_validate({"path": tmp_path, **options}))
    assert (len(data), data.classes) == (2 * (folders.index(expected) + 1), ("cats", "dogs"))
    assert data.notes[0] == (
        f"split {expected} of {', '.join(sorted(folders))}; data.split chooses; left out: images beside these (1)"
    )


@pytest.mark.parametrize("folders", [["train", "car", "bus"], ["testing", "cats"]])
def test_a_class_may_be_called_like_a_split(tmp_path: Path, folders: list[str]) -> None:
    images(tmp_path, *(f"{folder}/1.png" for folder in folders))
    assert read(tmp_path).classes == tuple(sorted(folders))


def test_splits_are_taken_for_classes_where_that_is_stated(tmp_path: Path) -> None:
    images(tmp_path, "train/1.png", "test/1.png")
    assert read(tmp_path, split="none").classes == ("test", "train")
    assert read(tmp_path).classes == ()


@pytest.mark.parametrize(
    ("folders", "split", "says"),
    [
        (["val", "test"], None, "a folder train where data.split is null, got test, val"),
        (["cats", "dogs"], "train", "one folder train or training where data.split is train, got cats, dogs"),
        (["train", "test"], "val", "where data.split is val, got test, train"),
        (["train", "Training"], None, "one folder train or training where data.split is train, got Training, train"),
    ],
)
def test_a_split_that_is_not_there_once_is_refused(
    tmp_path: Path, folders: list[str], split: str | None, says: str
) -> None:
    images(tmp_path, *(f"{folder}/1.png" for folder in folders))
    with pytest.raises(ValueError, match=re.escape(says)):
        read(tmp_path, split=split)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["10", "9", "1", "2"], ["1", "2", "9", "10"]),
        (["10", "9", "b"], ["10", "9", "b"]),
        (["b", "B2", "a b", "é", "猫"], ["B2", "a b", "b", "é", "猫"]),
        (["02", "1"], ["1", "02"]),
    ],
)
def test_numbers_are_in_their_order_and_other_names_in_that_of_characters(
    tmp_path: Path, folders: list[str], expected: list[str]
) -> None:
    images(tmp_path, *(f"{folder}/1.png" for folder in folders))
    source = read(tmp_path)
    assert list(source.classes) == expected
    for i, name in enumerate(source.files):
        assert expected[source[i][1]] == name.split("/")[0]


def test_names_that_cannot_be_told_apart_or_written_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "a/Cat/1.png", "a/cat/1.png", "b/\u00e9/1.png", "b/e\u0301/1.png")
    for folder in "ab":
        with pytest.raises(ValueError, match="names of classes must differ by more than capitals or the encoding"):
            read(tmp_path / folder)
    assert read(tmp_path / "a", classes=["cat", "Cat"]).classes == ("cat", "Cat")
    images(tmp_path / "c", os.fsdecode(b"\xe9") + "/1.png")
    with pytest.raises(ValueError, match=r"names of classes must be text that can be printed, got '\\udce9'"):
        read(tmp_path / "c")


def test_named_classes_are_read_in_their_order_and_others_left_out(tmp_path: Path) -> None:
    images(tmp_path, "cats/1.png", "dogs/2.png", "dogs/3.png", "foxes/4.png", "e\u0301/5.png")
    source = read(tmp_path, classes=["\u00e9", "dogs", "cats"])
    assert counts(source) == {"\u00e9": 1, "dogs": 2, "cats": 1}
    assert dict(source.left_out) == {"class foxes": 1}
    assert [source[i][1] for i in range(4)] == [2, 1, 1, 0]
    with pytest.raises(ValueError, match=r"birds must hold images as every class, got none; data\.classes names"):
        read(tmp_path, classes=["cats", "birds"])
    with pytest.raises(ValueError, match="classes must be names that differ"):
        read(tmp_path, classes=["cats", "cats"])
    with pytest.raises(ValueError, match="classes must be null where images are flat"):
        read(tmp_path, classes=["cats"], flat=True)


def test_a_class_made_of_folders_is_noticed(tmp_path: Path) -> None:
    images(tmp_path, *(f"archive/{name}/1.png" for name in ("cats", "dogs", "foxes", "owls")))
    data = open_dataset(ImageFolder(path=tmp_path))
    assert data.classes == ("archive",)
    assert data.notes == (
        "one class, archive, of the folders cats, dogs, foxes, ...; if these are the classes, "
        f"set data.path={tmp_path}/archive",
    )
