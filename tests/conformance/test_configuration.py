"""ModelConfig and the typed parameters that models read from it."""

import copy
import json
import pickle
from collections.abc import Mapping
from typing import Any, get_args

import jax.numpy as jnp
import pytest
import yaml
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion import DDIMModel, DDPMModel, DiffusionModel, ScoreDiffusionModel
from artifex.generative_models.models.diffusion.parameters import (
    BetaSchedule,
    DDIMParameters,
    DiffusionParameters,
    parse,
)


def make(**fields: object) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "model_class": "DDPMModel", "input_dim": (8, 8, 1)} | fields)


FULL = {
    "hidden_dims": [32, 64],
    "output_dim": [8, 8, 1],
    "activation": "silu",
    "parameters": {"noise_steps": 10, "beta_end": 0.5, "list": [1, [2.5, "a"]], "none": None},
}


def test_round_trips_through_yaml_and_json() -> None:
    config = make(**FULL)
    assert ModelConfig.from_yaml(config.to_yaml()) == config
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    assert json.loads(config.model_dump_json())["parameters"] == FULL["parameters"]
    assert yaml.safe_load(config.to_yaml())["hidden_dims"] == [32, 64]


def test_copies_and_pickles_are_equal() -> None:
    config = make(**FULL)
    again: ModelConfig = pickle.loads(pickle.dumps(config))
    for other in (again, copy.copy(config), copy.deepcopy(config), config.model_copy(deep=True)):
        assert other == config
        assert hash(other) == hash(config)
        with pytest.raises(TypeError):
            other.parameters["noise_steps"] = 1  # type: ignore[index]


def test_fields_are_frozen_and_hash() -> None:
    """Down to the values inside of ``parameters``; equal configurations hash equal."""
    config = make(**FULL)
    assert config.hidden_dims == (32, 64)
    assert config.parameters["list"] == (1, (2.5, "a"))
    assert hash(config) == hash(make(**FULL))
    assert config != make(**(FULL | {"parameters": {"noise_steps": 11}}))
    with pytest.raises(ValidationError):
        config.name = "other"
    with pytest.raises(TypeError):
        config.parameters["noise_steps"] = 1  # type: ignore[index]


def test_only_three_fields_are_required() -> None:
    config = make()
    assert (config.hidden_dims, config.output_dim, config.activation) == (None, None, None)
    assert dict(config.parameters) == {}
    for missing in ("name", "model_class", "input_dim"):
        fields = {"name": "m", "model_class": "DDPMModel", "input_dim": (8, 8, 1)}
        del fields[missing]
        with pytest.raises(ValidationError, match=missing):
            ModelConfig.model_validate(fields)
    assert make(output_dim=1).output_dim == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"extra": 1},
        {"input_dim": ()},
        {"input_dim": (0, 8, 1)},
        {"name": None},
        {"hidden_dims": (-1,)},
        {"output_dim": 0},
        {"activation": 3},
        {"parameters": [1]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_refuses_what_is_no_configuration(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        make(**fields)


def test_an_unknown_key_names_the_nearest_known() -> None:
    for key, near in {"noise_step": "noise_steps", "beta_stop": "beta_start", "skiptype": "skip_type"}.items():
        with pytest.raises(ValueError, match=rf"'{key}' .* '{near}'"):
            DDIMModel(make(parameters={key: 1}), rngs=nnx.Rngs(0))


def test_parsed_parameters_are_frozen() -> None:
    parsed = parse(DiffusionParameters, make(parameters={"noise_steps": 10}))
    assert parsed.noise_steps == 10
    with pytest.raises(ValidationError):
        parsed.noise_steps = 11


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise_steps": 0},
        {"noise_steps": "many"},
        {"noise_steps": 10.5},
        {"noise_steps": True},
        {"beta_start": 0.0},
        {"beta_start": "0.1"},
        {"beta_end": 1.0},
        {"beta_start": 0.5, "beta_end": 0.1},
        {"beta_schedule": "cosin"},
        {"eta": 1.5},
        {"eta": float("nan")},
        {"ddim_steps": 1001},
        {"ddim_steps": 0},
        {"skip_type": "cubic"},
        {"num_classes": 0},
    ],
    ids=str,
)
def test_parameters_out_of_their_range(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(parameters))):
        parse(DDIMParameters, make(parameters=parameters))


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    """A network for points, small enough to be sampled from many times."""
    return MLP(MLPConfig(features=config.input_dim[-1], hidden=4, depth=1), rngs=rngs)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-3, 2000), st.floats(), st.text(max_size=3), st.just([1, 2]))
