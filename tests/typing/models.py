"""The types that users of the models, of guidance and of samplers rely on; this file is checked and never run."""

from functools import partial
from typing import assert_type

import jax
from flax import nnx
from jaxtyping import Array, Float

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
    SimpleDecoder,
    SimpleEncoder,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.generative_models.models.diffusion.base import Out
from artifex.generative_models.models.diffusion.parameters import DDIMParameters
from artifex.guidance import ClassifierFree, Conditional, Guidance
from artifex.samplers import DDIM, DDPM, Sampler, Tableau, prior, sample, sample_trajectory
from artifex.schedules import Denoiser, Discrete, NetworkDenoiser, NoiseLevel, Schedule, V, betas, grid
from artifex.schedules.arrays import HostArray


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


class OwnOutputs(DiffusionModel[Array]):
    """A user's model that gives the noise alone."""

    def __call__(
        self, x: Array, timesteps: Array, *, rngs: nnx.Rngs | None = None, training: bool = False, **kwargs: object
    ) -> Array:
        return self.backbone(x, timesteps.astype(float), deterministic=not training)


class OwnClassifier(nnx.Module):
    """A user's classifier."""

    def __call__(self, x: Array, t: Array) -> Array:
        return x


class OwnAutoencoder(nnx.Module):
    """A user's autoencoder."""

    def encode(self, x: Array) -> tuple[Array, Array]:
        return x, x

    def decode(self, z: Array) -> Array:
        return z


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> OwnNetwork:
    return OwnNetwork()


def autoencoder(config: ModelConfig, *, rngs: nnx.Rngs) -> OwnAutoencoder:
    return OwnAutoencoder()


def own_denoiser(x_t: Array, level: NoiseLevel[Array], cond: Array | None = None) -> Array:
    return x_t


def loss_of(model: DiffusionModel[Out], x: Array, t: Array, noise: Array) -> Array:
    """Code for any model: what calling it gives is what its loss takes."""
    outputs = model(model.q_sample(x, t, noise), t, training=True)
    return model.loss_fn({"x": x, "noise": noise}, outputs)["loss"]


def models(config: ModelConfig, rngs: nnx.Rngs, x: Array, t: Array) -> None:
    model = OwnModel(config, network, rngs=rngs)
    assert_type(model(x, t), dict[str, Array])
    assert_type(model.q_sample(x, t), Array)
    assert_type(model.p_sample(x, x, t), Array)
    assert_type(model.generate(4, shape=(8, 8, 1), clip_denoised=False, initial_noise=x), Array)
    assert_type(model.predict_start_from_noise(x, t, x), Array)
    assert_type(model.loss_fn({"x": x}, model(x, t)), dict[str, Array])
    assert_type(model.schedule, Schedule)
    assert_type(model.chain, Discrete)
    assert_type(model.betas, Array)
    assert_type(OwnOutputs(config, network, rngs=rngs)(x, t), Array)
    assert_type(loss_of(model, x, t, x), Array)
    assert_type(loss_of(OwnOutputs(config, network, rngs=rngs), x, t, x), Array)
    ddpm = DDPMModel(config, rngs=rngs, backbone_fn=network)
    assert_type(ddpm.forward_diffusion(x, t), tuple[Array, Array])
    assert_type(ddpm.denoise_step(x, t, x, clip_denoised=False), Array)
    assert_type(ddpm.sample((4, 8, 8, 1), "ddim", 50, initial_noise=x, clip_denoised=False), Array)
    ddim = DDIMModel(config, rngs=rngs)
    assert_type(ddim.parameters, DDIMParameters)
    assert_type(ddim.get_ddim_timesteps(50), Array)
    assert_type(ddim.ddim_step(x, t, t, x, 0.5), Array)
    assert_type(ddim.ddim_sample(4, conditioning=t, guidance=ClassifierFree(2.0)), Array)
    assert_type(ddim.ddim_reverse(x, 50), Array)
    score = ScoreDiffusionModel(config=config, rngs=rngs, backbone_fn=network)
    assert_type(score(x, t), dict[str, Array])
    assert_type(score.score(x, t), Array)
    assert_type(score.sample(4, num_steps=100), Array)
    assert_type(score.sample(4, return_trajectory=True), list[Array])
    assert_type(score.parameters.sigma_max, float)


