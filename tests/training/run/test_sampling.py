import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int

from artifex.samplers import SAMPLERS, SamplerName
from artifex.schedules import X0, Discrete, NetworkDenoiser, betas
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.schedules import DiscreteSchedule, ScheduleConfig
from artifex.training.config.yaml import parse_config
from artifex.training.run.sampling import SampleGenerator
from artifex.training.section import kind, models

pytestmark = pytest.mark.slow

CHAIN = DiscreteSchedule(steps=20)
PATH = Discrete(betas.cosine(20))


def constant(values: Array, x: Float[Array, "b *d"], t: Float[Array, " b"], cond: Int[Array, " b"] | None) -> Array:
    """A network that returns each class's one sample; the null label's is the last."""
    value = jnp.full(len(x), 0.25) if cond is None else values[cond]
    return jnp.broadcast_to(value.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)


def halved(values: Array, x: Float[Array, "b *d"], t: Float[Array, " b"], cond: Int[Array, " b"] | None) -> Array:
    return 0.5 * x


def drawing(config: SamplingConfig, shape: tuple[int, ...], classes: int | None) -> SampleGenerator:
    return SampleGenerator.from_config(config, CHAIN, shape, classes)


@pytest.mark.parametrize("name", [kind(model) for model in models(ScheduleConfig)])
def test_every_sampler_walks_every_schedule_to_clean_data(name: str) -> None:
    """In tables alone: finite, from (nearly) pure noise, and at the end only x0 is left."""
    config = parse_config(f"{{data: {{kind: toy}}, backbone: {{kind: mlp}}, schedule: {name}}}")
    schedule = config.schedule.build()
    grid = config.schedule.timesteps(6)
    for sampler in SAMPLERS.values():
        walk = sampler.tableau(schedule, grid)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((walk.evaluate, walk.base, walk.noise)))
        assert walk.level.sigma[0] > 30 * walk.level.alpha[0] or walk.level.alpha[0] < 0.05
        assert walk.end.sigma <= 1e-6


def test_samples_are_what_guidance_makes_of_the_labels() -> None:
    """x0 = n + w (c - n) for a network whose answer is c under a label and n under none; images are held to 1."""
    values = jnp.asarray([0.1, -0.3, 0.9, 0.2])
    denoiser = NetworkDenoiser(constant, X0(), values)
    labels = np.array([2, 0, 1, 0, 2], np.int32)
    for guidance, shape, high in ((1.5, (2,), 9.0), (3.0, (2, 2, 1), 1.0)):
        plan = drawing(SamplingConfig(steps=4, guidance=guidance), shape, 3)
        out = np.concatenate(list(plan.draw(denoiser, 5, labels, jax.random.key(0), 2)))
        known = np.asarray(values, np.float64)
        expected = np.clip(known[3] + guidance * (known[labels] - known[3]), -high, high)
        assert out.shape == (5, *shape)
        assert np.allclose(out.reshape(5, -1), expected[:, None], atol=1e-5)


def test_without_classes_the_network_is_told_none() -> None:
    plan = drawing(SamplingConfig(steps=3), (2,), None)
    assert plan.labels(4) is None
    denoiser = NetworkDenoiser(constant, X0(), jnp.zeros(1))
    out = np.concatenate(list(plan.draw(denoiser, 3, None, jax.random.key(0), 64)))
    assert np.allclose(out, 0.25, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_sample_depends_on_its_place_and_not_on_its_batch(sampler: SamplerName) -> None:
    plan, denoiser = (
        drawing(SamplingConfig(sampler=sampler, steps=5), (3,), None),
        NetworkDenoiser(halved, X0(), jnp.zeros(1)),
    )
    whole, parts, other = (
        np.concatenate(list(plan.draw(denoiser, 7, None, jax.random.key(seed), batch)))
        for seed, batch in ((0, 7), (0, 3), (1, 3))
    )
    assert np.allclose(whole, parts, atol=1e-6)
    assert np.abs(whole - other).min() > 1e-6
    assert len(np.unique(np.round(whole, 4), axis=0)) == 7
    sizes = [len(part) for part in plan.draw(denoiser, 7, None, jax.random.key(0), 3)]
    assert sizes == [3, 3, 1]


def test_labels_come_in_turn() -> None:
    plan = drawing(SamplingConfig(steps=2), (2,), 3)
    for labels, expected in ((plan.labels(5), [0, 1, 2, 0, 1]), (plan.labels(3, [2, 0]), [2, 0, 2])):
        assert labels is not None
        assert labels.tolist() == expected
    for wrong in ([3], [-1], []):
        with pytest.raises(ValueError, match=r"labels must be in \[0, 2\], at least one, got"):
            plan.labels(1, wrong)
    with pytest.raises(ValueError, match=r"labels must be left out for a network without classes, got \[0\]"):
        drawing(SamplingConfig(steps=2), (2,), None).labels(1, [0])