"""What a configuration may hold by mistake; also numbers that are right for some fields."""
PARAMETERS: dict[str, st.SearchStrategy[object]] = {
    "noise_steps": st.just(3),
    "beta_start": st.floats(0, 0.3),
    "beta_end": st.floats(0.3, 1),
    "beta_schedule": st.sampled_from(get_args(BetaSchedule)),
    "eta": st.floats(0, 1),
    "ddim_steps": st.sampled_from([2, 3]),
    "skip_type": st.sampled_from(["uniform", "quadratic"]),
    "sigma_min": st.floats(0, 1) | st.floats(1e-12, 1),
    "sigma_max": st.floats(1, 1e12) | st.floats(1, 1e30),
    "score_scaling": st.sampled_from([0.5, 1.0]),
}
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "name": st.text(max_size=3),
    "model_class": st.just("M"),
    "input_dim": st.just([2]),
    "hidden_dims": st.sampled_from([None, [4]]),
    "output_dim": st.sampled_from([None, 2, [2]]),
    "activation": st.sampled_from([None, "silu"]),
}


def slip(known: Mapping[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """At most one field that holds anything."""
    return st.dictionaries(st.sampled_from([*known, "unheard_of"]), JUNK, max_size=1)


REQUIRED = ("noise_steps", "ddim_steps")  # their defaults are of a size that is not sampled from here
CONFIGS = st.builds(
    lambda fields, parameters, outer, inner: {**fields, "parameters": {**parameters, **inner}, **outer},
    st.fixed_dictionaries(FIELDS),
    st.fixed_dictionaries(
        {key: PARAMETERS[key] for key in REQUIRED},
        optional={key: values for key, values in PARAMETERS.items() if key not in REQUIRED},
    ),
    slip({**FIELDS, "parameters": None}),
    slip(PARAMETERS),
)


def build(kind: type[DiffusionModel[Any]], fields: Mapping[str, object]) -> DiffusionModel[Any]:
    """A model from fields of which those that only other kinds know are left out."""
    parameters = fields["parameters"]
    if isinstance(parameters, Mapping):
        other = set(PARAMETERS) - set(kind.parameters_type.model_fields)
        parameters = {key: value for key, value in parameters.items() if key not in other}
    config = ModelConfig.model_validate({**fields, "parameters": parameters})
    if kind is ScoreDiffusionModel:
        return ScoreDiffusionModel(config=config, rngs=nnx.Rngs(0), backbone_fn=network)
    return kind(config, backbone_fn=network, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("kind", [DDPMModel, DDIMModel, ScoreDiffusionModel])
def test_every_config_samples_or_is_refused(kind: type[DiffusionModel[Any]]) -> None:
    """Whatever is in a configuration: a model whose samples are finite, or a ValueError; never anything else."""
    ends = {"refused": 0, "sampled": 0, "too long to be sampled here": 0}

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(fields=CONFIGS)
    def check(fields: dict[str, object]) -> None:
        try:
            model = build(kind, fields)
        except ValueError:
            ends["refused"] += 1
            return
        if model.noise_steps > 3 or model.config.input_dim != (2,):
            ends["too long to be sampled here"] += 1
            return
        samples = model.generate(2)
        assert samples.shape == (2, 2)
        assert bool(jnp.all(jnp.isfinite(samples)))
        ends["sampled"] += 1

    check()
    assert min(ends["refused"], ends["sampled"]) >= 10, ends
