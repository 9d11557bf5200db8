"""The checker of language finds banned openings, words and names where they are prose, and leaves code alone."""

import pytest

from tooling.prose import markdown, python


@pytest.mark.parametrize(
    ("source", "line", "complaint"),
    [
        ('"""What a thing does."""', 1, "a docstring opens with 'What'"),
        ('def f():\n    r"""\n    How it works.\n    """', 2, "a docstring opens with 'How'"),
        ('"""A mesh.\n\nIt is told the devices."""', 3, "'told'"),
        ("x = 1  # the caller knows\n", 1, "'knows'"),
        ("told = 1", 1, "the name 'told'"),
        ("def f(place: int) -> None: ...", 1, "the name 'place'"),
    ],
)
def test_each_complaint_names_its_line(source: str, line: int, complaint: str) -> None:
    ((number, message),) = python(source)
    assert (number, message.split(":")[0]) == (line, complaint)


def test_code_and_ordinary_words_pass() -> None:
    assert not list(python('"""A table of ``told`` values, whatever they are."""\nx.said = told\ny = "she said"'))
    assert not list(markdown("Use `said`.\n\n```python\nsaid = 1  # it says\n```\n\n    says\n"))


def test_pages_keep_their_line_numbers() -> None:
    ((number, _),) = markdown("```\na\nb\n```\n\nIt asks for more.")
    assert number == 6
