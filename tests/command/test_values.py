"""Parsers of option values."""

import re
from pathlib import Path

import pytest

from artifex.command import CommandError
from artifex.command.values import number, path, whole_number, whole_numbers


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("10", 10), (" 7 ", 7), ("1_0", 10), ("+3", 3)])
def test_whole_numbers_in_the_range(text: str, value: int) -> None:
    assert whole_number("--n", 1, 10)(text) == value


@pytest.mark.parametrize("text", ["0", "11", "2.0", "1e1", "", "many", "0x1"])
def test_other_texts_are_no_whole_number(text: str) -> None:
    message = f"--n must be a whole number in [1, 10], got {text!r}"
    with pytest.raises(CommandError, match=f"^{re.escape(message)}$") as caught:
        whole_number("--n", 1, 10)(text)
    assert caught.value.code == 2


@pytest.mark.parametrize(("text", "value"), [("-1", -1.0), ("0.25", 0.25), ("1e-3", 0.001), ("2", 2.0)])
def test_numbers_in_the_range(text: str, value: float) -> None:
    assert number("--w", -1, 2)(text) == value


@pytest.mark.parametrize("text", ["-1.1", "2.01", "nan", "inf", "", "one"])
def test_other_texts_are_no_number(text: str) -> None:
    with pytest.raises(CommandError, match=re.escape(f"--w must be a number in [-1, 2], got {text!r}")):
        number("--w", -1, 2)(text)


def test_paths_expand_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    parse = path("--out")
    assert parse("~/a") == tmp_path / "a"
    assert parse(Path("b/c")) == Path("b/c")


def test_an_empty_path_and_an_unknown_home() -> None:
    with pytest.raises(CommandError, match=r"^--out must be a file, got ''$"):
        path("--out", "file")("")
    with pytest.raises(CommandError, match=r"^--out: ~nobody-here/a begins with an unknown home folder$"):
        path("--out")("~nobody-here/a")


@pytest.mark.parametrize(
    ("text", "values"), [("3", [3]), ("0,3,5-7", [0, 3, 5, 6, 7]), (" 1 , 2", [1, 2]), ("4-4", [4]), ("5-3", [])]
)
def test_lists_of_whole_numbers(text: str, values: list[int]) -> None:
    assert whole_numbers("--labels", text, 9) == values


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "1-", "10", "1-10", "1.5"])
def test_other_texts_are_no_list(text: str) -> None:
    message = f"--labels must be whole numbers in [0, 9] such as 0,3,5-7, got {text!r}"
    with pytest.raises(CommandError, match=re.escape(message)):
        whole_numbers("--labels", text, 9)
