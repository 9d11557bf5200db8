import re
from collections.abc import Iterator, Mapping
from inspect import isabstract
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from pydantic import BaseModel

from artifex.training import (
    BackboneConfig,
    CheckpointConfig,
    ConfigError,
    Digits,
    OptimizerConfig,
    RunConfig,
    Toy,
    parse_config,
    read_config,
    write_config,
)
from artifex.training.checkpoints.manifest import Manifest
from artifex.training.config import EDMSchedule, LogNormalTimes, MinSNRWeight, RectifiedFlowSchedule, dump_config
from artifex.training.config.backbones import KINDS, known_fields, network_config
from artifex.training.config.describe import described, meanings
from artifex.training.config.yaml import validated
from artifex.training.ema import EMA, Power
from artifex.training.section import Section

EVERYTHING = """
data: {kind: toy, name: spirals}
backbone: {kind: mlp, hidden: 16}
schedule: edm
prediction: edm
sigma_data: 1e0
weight: {kind: min_snr, gamma: 3}
times: {kind: log_normal, std: 1.5}
optimizer: {name: lion, learning_rate: 1e-4, schedule: rsqrt, options: {b1: 0.8}}
ema: {kind: power, sigma_rels: [0.05]}
precision: {compute: bfloat16}
checkpoint: {every: 7}
accumulation_steps: 2
seed: 3
"""


def test_every_part_is_read_from_yaml_and_written_back(tmp_path: Path) -> None:
    config = parse_config(EVERYTHING)
    same = RunConfig(
        data=Toy(name="spirals"),
        backbone=BackboneConfig.model_validate({"kind": "mlp", "hidden": 16}),
        schedule=EDMSchedule(),
        prediction="edm",
        sigma_data=1.0,
        weight=MinSNRWeight(gamma=3.0),
        times=LogNormalTimes(std=1.5),
        optimizer=OptimizerConfig(name="lion", learning_rate=1e-4, schedule="rsqrt", options={"b1": 0.8}),
        ema=Power(sigma_rels=(0.05,)),
        precision=config.precision,
        checkpoint=CheckpointConfig(every=7),
        accumulation_steps=2,
        seed=3,
    )
    assert config == same
    assert config.precision.compute == "bfloat16"
    assert parse_config(dump_config(config)) == config
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_only_data_must_be_said() -> None:
    assert parse_config("data: digits") == RunConfig(data=Digits())
    # What is left out is what a kind without fields is.
    for ema in ("constant", "{kind: constant}", "{}"):
        assert (
            parse_config(f"{{data: digits, ema: {ema}}}").ema.build() == RunConfig(data=Digits()).ema.build() == EMA()
        )


def test_the_description_is_the_configuration_with_a_description_of_every_field() -> None:
    config = RunConfig(data=Digits())
    text = described(config)
    assert parse_config(text) == config
    for model in (RunConfig, OptimizerConfig, CheckpointConfig, RectifiedFlowSchedule):
        descriptions = meanings(model)
        assert set(descriptions) == set(model.model_fields) - {"kind"}
        assert all(descriptions.values())
    for kind in ("toy", "rectified_flow", "min_snr", "logit_normal", "power", "dit"):
        assert re.search(rf"\b{kind}\b", text), kind
    # Fields of networks too: those of the one that is named, as it has them, and those of all others.
    for line in (
        "channel_mults: [1, 2]   channels of",
        "hidden: 128   width of a token",
        "kind: edm2   preset: xs, s, m",
    ):
        assert line in text, line
    tall = described(BackboneConfig.model_validate({"kind": "dit", "preset": "b_4", "depth": 3}))
    assert yaml.safe_load(tall) == {"kind": "dit", "preset": "b_4", "depth": 3}
    assert "further fields of dit, as in b_4;" in tall
    assert "hidden: 768   width" in tall
    assert tall.count(" depth: ") == 3  # of the others that have one
    assert max(len(line) for line in text.splitlines()) <= 120


def test_settings_are_made_in_their_order() -> None:
    config = parse_config(
        "data: digits\nschedule: {kind: discrete, betas: linear, end: 0.01}",
        ["schedule.kind=rectified_flow", "schedule.shift=3", "optimizer.clip_norm=null", "backbone.base_channels=16"],
    )
    assert config.schedule == RectifiedFlowSchedule(shift=3.0)
    assert config.optimizer == OptimizerConfig(clip_norm=None)
    assert (config.backbone.preset, config.backbone.fields) == ("digits", {"base_channels": 16})
    assert parse_config("data: digits", ["steps=1", "steps=2"]).steps == 2
    assert parse_config("", ["data.kind=toy", "data.name=moons", "data.size=10"]).data == Toy(size=10)


