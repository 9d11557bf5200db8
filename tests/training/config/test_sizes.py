"""The default size of a network depends on its data, and a network that does not fit into memory is refused."""

import dataclasses
import os
from pathlib import Path
from typing import Any, get_args

import jax
import pytest
from flax import nnx

from artifex.command.app import main
from artifex.training import BackboneConfig, ConfigError, Trainer, parse_config
from artifex.training.config.backbones import KINDS
from artifex.training.config.sizes import patch_of, sized_fields
from artifex.training.run import memory
from artifex.training.run.memory import Memory, memory_limit

MILLION = 1_000_000


def counted(kind: str, shape: tuple[int, ...], labels: int | None) -> int:
    made = BackboneConfig.model_validate({"kind": kind}).build(shape, labels, "float32").abstract()
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(made, nnx.Param)))


def test_every_kind_is_in_the_table() -> None:
    assert set(KINDS) == set(get_args(BackboneConfig.model_fields["kind"].annotation))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [10, None])
def test_the_digits_have_a_small_network(kind: str, labels: int | None) -> None:
    assert 100_000 < counted(kind, (2,) if kind == "mlp" else (8, 8, 1), labels) < 3 * MILLION


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_images_of_28_have_a_larger_one(kind: str) -> None:
    assert 5 * MILLION < counted(kind, (28, 28, 1), 10) < 20 * MILLION


SHAPES = [(8, 8, 1), (9, 9, 1), (10, 14, 3), (16, 16, 3), (28, 28, 1), (31, 31, 3), (32, 32, 3), (48, 64, 3),
          (64, 64, 3), (96, 96, 3), (128, 128, 3), (256, 256, 3)]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mlp"])
@pytest.mark.parametrize("shape", SHAPES)
def test_patches_divide_images_heads_widths_and_levels_sides(kind: str, shape: tuple[int, ...]) -> None:
    fields = sized_fields(kind, shape, {})
    if "patch" in fields:
        assert shape[0] % fields["patch"] == shape[1] % fields["patch"] == 0
        tokens = shape[0] * shape[1] // fields["patch"] ** 2
        assert 16 <= tokens <= 1024
        hidden = fields["heads"] * fields["head_dim"] if kind == "mmdit" else fields["hidden"]
        assert hidden % fields["heads"] == hidden % 4 == 0
        assert kind != "uvit" or fields["depth"] % 2 == 1
    else:
        mults, base = fields["channel_mults"], fields["base_channels"]
        assert shape[0] % 2 ** (len(mults) - 1) == shape[1] % 2 ** (len(mults) - 1) == 0
        assert all(base * mult % fields["head_dim"] == 0 for mult in mults)
        assert all(base * mult % fields.get("groups", 1) == 0 for mult in mults)
        assert all(level < len(mults) for level in fields["attention_levels"])


@pytest.mark.parametrize(
    ("side", "patch"), [(8, 2), (16, 2), (28, 2), (32, 2), (64, 4), (128, 8), (256, 16), (9, 1), (7, 1), (31, 1)]
)
def test_patches_are_those_of_the_papers(side: int, patch: int) -> None:
    """256 of them, as DiT's on latents of 32 and U-ViT's on images of 64, or fewer where the image is small."""
    assert patch_of(side, side) == patch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "given"),
    [("dit", {"hidden": 100}), ("dit", {"heads": 3}), ("uvit", {"heads": 5}), ("uvit", {"hidden": 90}),
     ("mmdit", {"heads": 3}), ("dit", {"patch": 4}), ("unet", {"base_channels": 20}), ("unet", {"channel_mults": [1]}),
     ("edm2", {"base_channels": 24})],
)  # fmt: skip
def test_what_depends_on_a_given_field_follows(kind: str, given: dict[str, Any]) -> None:
    config = BackboneConfig.model_validate({"kind": kind, **given}).build((8, 8, 1), 10, "float32").config
    made = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(config).items()}
    assert given.items() <= made.items()


