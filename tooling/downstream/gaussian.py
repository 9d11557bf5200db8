"""A user's script: samples Gaussian data by its exact denoiser, with types that `mypy --strict` follows end to end."""

import jax
import jax.numpy as jnp

from artifex.guidance import ClassifierFree
from artifex.samplers import DDIM, DDPM, Sampler, prior, sample
from artifex.schedules import (
    Clipped,
    ConditionalDenoiser,
    Denoiser,
    Discrete,
    NoiseLevel,
    Schedule,
    betas,
    expand,
    grid,
)

STD = 0.3


def towards(x_t: jax.Array, level: NoiseLevel[jax.Array], cond: jax.Array | None) -> jax.Array:
    """E[x0 | x_t] of normal data with mean ``cond`` and standard deviation STD."""
    mean = jnp.zeros(()) if cond is None else expand(cond, x_t)
    alpha, variance = expand(level.alpha, x_t), expand(level.alpha**2 * STD**2 + level.sigma**2, x_t)
    return mean + alpha * STD**2 / variance * (x_t - alpha * mean)


def draw(sampler: Sampler, schedule: Schedule, denoiser: Denoiser, count: int) -> jax.Array:
    """``count`` samples of 4 numbers each."""
    tableau = sampler.tableau(schedule, grid.trailing(1000, 50))
    noise_key, walk_key = jax.random.split(jax.random.key(0))
    return sample(denoiser, tableau, prior(tableau, (count, 4), noise_key), walk_key)


def main() -> None:
    """Prints mean and standard deviation for each sampler."""
    count = 4096
    schedule = Discrete(betas.linear(1000))
    conditional: ConditionalDenoiser[jax.Array] = towards
    denoiser = Clipped(ClassifierFree[jax.Array](1.0)(conditional, jnp.full((count,), 0.5)), limit=5.0)
    for sampler in (DDIM(), DDPM()):
        samples = draw(sampler, schedule, denoiser, count)
        mean, std = float(jnp.mean(samples)), float(jnp.std(samples))
        print(f"{sampler}: mean {mean:.3f}, standard deviation {std:.3f}")
        if not (abs(mean - 0.5) < 0.02 and abs(std - STD) < 0.05):
            raise SystemExit(f"expected mean 0.5 and standard deviation {STD}")


if __name__ == "__main__":
    main()