@pytest.mark.parametrize(
    ("text", "setting", "says"),
    [
        ("step: 3", "", "step is not known; the nearest known is steps"),
        # The words of earlier versions.
        ("accumulate: 2", "", "accumulate is not known; the nearest known is accumulation_steps"),
        ("optimiser: {}", "", "optimiser is not known; the nearest known is optimizer"),
        ("checkpoint: {keep: 2}", "", "checkpoint.keep is not known; the nearest known is checkpoint.max_to_keep"),
        (
            "optimizer: {learning_rat: 1}", "",
            "optimizer.learning_rat is not known; the nearest known is optimizer.learning_rate",
        ),
        (
            "schedule: {kind: vp, beta_mni: 1}", "",
            "schedule.beta_mni is not known; the nearest known is schedule.beta_min",
        ),
        (
            "", "backbone.base_chanels=3",
            "backbone: base_chanels is not known of unet; the nearest known is base_channels",
        ),
        ("", "backbone.learn_sigma=true", "backbone: learn_sigma is not known of unet"),
        ("", "backbone.base_channels=wide", "backbone: base_channels must be a valid integer, got 'wide'"),
        ("", "backbone.preset=tiny", "backbone: preset must be, for unet, digits, ddpm_cifar10, adm_imagenet64,"),
        ("", "backbone.kind=unt", "backbone.kind must be 'unet', 'dit', 'mmdit', 'uvit', 'edm2' or 'mlp', got 'unt'"),
        (
            "schedule: {kind: vq}", "",
            "schedule.kind must be one of discrete, vp, sub_vp, cosine_vp, ve, edm, rectified_flow, got 'vq'",
        ),
        ("", "schedule.beta_min=3", "schedule.beta_min is not known; the nearest known is schedule.betas"),
        ("schedule: vp", "schedule.beta_min=30", "schedule: beta_min must be below beta_max = 20.0, got 30"),
        ("", "schedule.start=0.1", "schedule: start must be null for betas 'cosine', which has no such parameter"),
        ("", "weight.gamma=3", "weight.kind must be given"),
        ("", "ema.decay=2", "ema.decay must be less than 1, got 2"),
        ("", "steps=0", "steps must be greater than 0, got 0"),
        ("", "steps=yes", "steps must be a valid integer, got True"),
        ("", "steps=2.5", "steps must be a valid integer, got 2.5"),
        ("", "optimizer.learning_rate=.nan", "optimizer.learning_rate must be a finite number, got nan"),
        ("", "optimizer.learning_rate=fast", "optimizer.learning_rate must be a valid number, got 'fast'"),
        ("", "optimizer=3", "optimizer must be a section, got 3"),
        ("", "optimizer.name=adamv", "optimizer.name must be 'adabelief', "),
        (
            "", "optimizer.options={b7: 3}",
            "optimizer: options.b7 is not known of optax's adamw; the nearest known is b2",
        ),
        (
            "optimizer: {name: sgd, weight_decay: 0.1}", "",
            "optimizer: weight_decay must be null for sgd, which has none; got 0.1",
        ),
        (
            "", "accumulation_steps=3",
            "accumulation_steps x parallel_microbatches must divide batch_size = 64, got 3 x 1",
        ),
        ("", "seed=4294967296", "seed must be less than 4294967296, got 4294967296"),
        ("", "times=log_normal", "times.kind must be steps or uniform for the schedule discrete, got 'log_normal'"),
        ("schedule: vp", "times.kind=uniform", ""),
        (
            "schedule: {kind: vp}\ntimes: {kind: uniform, high: 2}", "",
            "times.low and times.high must be in [0, 1] for the schedule vp, got 0.0 and 2",
        ),
        (
            "schedule: {zero_terminal_snr: true}", "prediction=epsilon",
            "prediction must not be 'epsilon' with schedule.zero_terminal_snr",
        ),
        (
            "version: 3", "",
            "version must be 2, the format that this version reads, got 3; it is of a newer version of Artifex",
        ),
        (
            "version: 1", "",
            "version must be 2, the format that this version reads, got 1; it is of an earlier version of Artifex",
        ),
        ("version: one", "", "version must be 2, the format that this version reads, got 'one'"),
        ("", "steps", "--set expects key=value, for instance optimizer.learning_rate=1e-3, got 'steps'"),
        ("", "=3", "--set expects key=value, for instance optimizer.learning_rate=1e-3, got '=3'"),
        ("", "steps=[1", "--set steps: the value must be YAML, got '[1'"),
        ("steps: 3", "steps.of=2", "--set steps.of: steps must be a section, got 3"),
        ("", "data=digit", "data.kind must be one of digits, toy"),
        ("", "data=null", "data must be a section, got None"),
        ("", "data={kind: digits, augmentation: {flip: 1}}", "data.augmentation.flip must be a valid boolean, got 1"),
        ("", "data={kind: toy, size: '9'}", "data.size must be a valid integer, got '9'"),
        ("", "data={kind: mnist, path: 3}", "data.path must be a path, got 3"),
        (
            "", "data={kind: folder, path: a, size: big}",
            "data.size must be a valid integer, got 'big'; data.size must be a list, got 'big'",
        ),
        ("", "data={kind: folder, path: a, extensions: .png}", "data.extensions must be a list, got '.png'"),
        ("", "optimizer.options={b1: [1]}", "optimizer.options.b1 must be a valid boolean, got [1]; "),
        ("", "data=!!python/object/apply:os.system [ls]", "--set data: the value must be YAML, got"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text: str, setting: str, says: str) -> None:
    overrides = [setting] if setting else []
    if not says:
        parse_config(f"data: digits\n{text}", overrides)
        return
    with pytest.raises(ConfigError, match="^" + re.escape(says)) as caught:
        parse_config(f"data: digits\n{text}", overrides)
    assert "\n" not in str(caught.value)


VALUES = ("3", 2.5, True, 3, None, {"x": 1}, [1], ["a"])


def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from below(one)


def fits(annotation: object, value: object) -> bool:
    """Return True if a JSON value may be of this type, without its range."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return fits(inner[0], value)
    if origin in (Union, UnionType):
        return any(fits(one, value) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        each = inner[:1] * len(value) if isinstance(value, list) and inner[-1] is Ellipsis else inner
        return isinstance(value, list) and len(value) == len(each) and all(map(fits, each, value))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(inner[1], one) for one in value.values())
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return isinstance(value, dict | str)  # a string may be a kind
    known: dict[object, tuple[type, ...]] = {float: (float, int), Path: (str,), type(None): (type(None),)}
    return type(value) in known.get(annotation, (annotation,))


def test_every_part_refuses_other_types_and_names_in_one_line() -> None:
    every = {
        model for model in below(BaseModel) if model.__module__.startswith("artifex.training") and not isabstract(model)
    }
    assert {model for model in every if not issubclass(model, Section)} == {Manifest}  # whatever a later version adds
    parts = every - {Section, Manifest}
    assert len(parts) > 35
    given: dict[str, Any] = {
        "path": "a.npy", "data": "digits", "config": {"data": "digits"}, "shape": [2], "num_classes": None,
        "labels": None, "weights": "average", "step": 1, "versions": {}, "class": "DDPMModel",
    }  # fmt: skip
    refused = 0
    for model in parts:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        whole = {name: given[name] for name, field in fields.items() if field.is_required() and name != "kind"}
        if model is BackboneConfig:
            whole["kind"] = "mlp"
        validated(model, whole)
        with pytest.raises(ConfigError, match=r"^(backbone: )?nonsense is not known"):
            validated(model, {**whole, "nonsense": 1})
        for name, value in ((name, value) for name in fields for value in VALUES):
            if fits(fields[name].annotation, value):
                continue
            refused += 1
            with pytest.raises(ConfigError, match=rf"^{name}\b.* must be.*(, got |given$)") as caught:
                validated(model, {**whole, name: value})
            assert "\n" not in str(caught.value)
    assert refused > 600


@pytest.mark.parametrize("kind", KINDS)
def test_a_networks_own_fields_are_no_less_strict(kind: str) -> None:
    hints = {**get_type_hints(type(network_config(kind))), "num_classes": int | None}
    for name, value in ((name, value) for name in known_fields(kind) for value in VALUES):
        if not fits(hints[name], value):
            with pytest.raises(ConfigError, match=rf"\b{name}\b.* must be .*, got "):
                validated(BackboneConfig, {"kind": kind, name: value})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"data: [", "no YAML: while parsing a flow node"),
        (b"- 3", "a configuration must be keys and values, got [3]"),
        (b"", "data must be given"),
        (b"data: \xff", "must be text in UTF-8, got byte 0xff"),
        (b"data: !!python/object/apply:os.system ['ls']", "no YAML: could not determine a constructor for the tag"),
        (b"steps: {", "no YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}.*{re.escape(says)}"):
        read_config(path)
    with pytest.raises(ConfigError, match=r"nothing\.yaml could not be read: no such file or directory"):
        read_config(tmp_path / "nothing.yaml")


def test_a_number_in_scientific_notation_needs_no_point() -> None:
    assert parse_config("data: digits\noptimizer: {learning_rate: 1e-3}").optimizer.learning_rate == 1e-3
    assert yaml.safe_load("1e-3") == "1e-3"