def large_models(config: ModelConfig, rngs: nnx.Rngs, x: Array, t: Array) -> None:
    ldm = LDMModel(config=config, rngs=rngs, autoencoder_fn=autoencoder, backbone_fn=network)
    assert_type(ldm.encode(x), tuple[Array, Array])
    assert_type(ldm.decode(x), Array)
    assert_type(ldm.reparameterize(x, x, rngs=rngs), Array)
    assert_type(ldm(x, t), dict[str, Array])
    assert_type(ldm.loss_fn(x, ldm(x, t), stage="diffusion"), dict[str, Array])
    assert_type(ldm.sample(4), Array)
    assert_type(ldm.sample(4, return_trajectory=True), list[Array])
    assert_type(SimpleEncoder((8, 8, 1), 4, rngs=rngs)(x), tuple[Array, Array])
    assert_type(SimpleDecoder(4, (8, 8, 1), [16, 32], rngs=rngs)(x), Array)
    dit = DiTModel(config, rngs=rngs, remat=True)
    assert_type(dit(x, t, y=t, deterministic=False), Array)
    assert_type(dit.outputs(x, t), dict[str, Array])
    assert_type(dit.loss_fn(x, dit.outputs(x, t)), dict[str, Array])
    assert_type(dit.loss_fn({"noise": x}, dit(x, t)), dict[str, Array])
    assert_type(dit.generate(4, rngs=rngs, num_steps=50, y=t, cfg_scale=linear_guidance_schedule), Array)


def guidance(config: ModelConfig, rngs: nnx.Rngs, x: Array, t: Array, step: Array) -> None:
    model = GuidedDiffusionModel(config, network, rngs=rngs, guidance_method="classifier_free", guidance_scale=3.0)
    assert_type(model.generate(n_samples=16, conditioning=t, rngs=rngs), Array)
    free = ClassifierFreeGuidance(guidance_scale=partial(linear_guidance_schedule, end_scale=4.0))
    assert_type(free(model, x, t, t), Array)
    assert_type(free.guidance(model), Guidance[Array])
    by_classifier = ClassifierGuidance(OwnClassifier(), 1.0, class_label=5)
    assert_type(by_classifier(model, x, t, class_label=t), Array)
    assert_type(apply_guidance(x, x, 7.5), Array)
    assert_type(apply_guidance(model(x, t, conditioning=t), model(x, t), t), Array)
    assert_type(linear_guidance_schedule(3, 10), float)
    assert_type(cosine_guidance_schedule(step, 10, end_scale=4.0), Array)


def samplers(parameters: dict[str, Array], x: Array, key: Array) -> None:
    schedule = Discrete(betas.cosine(1000))
    methods: list[Sampler] = [DDIM(eta=0.5), DDPM("fixed_large")]
    tableau = methods[0].tableau(schedule, grid.trailing(1000, 50))
    assert_type(tableau, Tableau[HostArray])
    assert_type(tableau.level.alpha, HostArray)
    assert_type(prior(tableau, (4, 8), key), Array)
    assert_type(sample(own_denoiser, tableau, x), Array)
    assert_type(sample_trajectory(own_denoiser, tableau, x, key, after=[0, 9]), tuple[Array, Array])

    def apply(p: dict[str, Array], x_t: Array, time: Array, cond: Array | None) -> Array:
        return x_t

    conditional: NetworkDenoiser[dict[str, Array], Array] = NetworkDenoiser(apply, V(), parameters)
    steer: Guidance[Array] = ClassifierFree(3.0, null=jax.numpy.array(10))
    denoiser: Denoiser = steer(conditional, key)
    plain: Guidance[Array] = Conditional()
    assert_type(sample(denoiser, tableau, x), Array)
    assert_type(sample(plain(conditional, key), tableau, x), Array)
