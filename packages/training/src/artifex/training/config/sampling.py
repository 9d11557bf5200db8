"""The settings of samples and previews."""

from pydantic import PositiveInt

from artifex.samplers import SAMPLERS, Sampler, SamplerName
from artifex.training.section import Section


class SamplingConfig(Section):
    """The settings of sampling.

    Attributes:
        sampler: the method.
        steps: number of steps; a method of second order may call the network twice in one.
        guidance: scale of classifier-free guidance; 1 is no guidance. It has no effect without labels.
    """

    sampler: SamplerName = "ddim"
    steps: PositiveInt = 50
    guidance: float = 1.0

    def build(self) -> Sampler:
        """Return the sampler."""
        return SAMPLERS[self.sampler]


class PreviewConfig(SamplingConfig):
    """Pictures of samples during training.

    Attributes:
        every: steps between them.
        count: number of samples in each, from the same noise every time.
    """

    every: PositiveInt = 500
    count: PositiveInt = 40
