"""Learners of the networks and models that configurations name."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from artifex.generative_models.models.diffusion import DiffusionModel
from artifex.training.config.models import check_data
from artifex.training.config.run import RunConfig
from artifex.training.run.keys import init_key
from artifex.training.run.learner import Learner
from artifex.training.run.memory import memory_of
from artifex.training.step.model_objective import model_objective

Make = Callable[..., Learner]
"""Called as ``make(module, objective)``."""


def network_learner(
    config: RunConfig, shape: tuple[int, ...], num_classes: int | None, network: nnx.Module | None, make: Make,
    check: bool,
) -> Learner:  # fmt: skip
    """Build the learner of ``config.backbone``, or of ``network`` if given.

    Args:
        config: of the run.
        shape: of one example of the data.
        num_classes: of the data; None if it has no labels.
        network: in place of the configuration's.
        make: from module and objective to learner.
        check: raise a ValueError before any parameter exists if they do not fit into memory.
    """
    if network is not None:
        learner = make(network, config.build_objective(num_classes))
        return _checked(learner) if check else learner
    plan = config.backbone.build(shape, num_classes, config.precision.compute)
    learner = make(plan.abstract(), config.build_objective(plan.num_classes))
    learner = _checked(learner) if check else learner
    return learner.with_module(plan.init(init_key(config.seed), learner.mesh))


def model_learner(
    config: RunConfig, shape: tuple[int, ...], num_classes: int | None, model: DiffusionModel[Any] | None, make: Make,
    check: bool,
) -> Learner:  # fmt: skip
    """Build the learner of ``config.model``, or of ``model`` if given; the arguments are those of ``network_learner``.

    Raises:
        ValueError: if model and data do not fit.
    """
    section = config.model
    assert section is not None
    if model is None:
        abstract = section.abstract(shape, num_classes)
        check_data(abstract, shape, num_classes)
        if check:
            _checked(make(*model_objective(abstract, section.stage)))
        model = section.build(shape, num_classes, init_key(config.seed))
    check_data(model, shape, num_classes)
    learner = make(*model_objective(model, section.stage))
    return _checked(learner) if check else learner


def _checked(learner: Learner) -> Learner:
    memory_of(learner).check()
    return learner
