"""The walk of a pipeline: from noise, or from given latents, along a table."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.backbones.functional import functional
from artifex.generative_models.interop import Scheduler
from artifex.guidance import Guidance, bind
from artifex.pipelines.condition import Condition, ConditionedNetwork
from artifex.pipelines.program import Program
from artifex.samplers import SAMPLERS, Inpainted, Sampler, Tableau, sample, sample_with_callback, start_from
from artifex.schedules import Denoiser, Discrete, NetworkDenoiser, ScaledTime
from artifex.schedules.arrays import HostArray, record

Latents = Float[Array, "b *z"]
Grid = Callable[[int], HostArray]
Progress = Callable[[int], None]
"""A function of the number of rows that are done."""
ROUNDING: Final = 9
"""Decimals to which a number of steps is rounded: 0.3 * 10 exceeds 3 otherwise."""


@record
class Start:
    """The state that a walk begins in, and what it keeps.

    Attributes:
        latents: the state itself, without further noise; None to draw it.
        clean: clean latents that the noise is added to; None for pure noise.
        known: clean latents that are kept where ``mask`` is 1; None if nothing is.
        mask: in [0, 1], None without ``known``.
    """

    latents: Latents | None = None
    clean: Latents | None = None
    known: Latents | None = None
    mask: Float[Array, "b h w 1"] | None = None


class Walk:
    """A network and a scheduler, compiled together once a shape.

    Args:
        network: an ``nnx.Module`` that is called with ``(x, t, cond)``.
        scheduler: the schedule, prediction, sampler and grid of its folder.
    """

    def __init__(self, network: Any, scheduler: Scheduler) -> None:  # noqa: ANN401 -- any backbone
        module, self.parameters = functional(network)
        self.network, self.scheduler = ConditionedNetwork(module), scheduler
        # A network may learn the variance of a step that the sampler does not use.
        learns = getattr(getattr(network, "config", None), "learn_sigma", False)
        self._variance = scheduler.learned_variance or bool(learns)
        self._listener: Progress | None = None
        self._program = Program(self._run)

    def plan(
        self,
        steps: int,
        *,
        sampler: str | Sampler | None = None,
        grid: Grid | HostArray | None = None,
        strength: float | None = None,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> Tableau[HostArray]:
        """The table of a walk or of a part of it.

        Args:
            steps: the steps of the whole walk.
            sampler: a method or its name in ``artifex.samplers.SAMPLERS``; None is the scheduler's.
            grid: times, noise first, or a function from ``steps`` to them; None is the scheduler's.
            strength: the fraction of the steps that is walked, the last ones; None for all.
            part: the fractions of the noise at which the walk begins and ends, 0 at pure noise, 1 at clean data.

        Raises:
            ValueError: for a value out of range, or if no step is left.
        """
        scheduler = self.scheduler
        if sampler is None and grid is None and strength is None and part == (0.0, 1.0):
            return scheduler.tableau(steps)
        times = scheduler.times(steps) if grid is None else grid(steps) if callable(grid) else np.asarray(grid)
        count = len(times) - 1
        if strength is not None:
            kept = int(round(strength * count, ROUNDING))
            if kept < 1:
                raise ValueError(f"strength must leave at least one of {count} steps, got {strength}: take more steps")
            times = times[count - kept :]
        first, last = self._between(times, *part)
        method = scheduler.sampler if sampler is None else named_sampler(sampler)
        whole = method.tableau(scheduler.schedule, times[first:])
        return whole if part[1] == 1 else _ended(whole, method.tableau(scheduler.schedule, times[first : last + 1]))

    def _between(self, times: HostArray, begin: float, end: float) -> tuple[int, int]:
        """The first and the last index of the part of a grid between two fractions of the chain."""
        chain = self.scheduler.schedule
        most = float(chain.steps) if isinstance(chain, Discrete) else float(chain.times(1)[0])
        whole = isinstance(chain, Discrete)
        cuts = [round(most * (1 - f)) if whole else most * (1 - f) for f in (begin, end)]
        calls = times[:-1]
        first = 0 if begin == 0 else int(np.sum(calls >= cuts[0]))
        last = len(calls) if end == 1 else int(np.sum(calls >= cuts[1]))
        if last <= first:
            raise ValueError(f"begin and end must leave at least one of {len(calls)} steps, got {begin} and {end}")
        return first, last

    def __call__(
        self,
        tableau: Tableau[HostArray],
        guidance: Guidance[Condition],
        condition: Condition,
        start: Start,
        seeds: Sequence[int],
        shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Latents:
        """Walk the latents of ``len(seeds)`` pictures, each from its own seed alone."""
        self._listener = progress
        keys = jax.vmap(jax.random.key)(jnp.asarray(np.asarray(seeds, np.uint32)))
        arguments = (self.parameters, tableau, bind(guidance, tableau), condition, start, keys)
        out: Array = self._program(*arguments, shape=shape, watched=progress is not None)
        return out

    def _run(
        self,
        parameters: Any,  # noqa: ANN401 -- a state of any network
        tableau: Tableau[Array],
        guidance: Guidance[Condition],
        condition: Condition,
        start: Start,
        keys: Array,
        *,
        shape: tuple[int, ...],
        watched: bool,
    ) -> Array:
        scheduler = self.scheduler
        prediction = scheduler.prediction
        if scheduler.time_scale != 1:
            prediction = ScaledTime(prediction, scheduler.time_scale)
        network = NetworkDenoiser(self.network, prediction, parameters, self._variance)
        denoiser: Denoiser = scheduler.bounded(guidance(network, condition))
        first, later = jax.vmap(jax.random.split, out_axes=1)(keys)
        x = start.latents
        if x is None:
            x = start_from(tableau, jnp.zeros(shape) if start.clean is None else start.clean, first)
        if start.known is not None and start.mask is not None:
            denoiser = Inpainted(denoiser, start.known, start.mask)
        if watched:
            return sample_with_callback(denoiser, tableau, x, later, callback=self._report)
        return sample(denoiser, tableau, x, later)

    def _report(self, row: Array, _state: Array, _x0: Array) -> None:
        """Pass a row that is done to the listener of the present call."""
        if self._listener is not None:
            self._listener(int(row) + 1)


def _ended(whole: Tableau[HostArray], part: Tableau[HostArray]) -> Tableau[HostArray]:
    """The first rows of a table, which ends where ``part`` does.

    ``part`` alone may end in another way: multistep solvers lower the order of their last step, for the sake of clean
    data. It is returned where its rows are not those of ``whole``, as with some singlestep solvers.
    """
    rows = part.rows
    if not np.array_equal(whole.level.t[: rows + 1], np.append(part.level.t, part.end.t)):
        return part
    return Tableau(
        level=part.level,
        end=part.end,
        evaluate=whole.evaluate[:rows],
        noise=whole.noise[:rows],
        base=whole.base[:rows],
        base_noise=whole.base_noise[:rows],
        keep=whole.keep[:rows],
        stretch=whole.stretch[:rows],
        uses=whole.uses,
    )


def named_sampler(sampler: str | Sampler) -> Sampler:
    """A method, or that of a name.

    Raises:
        ValueError: for an unknown name.
    """
    if not isinstance(sampler, str):
        return sampler
    for name, method in SAMPLERS.items():
        if name == sampler:
            return method
    raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
