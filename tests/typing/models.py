"""The types that users of the models, of guidance and of samplers rely on; this file is checked and never run."""

from typing import assert_type

import jax
from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.models.diffusion import DDIMModel, DDPMModel, DiffusionModel, ModelConfig
from artifex.guidance import ClassifierFree, Conditional, Guidance
from artifex.samplers import Ddim, Ddpm, Sampler, Tableau, prior, sample, sample_trajectory
from artifex.schedules import Denoiser, Discrete, Host, NetworkDenoiser, NoiseLevel, Velocity, betas, grid


class OwnNetwork(nnx.Module):
    """A user's network."""

    def __call__(
        self, x: Array, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True
    ) -> Array:
        return x


class OwnModel(DiffusionModel):
    """A user's model."""

    def twice(self) -> Array:
        return self.generate(2)


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> OwnNetwork:
    return OwnNetwork()


def own_denoiser(x_t: Array, level: NoiseLevel[Array], cond: Array | None = None) -> Array:
    return x_t


def models(config: ModelConfig, rngs: nnx.Rngs, x: Array, t: Array) -> None:
    model = OwnModel(config, network, rngs=rngs)
    assert_type(model(x, t), dict[str, Array])
    assert_type(model.q_sample(x, t), Array)
    assert_type(model.p_sample(x, x, t), Array)
    assert_type(model.predict_start_from_noise(x, t, x), Array)
    assert_type(model.loss_fn({"x": x}, model(x, t)), dict[str, Array])
    assert_type(model.chain, Discrete)
    ddpm = DDPMModel(config, rngs=rngs)
    assert_type(ddpm.forward_diffusion(x, t), tuple[Array, Array])
    assert_type(ddpm.sample((4, 8, 8, 1), "ddim", 50, initial_noise=x), Array)
    ddim = DDIMModel(config, rngs=rngs)
    assert_type(ddim.get_ddim_timesteps(50), Array)
    assert_type(ddim.ddim_sample(4, conditioning=t, guidance=ClassifierFree(2.0)), Array)
    assert_type(ddim.ddim_reverse(x, 50), Array)


def samplers(parameters: dict[str, Array], x: Array, key: Array) -> None:
    schedule = Discrete(betas.cosine(1000))
    methods: list[Sampler] = [Ddim(eta=0.5), Ddpm("large")]
    tableau = methods[0].tableau(schedule, grid.trailing(1000, 50))
    assert_type(tableau, Tableau[Host])
    assert_type(tableau.level.alpha, Host)
    assert_type(prior(tableau, (4, 8), key), Array)
    assert_type(sample(own_denoiser, tableau, x), Array)
    assert_type(sample_trajectory(own_denoiser, tableau, x, key, after=[0, 9]), tuple[Array, Array])

    def apply(p: dict[str, Array], x_t: Array, time: Array, cond: Array | None) -> Array:
        return x_t

    conditional: NetworkDenoiser[dict[str, Array], Array] = NetworkDenoiser(apply, Velocity(), parameters)
    steer: Guidance[Array] = ClassifierFree(3.0, null=jax.numpy.array(10))
    denoiser: Denoiser = steer(conditional, key)
    plain: Guidance[Array] = Conditional()
    assert_type(sample(denoiser, tableau, x), Array)
    assert_type(sample(plain(conditional, key), tableau, x), Array)
