"""The table of the documented API against the code, and against the tests."""

import ast
import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import EllipsisType
from typing import Any, NotRequired, TypedDict, Unpack, get_args, get_origin

import pytest
from flax import nnx

from artifex.generative_models.models import diffusion

HERE = Path(__file__).parent
ROOT = "artifex.generative_models"
VARIABLE = inspect.Parameter.VAR_KEYWORD


class Item(TypedDict):
    name: str
    tests: list[str]
    documented: NotRequired[str]
    beyond: NotRequired[list[str]]
    also_by_place: NotRequired[list[str]]


def items() -> list[Item]:
    out: list[Item] = tomllib.loads((HERE / "items.toml").read_text())["item"]
    return out


ITEMS = items()
SIGNED = [item for item in ITEMS if "documented" in item]
OBJECTS = [item for item in ITEMS if not item["name"].startswith(("ruling:", "example:"))]


def documented(signature: str) -> inspect.Signature:
    """Parse a signature such as ``(x, *, rngs=None, **kwargs)``."""
    function = ast.parse(f"def f{signature}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments, kinds = function.args, inspect.Parameter
    plain = len(arguments.args) - len(arguments.defaults)
    defaults = [None] * plain + list(arguments.defaults)
    parameters = []
    for given, default, kind in [
        *((a, d, kinds.POSITIONAL_OR_KEYWORD) for a, d in zip(arguments.args, defaults, strict=True)),
        *((a, d, kinds.KEYWORD_ONLY) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)),
    ]:
        value = inspect.Parameter.empty if default is None else ast.literal_eval(default)
        parameters.append(inspect.Parameter(given.arg, kind, default=value))
    if arguments.kwarg is not None:
        parameters.append(inspect.Parameter(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def found(name: str) -> Any:  # noqa: ANN401 -- whatever the table names
    """The object called ``name``; ``<class>.parameters`` is the class's parameter type."""
    parts = (name if name.startswith("core.") else f"models.diffusion.{name}").split(".")
    count = 2 if parts[0] == "core" else 3
    out: Any = import_module(".".join([ROOT, *parts[:count]]))
    for part in parts[count:]:
        out = getattr(out, "parameters_type" if part == "parameters" else part)
    return out


def actual(name: str) -> inspect.Signature:
    """The signature of the object called ``name``, without ``self`` and with known keywords in place of **kwargs."""
    target = found(name)
    module = isinstance(target, type) and issubclass(target, nnx.Module)
    parameters = []
    for parameter in inspect.signature(target.__init__ if module else target).parameters.values():
        options = get_args(parameter.annotation)
        if parameter.kind is VARIABLE and get_origin(parameter.annotation) is Unpack:
            parameters += [
                inspect.Parameter(o, inspect.Parameter.KEYWORD_ONLY, default=None) for o in options[0].__annotations__
            ]
        elif parameter.name != "self":
            parameters.append(parameter)
    return inspect.Signature(parameters)


@pytest.mark.parametrize("item", SIGNED, ids=lambda item: item["name"])
def test_signature_is_the_documented_one(item: Item) -> None:
    """Every documented call is valid and equivalent; additions of the code are in the table too."""
    want, have = documented(item["documented"]), actual(item["name"])
    beyond = set(item.get("beyond", []))
    names = [p.name for p in want.parameters.values() if p.kind is not VARIABLE]
    also = item.get("also_by_place", [])
    by_place = [n for n in names if want.parameters[n].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD or n in also]
    assert [p.name for p in have.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD] == by_place
    for name in names:
        assert name in have.parameters, f"{name} is missing"
        mine, theirs = have.parameters[name], want.parameters[name]
        assert mine.kind is theirs.kind or name in also, name
        if isinstance(theirs.default, EllipsisType):
            assert mine.default is not inspect.Parameter.empty, name
        else:
            assert (type(mine.default), mine.default) == (type(theirs.default), theirs.default), name
    extra = {p.name: p for p in have.parameters.values() if p.name not in names and p.kind is not VARIABLE}
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not p.empty for p in extra.values())
    any_wanted, any_had = (any(p.kind is VARIABLE for p in s.parameters.values()) for s in (want, have))
    assert set(extra) == beyond
    assert not any_had or any_wanted
    assert any_had or bool(extra) or not any_wanted


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: item["name"])
def test_every_item_is_there(item: Item) -> None:
    """Every item exists at its documented path, and in the package of the diffusion modules."""
    target = found(item["name"])
    parts = item["name"].split(".")
    if len(parts) == 2 or parts[-1] == "ModelConfig":
        assert getattr(diffusion, parts[-1]) is target
        assert parts[-1] in diffusion.__all__


def defined() -> Iterator[str]:
    """Every test of this folder, as ``<file>.<function>``."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{path.stem.removeprefix('test_')}.{node.name}"


def test_every_item_has_a_test_and_every_test_an_item() -> None:
    own = {f"items.{node}" for node in globals() if node.startswith("test_")}
    named = {test for item in ITEMS for test in item["tests"]}
    there = set(defined()) - own
    covered = {test.split(".")[0] for test in named}
    assert [item["name"] for item in ITEMS if not item["tests"]] == []
    assert named - there == set(), "named in the table, but no test"
    assert {test for test in there - named if test.split(".")[0] in covered} == set(), "no item of the table names them"
    names = [item["name"] for item in ITEMS]
    assert sorted(names) == sorted(set(names)), "an item stands twice"
