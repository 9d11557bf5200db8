"""Stored averages of a run, one safetensors file a step, and the reconstruction of any width from them."""

import json
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from artifex.training.ema.posthoc import reconstruction
from artifex.training.ema.power import PowerEMA, gamma
from artifex.training.files import replacing
from artifex.training.named_leaves import named
from artifex.training.sharding.distributed import on_host

P = TypeVar("P")


class Snapshots:
    """Power-function averages under one folder, by update.

    Args:
        folder: of the files, ``00001000.safetensors`` for update 1000; created at the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """List the updates after which averages were stored, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("*.safetensors") if path.stem.isdecimal())

    def save(self, step: int, ema: PowerEMA, averages: tuple[P, ...]) -> None:
        """Store averages, atomically; in a run of several processes all call this and the first one writes.

        Args:
            step: number of updates, at least 1.
            ema: the widths of the averages.
            averages: a pytree of arrays for each width.

        Raises:
            ValueError: if ``step`` is less than 1.
        """
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        arrays = on_host(named(averages))
        if jax.process_index() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(step)) as file:
                file.write(save(arrays, {"step": str(step), "sigma_rels": json.dumps(ema.sigma_rels)}))

    def drop_after(self, step: int) -> None:
        """Delete the averages of updates after ``step``, which a resumed run stores again; 0 deletes all."""
        if jax.process_index() == 0:
            for late in self.steps():
                if late > step:
                    self._path(late).unlink()

    def reconstruct(self, sigma_rel: float, like: P, step: int | None = None) -> tuple[P, float]:
        """Reconstruct the average of width ``sigma_rel`` after update ``step``, the last stored if that is None.

        Sums are computed in float64, one file at a time.

        Args:
            sigma_rel: in (0, 12^-1/2].
            like: a pytree of arrays or abstract arrays with the structure of an average.
            step: one of ``steps()``.

        Returns:
            The average in the dtypes of ``like``, and the relative error of its profile: see ``reconstruction``.

        Raises:
            FileNotFoundError: if nothing is stored, or nothing for ``step``.
            ValueError: if a file is corrupt or its names or shapes are not those of ``like``, or ``sigma_rel`` is out
                of range.
        """
        goal, steps = gamma(sigma_rel), self.steps()
        last = (steps[-1] if steps else None) if step is None else step
        if last not in steps:
            kept = f"those of {steps}" if steps else "none"
            raise FileNotFoundError(
                f"{self.folder} must hold stored averages{'' if step is None else f' of step {step}'}, got {kept}"
            )
        stored = [(at, width, i) for at in steps if at <= last for i, width in enumerate(self._widths(at))]
        weights, error = reconstruction(
            np.array([gamma(width) for _, width, _ in stored]),
            np.array([at for at, _, _ in stored], np.float64),
            goal,
            float(last),
        )
        leaves = jax.tree.leaves(like)
        total = [np.zeros(leaf.shape) for leaf in leaves]
        for (at, _, i), weight in zip(stored, weights, strict=True):
            self._add(total, list(named({i: like})), weight, at)
        arrays = [jnp.asarray(sum_, leaf.dtype) for sum_, leaf in zip(total, leaves, strict=True)]
        out: P = jax.tree.unflatten(jax.tree.structure(like), arrays)
        return out, error

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:08d}.safetensors"

    def _widths(self, step: int) -> tuple[float, ...]:
        """Read the widths in a file."""
        try:
            with safe_open(self._path(step), "np") as file:
                widths = json.loads((file.metadata() or {})["sigma_rels"])
            return PowerEMA(tuple(widths)).sigma_rels
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path(step)} must be a file of stored averages, got {error!r}") from error

    def _add(self, total: list[np.ndarray], names: list[str], weight: float, step: int) -> None:
        """Add the arrays of these names in one file, times their weight."""
        path = self._path(step)
        with safe_open(path, "np") as file:
            index = names[0].split(".")[0]
            odd = set(names) ^ {name for name in file.keys() if name.split(".")[0] == index}  # noqa: SIM118
            if odd:
                raise ValueError(
                    f"{path} must hold the parameters of this network, got a difference in {sorted(odd)[:3]}"
                )
            for name, sum_ in zip(names, total, strict=True):
                array = file.get_tensor(name)
                if array.shape != sum_.shape:
                    raise ValueError(f"{name} must be of shape {sum_.shape} in {path}, got {array.shape}")
                sum_ += weight * array.astype(np.float64)
