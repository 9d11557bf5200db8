"""ModelConfig and the typed parameters that models read from it."""

import copy
import json
import pickle
from collections.abc import Callable, Iterable
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
from artifex.generative_models.models.diffusion import (
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ScoreDiffusionModel,
)
from artifex.generative_models.models.diffusion.parameters import (
    DDIMParameters,
    DiffusionParameters,
    parse,
)
from artifex.schedules.betas import BetaSchedule


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
    """A small network for points."""
    classes = config.parameters.get("num_classes")
    assert classes is None or isinstance(classes, int)
    return MLP(MLPConfig(features=config.input_dim[-1], hidden=4, depth=1, num_classes=classes), rngs=rngs)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-3, 2000), st.floats(), st.text(max_size=3), st.just([1, 2]))
"""Mistakes in a configuration; also numbers that are valid for some fields."""
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
    "latent_dim": st.sampled_from([1, 2]),
    "encoder_hidden_dims": st.just([4]),
    "decoder_hidden_dims": st.just([4]),
    "encoder_type": st.sampled_from(["simple", "vae"]),
    "decoder_type": st.sampled_from(["simple", "vae"]),
    "scale_factor": st.floats(0.01, 100),
    "kl_weight": st.floats(0, 1),
    "img_size": st.just(4),
    "patch_size": st.sampled_from([2, 4]),
    "hidden_size": st.sampled_from([4, 8]),
    "depth": st.just(1),
    "num_heads": st.sampled_from([1, 2]),
    "mlp_ratio": st.floats(0.5, 2),
    "dropout_rate": st.floats(0, 0.9),
    "class_dropout_prob": st.floats(0, 1),
    "learn_sigma": st.booleans(),
    "cfg_scale": st.sampled_from([1.0, 2.0]),
    "num_classes": st.just(2),
}
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "name": st.text(max_size=3),
    "model_class": st.just("M"),
    "hidden_dims": st.sampled_from([None, [4]]),
    "output_dim": st.none(),
    "activation": st.none(),
}


def slip(known: Iterable[str]) -> st.SearchStrategy[dict[str, object]]:
    """At most one field of any value."""
    return st.dictionaries(st.sampled_from([*known, "unheard_of"]), JUNK, max_size=1)


# Their defaults are too large to sample from here; without classes there is no guidance.
REQUIRED = frozenset({"noise_steps", "ddim_steps", "img_size", "hidden_size", "depth", "num_heads", "num_classes"})


def configs(kind: type[DiffusionModel[Any]], shape: tuple[int, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a configuration of ``kind``, valid but for one of either kind of any value."""
    known = {name: PARAMETERS[name] for name in kind.parameters_type.model_fields}
    needed = {name: values for name, values in known.items() if name in REQUIRED}
    optional = {name: values for name, values in known.items() if name not in REQUIRED}
    fields = {**FIELDS, "input_dim": st.just(list(shape)), "output_dim": st.sampled_from([None, shape[-1], [*shape]])}
    return st.builds(
        lambda fields, parameters, outer, inner: {**fields, "parameters": {**parameters, **inner}, **outer},
        st.fixed_dictionaries(fields),
        st.fixed_dictionaries(needed, optional=optional),
        slip([*fields, "parameters"]),
        slip(known),
    )


Build = Callable[[ModelConfig], DiffusionModel[Any]]
KINDS: dict[str, tuple[type[DiffusionModel[Any]], tuple[int, ...], int, Build]] = {
    "base": (DiffusionModel, (2,), 8, lambda c: DiffusionModel(c, network, rngs=nnx.Rngs(0))),
    "ddpm": (DDPMModel, (2,), 40, lambda c: DDPMModel(c, backbone_fn=network, rngs=nnx.Rngs(0))),
    "ddim": (DDIMModel, (2,), 20, lambda c: DDIMModel(c, backbone_fn=network, rngs=nnx.Rngs(0))),
    "score": (
        ScoreDiffusionModel, (2,), 50,
        lambda c: ScoreDiffusionModel(config=c, backbone_fn=network, rngs=nnx.Rngs(0)),
    ),
    "latent": (LDMModel, (2,), 14, lambda c: LDMModel(config=c, backbone_fn=network, rngs=nnx.Rngs(0))),
    "dit": (DiTModel, (4, 4, 1), 8, lambda c: DiTModel(c, rngs=nnx.Rngs(0))),
    "guided": (
        GuidedDiffusionModel, (2,), 40,
        lambda c: GuidedDiffusionModel(c, network, rngs=nnx.Rngs(0), guidance_method="classifier_free"),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_config_samples_or_is_refused(name: str) -> None:
    """Any configuration is a model with finite samples, or a ValueError."""
    kind, shape, examples, build = KINDS[name]
    ends = {"refused": 0, "sampled": 0, "too large to be sampled here": 0}

    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(fields=configs(kind, shape))
    def check(fields: dict[str, Any]) -> None:
        try:
            config = ModelConfig.model_validate(fields)
            parsed = parse(kind.parameters_type, config)
            if (
                parsed.noise_steps > 3
                or config.input_dim != shape
                or any(
                    (getattr(parsed, name, None) or 0) > 8
                    for name in ("latent_dim", "hidden_size", "depth", "num_classes")
                )
            ):
                ends["too large to be sampled here"] += 1
                return
            model = build(config)
        except ValueError:
            ends["refused"] += 1
            return
        labels = None if parsed.num_classes is None else jnp.zeros(2, jnp.int32)
        if name == "guided" and labels is None:
            with pytest.raises(ValueError, match="conditioning must be given"):
                model.generate(2)
            ends["refused"] += 1
            return
        options: dict[str, Any] = {"num_steps": 3, "rngs": nnx.Rngs(0)} if name == "dit" else {}
        samples = model.generate(2, conditioning=labels, **options)
        assert samples.shape == (2, *shape)
        assert bool(jnp.all(jnp.isfinite(samples)))
        ends["sampled"] += 1

    check()
    assert min(ends["refused"], ends["sampled"]) >= examples // 8, ends
