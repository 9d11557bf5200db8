"""Models of ``artifex.generative_models`` as pipelines."""

from dataclasses import replace
from typing import Any, Final

from flax import nnx
from jaxtyping import Array, Key

from artifex.generative_models.interop import Scheduler
from artifex.generative_models.models.diffusion import DiffusionModel, LDMModel
from artifex.pipelines.latents import Latents, Pixels, PixelSpace, Space, drawn
from artifex.pipelines.program import Program
from artifex.pipelines.unconditional import ClassConditional, Unconditional


class ModelSpace:
    """The latents of an ``LDMModel``.

    Args:
        model: the model; its latents may be flat.
    """

    factor: Final = 1

    def __init__(self, model: LDMModel) -> None:
        self.channels = model.latent_shape[-1]
        self._shape, self._size = model.latent_shape, model.config.input_dim
        self._scale = model.parameters.scale_factor
        self._graph, self.parameters = nnx.split(model.autoencoder)
        self._encode, self._decode = Program(self._encoded), Program(self._decoded)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """See ``Space``; the size must be that of the model's data."""
        if (height, width) != self._size[:2]:
            raise ValueError(f"size must be that of the model's data, {self._size[:2]}, got {(height, width)}")
        return self._shape

    def encode(
        self, pixels: Pixels, keys: Key[Array, " b"] | None = None, *, tile: int | None = None, raw: bool = False
    ) -> Latents:
        """See ``Space``; there are no tiles."""
        out: Array = self._encode(self.parameters, pixels, keys, raw=raw)
        return out

    def decode(self, latents: Latents, *, tile: int | None = None) -> Pixels:
        """See ``Space``; there are no tiles."""
        out: Array = self._decode(self.parameters, latents)
        return out

    def _encoded(self, parameters: Any, x: Pixels, keys: Array | None, *, raw: bool) -> Latents:  # noqa: ANN401
        network = nnx.merge(self._graph, parameters, copy=True)
        mean, logvar = network.encode(x)
        z = drawn(mean, logvar, keys)
        return z if raw else z * self._scale

    def _decoded(self, parameters: Any, latents: Latents) -> Pixels:  # noqa: ANN401
        network = nnx.merge(self._graph, parameters, copy=True)
        out: Array = network.decode(latents / self._scale)
        return out


def from_model(model: DiffusionModel[Any]) -> Unconditional | ClassConditional:
    """A trained model of images as a pipeline, with its own schedule, prediction and default sampler.

    Args:
        model: of data ``(height, width, channels)``; a copy of its present parameters is taken.

    Raises:
        ValueError: for data that are no images.
    """
    shape = model.config.input_dim
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"model must be of images, (height, width, 1 or 3), got {shape}")
    sampler, times = model.default_method()
    scheduler = Scheduler(
        model.schedule, model.prediction, sampler, model.times, model.limit, learned_variance=model.learns_variance
    )
    space: Space = ModelSpace(model) if isinstance(model, LDMModel) else PixelSpace(shape[-1])
    classes = model.parameters.num_classes
    pipeline: Unconditional | ClassConditional
    if classes is None:
        pipeline = Unconditional(model.backbone, scheduler, space, size=shape[:2])
    else:
        pipeline = ClassConditional(model.backbone, scheduler, space, size=shape[:2], num_classes=classes)
    pipeline.defaults = replace(pipeline.defaults, steps=len(times) - 1)
    return pipeline