@pytest.mark.parametrize(("width", "hidden"), [(2, 128), (32, 128), (33, 256), (64, 256), (784, 1024)])
def test_points_and_tables(width: int, hidden: int) -> None:
    assert sized_fields("mlp", (width,), {}) == {"hidden": hidden}


TOY = "{data: {kind: toy, size: 64}, backbone: {kind: mlp, hidden: 8, depth: 1}, steps: 3, batch_size: 8}"


@pytest.mark.slow
def test_memory_is_counted_by_hand() -> None:
    """Adam has two moments, and one count a chain; one average; a step has a gradient."""
    found = Trainer(parse_config(TOY)).memory
    # time 8x8 twice, labels 3, stem 2x8, a block of 8x8 three times, out 8x2
    count = 2 * (64 + 8) + 3 * 8 + (16 + 8) + 3 * (64 + 8) + (16 + 2)
    assert found.count == count
    assert (found.parameters, found.gradients, found.average) == (4 * count, 4 * count, 4 * count)
    assert 8 * count <= found.optimizer <= 8 * count + 64
    assert found.least >= 20 * count
    assert found.activations > 8 * 8 * 4
    assert str(found).startswith(f"{count:,} parameters; at least ")


@pytest.mark.slow
def test_activations_grow_with_the_part_of_a_batch_that_is_worked_through_at_once() -> None:
    small, large, parts = (
        Trainer(parse_config(TOY, sets)).memory.activations
        for sets in ([], ["batch_size=64"], ["batch_size=64", "accumulation_steps=8"])
    )
    assert large > 4 * small
    assert parts == small


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_it_is_made_unless_told_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(TOY)
    monkeypatch.setattr(memory, "memory_limit", lambda platform, stats: 5000)
    assert main(["train", "toy.yaml", "--out", "run"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "parameters take at least 0.0 MiB to train, got 0.0 MiB of memory" in err
    assert "memory=ignore" in err
    assert not Path("run").exists()
    assert main(["train", "toy.yaml", "--out", "run", "--set", "memory=ignore"]) == 0
    assert " parameters; at least " in capsys.readouterr().out


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(parse_config(TOY, ["batch_size=1024"]))
    state = dataclasses.replace(trainer.memory, activations=0).least
    monkeypatch.setattr(memory, "memory_limit", lambda platform, stats: state + 10_000)
    with pytest.raises(ValueError, match="activations"):
        trainer.fit()


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least of the machine's, and of the control groups' from the process's own to the root."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "memory" / "c").mkdir(parents=True)
    limits = {"memory.max": "max", "a/memory.max": "3000", "a/b/memory.max": "4000"}
    old = {"memory/memory.limit_in_bytes": "9000", "memory/c/memory.limit_in_bytes": "2500"}
    for path, content in (limits | old).items():
        (tmp_path / path).write_text(content + "\n")
    membership = tmp_path / "cgroup"
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "MEMBERSHIP", membership)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    for groups, limit in (("0::/a/b\n", 3000), ("0::/\n", 40960), ("5:cpu,memory:/c\n0::/\n", 2500), ("0::/a\n", 3000)):
        membership.write_text(groups)
        assert memory_limit("cpu", None) == limit
    membership.unlink()
    assert memory_limit("cpu", None) == 40960
    assert memory_limit("gpu", {"bytes_limit": 7, "bytes_in_use": 3}) == 7
    assert memory_limit("gpu", None) is None


def test_a_limit_that_is_not_known_refuses_nothing() -> None:
    Memory(10**12, 10**15, 10**15, 10**15, 10**15, 0, None).check()


@pytest.mark.parametrize(
    ("dtype", "says"),
    [
        (
            "float16",
            "compute must be float32 or bfloat16, got float16, in which small gradients vanish without loss sc",
        ),
        ("int8", "compute must be float32 or bfloat16, got int8"),
        ("float64", "compute must be float32 or bfloat16"),
        ("half", "compute must be float32 or bfloat16, got float16"),
        ("float33", "compute must be float32 or bfloat16, got 'float33'"),
    ],
)
def test_dtypes_that_training_would_not_honour_are_refused(dtype: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^precision\.compute") as refused:
        parse_config(TOY, [f"precision.compute={dtype}"])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
