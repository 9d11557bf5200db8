"""Pipelines without text: pictures from noise alone, and of classes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from artifex.generative_models.interop import Scheduler
from artifex.guidance import Conditional, Guidance
from artifex.pipelines.base import Pipeline, Prompt
from artifex.pipelines.condition import Condition
from artifex.pipelines.latents import Space
from artifex.pipelines.options import Settings

TEXT: frozenset[str] = frozenset(("negative", "clip_skip", "long", "weighted"))


class Unconditional(Pipeline):
    """A network without a condition, such as DDPM's, in pixels or in latents.

    Args:
        network: the network.
        scheduler: schedule, prediction, sampler and grid.
        space: pixels, or an autoencoder's latents.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    taken: ClassVar = Pipeline.taken - TEXT - {"guidance", "rescale"}

    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """See ``Pipeline``."""
        for prompt in prompts:
            if prompt is not None:
                raise ValueError(f"prompt must be None for a network without a condition, got {prompt!r}")
        return [(Condition(None), Condition(None))] * len(prompts)

    def guidance(self, settings: Settings, null: Condition) -> Guidance[Condition]:
        """None."""
        return Conditional()


class ClassConditional(Pipeline):
    """A network of classes with a null class, such as DiT; a prompt is the number of a class or its name.

    Args:
        network: the network.
        scheduler: schedule, prediction, sampler and grid.
        space: pixels, or an autoencoder's latents.
        size: see ``Pipeline``.
        num_classes: number of classes, which is also the null class; by default that of the network's config.
        names: of the classes.

    References: Peebles and Xie 2022, https://arxiv.org/abs/2212.09748
    """

    taken: ClassVar = Pipeline.taken - TEXT
    defaults = Settings(guidance=4.0)

    def __init__(
        self,
        network: Any,  # noqa: ANN401 -- any backbone
        scheduler: Scheduler,
        space: Space,
        *,
        size: tuple[int, int] | None = None,
        num_classes: int | None = None,
        names: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(network, scheduler, space, size=size)
        self.num_classes: int = network.config.num_classes if num_classes is None else num_classes
        self.names = dict(names or {})

    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """See ``Pipeline``."""
        null = Condition(jnp.asarray([self.num_classes], jnp.int32))
        return [(Condition(jnp.asarray([self._label(prompt)], jnp.int32)), null) for prompt in prompts]

    def _label(self, prompt: Prompt) -> int:
        count = self.num_classes
        if isinstance(prompt, str) and prompt in self.names:
            return self.names[prompt]
        if isinstance(prompt, bool) or not isinstance(prompt, int) or not 0 <= prompt < count:
            known = f", or one of the names {', '.join(sorted(self.names)[:8])} ..." if self.names else ""
            raise ValueError(f"prompt must be a class in [0, {count - 1}]{known}; got {prompt!r}")
        return prompt
