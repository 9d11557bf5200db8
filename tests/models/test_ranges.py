"""Every documented range of the models, at its ends and just outside of them."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array
from pydantic import BaseModel, ValidationError

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.models import diffusion
from artifex.generative_models.models.diffusion import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from tests.ranges import Range, numbers, uncovered, wholes

pytestmark = pytest.mark.usefixtures("unhooked")

INF: Final = math.inf
TINY: Final = 1e-30
STEPS: Final = 3
X: Final = jnp.ones((2, 2))
LABELS: Final = jnp.array([0, 1])
SCALE: Final = (-3.0, 0.0, 7.5, np.array([1.0, 2.0])), (INF, -INF, np.array([1.0, INF]), jnp.array([jnp.nan]))
NUMBER: Final = (-3.0, 0.0, 7.5), (INF, -INF)


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    return MLP(MLPConfig(features=config.input_dim[-1], hidden=4, depth=1, num_classes=2), rngs=rngs)


def config(*shape: int, **parameters: object) -> ModelConfig:
    parameters = {"noise_steps": STEPS, "num_classes": 2, **parameters}
    return ModelConfig(name="ranges", model_class="M", input_dim=shape or (2,), parameters=parameters)


class Judge(nnx.Module):
    def __call__(self, x: Array, t: Array) -> Array:
        return jnp.zeros((len(x), 2)) + x[:, :1]


def guided(guidance_scale: float) -> object:
    return GuidedDiffusionModel(
        config(), network, rngs=nnx.Rngs(0), guidance_method="classifier_free", guidance_scale=guidance_scale
    )


BASE: Final = DiffusionModel(config(), network, rngs=nnx.Rngs(0))
DDPM: Final = DDPMModel(config(), backbone_fn=network, rngs=nnx.Rngs(0))
DDIM: Final = DDIMModel(config(ddim_steps=2), backbone_fn=network, rngs=nnx.Rngs(0))
SCORE: Final = ScoreDiffusionModel(config(), backbone_fn=network, rngs=nnx.Rngs(0))
LDM: Final = LDMModel(config(), backbone_fn=network, rngs=nnx.Rngs(0))
SMALL: Final = {"img_size": 4, "patch_size": 1, "hidden_size": 4, "depth": 1, "num_heads": 1}
DIT: Final = DiTModel(config(4, 4, 1, **SMALL), rngs=nnx.Rngs(0))
IMAGES: Final = jnp.ones((2, 4, 4, 1))


def walk(method: Callable[..., Array], **given: object) -> object:
    """The shapes that a sampling method gives: it checks its arguments, and nothing is compiled."""
    return jax.eval_shape(lambda: method(rngs=nnx.Rngs(0), **given))


def side(size: int) -> object:
    return walk(BASE.generate, shape=(size,))


def classifier(guidance_scale: float) -> ClassifierGuidance:
    return ClassifierGuidance(Judge(), guidance_scale)


def labeled(class_label: object) -> object:
    return ClassifierGuidance(Judge(), class_label=class_label)(BASE, X, jnp.array([0, 1]))  # type: ignore[arg-type]


def without(unconditional_conditioning: int) -> object:
    return ClassifierFreeGuidance(2.0, unconditional_conditioning).guidance(BASE)


def dit(cfg_scale: float) -> object:
    return DIT(IMAGES, jnp.array([0, 1]), LABELS, deterministic=True, cfg_scale=cfg_scale)


T: Final = (np.array(0), np.array([0, 2])), (-1, 3, np.array([0, 3]), 0.5)
RANGES: Final = [
    *wholes("n_samples", 1, None, *(partial(walk, model.generate) for model in (BASE, SCORE, LDM))),
    *wholes("n_samples", 1, None, partial(walk, DIT.generate), num_steps=1),
    Range(side, "size", (2,), (0, -1, 2.0), whole=True),
    *wholes("n_samples_or_shape", 1, None, partial(walk, DDPM.sample)),
    *wholes("num_samples", 1, None, partial(walk, SCORE.sample), partial(walk, LDM.sample)),
    *wholes("n_samples", 1, None, partial(walk, DDIM.ddim_sample)),
    *wholes("steps", 1, STEPS, partial(walk, DDPM.sample), n_samples_or_shape=1),
    *wholes("steps", 1, STEPS, partial(walk, DDIM.ddim_sample), n_samples=1),
    *wholes("ddim_steps", 1, STEPS, partial(walk, DDIM.ddim_reverse), x0=X),
    *wholes("ddim_steps", 1, STEPS, DDIM.get_ddim_timesteps),
    *wholes("num_steps", 1, STEPS, partial(walk, DIT.generate)),
    *wholes("num_steps", 1, None, partial(walk, SCORE.sample), num_samples=1),
    *numbers("eta", (0.0, 1.0), (-TINY, 1.01, INF), partial(walk, DDIM.ddim_sample), n_samples=1),
    *numbers("eta", (0.0, 1.0), (-TINY, 1.01), DDIM.ddim_step, x_t=X, t=1, t_prev=0, predicted_noise=X),
    *numbers("t_prev", (-1, 1), (-2, 2), DDIM.ddim_step, x_t=X, t=2, predicted_noise=X),
    *numbers("t", *T, BASE.q_sample, x_start=X),
    *numbers("t", *T, BASE.p_sample, model_output=X, x_t=X),
    *numbers("t", *T, BASE.predict_start_from_noise, x_t=X, noise=X),
    *numbers("timesteps", *T, BASE, x=X),
    *numbers("t", (0.0, 1.0), (-TINY, 1.01, INF), SCORE.score, x=X),
    *numbers("cfg_scale", *SCALE, dit),
    *numbers("cfg_scale", *SCALE, partial(walk, DIT.generate), n_samples=2, num_steps=1, y=LABELS),
    *wholes("img_size", 1, None, partial(walk, DIT.generate), n_samples=2, num_steps=1),
    *numbers("guidance_scale", *SCALE, ClassifierFreeGuidance, classifier, guided),
    *numbers("unconditional_conditioning", (np.array(0), np.array(2)), (-1, 3, 0.5), without),
    *numbers("class_label", (np.array(0), np.array(1)), (-1, 2, 0.5), labeled),
    *numbers("guidance_scale", *SCALE, apply_guidance, noise_pred_cond=X, noise_pred_uncond=X),
    *wholes("total_steps", 1, None, linear_guidance_schedule, cosine_guidance_schedule, step=0),
    *numbers("start_scale", *NUMBER, linear_guidance_schedule, cosine_guidance_schedule, step=0, total_steps=3),
    *numbers("end_scale", *NUMBER, linear_guidance_schedule, cosine_guidance_schedule, step=0, total_steps=3),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    """Those of the two guidances have rows through functions."""
    elsewhere = {"ClassifierGuidance.guidance_scale", "ClassifierGuidance.class_label"}
    assert uncovered([diffusion], RANGES) - elsewhere == set()


WHOLE: Final = (1,), (0, 1.5, True)
WIDTHS: Final = ((1,), (3, 4)), ((), (0,), (1.5,), (True,))
SHARE: Final = (0.0, 1.0), (-TINY, 1.01)
BETA: Final = (TINY, 0.02), (0.0, 1.0, -1.0)
SIGMA: Final = (1e-12, 0.5), (0.9e-12, 0.0, -1.0)
POSITIVE: Final = (TINY, 1e3), (0.0, -1.0)
FIELDS: Final[dict[str, tuple[Sequence[object], Sequence[object]]]] = {
    "noise_steps": WHOLE,
    "num_classes": WHOLE,
    "class_dropout_prob": SHARE,
    "beta_start": BETA,
    "beta_end": ((1e-4, 0.999), (0.9e-4, 1.0, 0.0)),
    "ddim_steps": ((1, 1000), (0, 1001, 1.5, True)),
    "eta": SHARE,
    "img_size": WHOLE,
    "patch_size": WHOLE,
    "hidden_size": WHOLE,
    "depth": WHOLE,
    "num_heads": WHOLE,
    "mlp_ratio": POSITIVE,
    "dropout_rate": ((0.0, 0.99), (-TINY, 1.0)),
    "cfg_scale": ((-3.0, 7.5), ()),
    "latent_dim": WHOLE,
    "encoder_hidden_dims": WIDTHS,
    "decoder_hidden_dims": WIDTHS,
    "scale_factor": POSITIVE,
    "kl_weight": ((0.0, 9.0), (-TINY,)),
    "sigma_min": SIGMA,
    "sigma_max": ((0.011, 1e12), (0.01, 1.1e12)),
    "score_scaling": POSITIVE,
}
"""Values at both ends, and outside of them, beside the defaults of the other parameters."""
KINDS: Final[dict[str, type[BaseModel]]] = {
    model.parameters_type.__name__: model.parameters_type for model in (BASE, DDIM, DIT, LDM, SCORE)
}


def fields(kind: type[BaseModel]) -> list[str]:
    """The parameters of ``kind`` that are numbers."""
    texts = (str, bool)
    names = [name for name, field in kind.model_fields.items() if not isinstance(field.default, texts)]
    return [name for name in names if "Literal" not in str(kind.model_fields[name].annotation)]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, made in KINDS.items() for name in fields(made)])
def test_a_parameter_is_held_at_both_ends(kind: str, name: str) -> None:
    right, wrong = FIELDS[name]
    others: dict[str, Any] = {"num_classes": 2}
    if "ddim_steps" in KINDS[kind].model_fields and name != "ddim_steps":
        others["ddim_steps"] = 1
    for value in right:
        assert getattr(KINDS[kind].model_validate({**others, name: value}), name) == value
    for value in (*wrong, math.nan, INF, -INF):
        with pytest.raises(ValidationError, match=name):
            KINDS[kind].model_validate({**others, name: value})


@pytest.mark.parametrize("name", ["input_dim", "hidden_dims", "output_dim"])
def test_the_shapes_of_a_config_are_held_at_their_end(name: str) -> None:
    given: dict[str, Any] = {"name": "ranges", "model_class": "M", "input_dim": (2,)}
    right: list[Any] = [(1,), (1, 2)]
    wrong: list[Any] = [(), (0,), (2, -1), (1.5,), (math.nan,), (INF,)]
    for value in right:
        assert getattr(ModelConfig.model_validate({**given, name: value}), name) == value
    for value in wrong:
        with pytest.raises(ValidationError, match=name):
            ModelConfig.model_validate({**given, name: value})
