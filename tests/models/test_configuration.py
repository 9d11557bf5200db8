"""ModelConfig and the parameters read from it."""

import pytest
from pydantic import ValidationError

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.parameters import DDIMParameters, DiffusionParameters, parse


def make(**fields: object) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "model_class": "DDPMModel", "input_dim": (8, 8, 1)} | fields)


def test_round_trips_through_yaml_and_json() -> None:
    config = make(hidden_dims=[32, 64], output_dim=[8, 8, 1], parameters={"noise_steps": 10, "list": [1, [2.5, "a"]]})
    assert ModelConfig.from_yaml(config.to_yaml()) == config
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_is_immutable_and_hashable() -> None:
    config = make(parameters={"a": [1, 2]})
    assert config.parameters["a"] == (1, 2)
    assert hash(config) == hash(make(parameters={"a": [1, 2]}))
    assert config != make(parameters={"a": [1, 3]})
    with pytest.raises(ValidationError):
        config.name = "other"
    with pytest.raises(TypeError):
        config.parameters["a"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    "fields",
    [{"extra": 1}, {"input_dim": ()}, {"input_dim": (0, 8, 1)}, {"name": None}, {"hidden_dims": (-1,)}],
)
def test_refuses_what_is_no_configuration(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make(**fields)


def test_parameters_have_the_documented_defaults() -> None:
    ddpm = parse(DiffusionParameters, make())
    assert (ddpm.noise_steps, ddpm.beta_start, ddpm.beta_end, ddpm.beta_schedule) == (1000, 1e-4, 0.02, "linear")
    ddim = parse(DDIMParameters, make())
    assert (ddim.ddim_steps, ddim.eta, ddim.skip_type, ddim.noise_steps) == (50, 0.0, "uniform", 1000)


def test_unknown_parameter_names_the_nearest_known() -> None:
    with pytest.raises(ValueError, match=r"'noise_step' .* 'noise_steps'"):
        parse(DiffusionParameters, make(parameters={"noise_step": 10}))


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise_steps": 0},
        {"noise_steps": "many"},
        {"beta_start": 0.0},
        {"beta_end": 1.0},
        {"beta_start": 0.5, "beta_end": 0.1},
        {"beta_schedule": "cosin"},
        {"eta": 1.5},
        {"ddim_steps": 1001},
        {"skip_type": "cubic"},
        {"num_classes": 0},
    ],
)
def test_parameters_out_of_their_range(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        parse(DDIMParameters, make(parameters=parameters))
