"""Latent diffusion: autoencoders, losses, and samples of latents whose noise is known."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array, Float

from artifex.backbones import MLP, AutoencoderKL, UNet
from artifex.generative_models.models.diffusion import LDMModel, ModelConfig, SimpleDecoder, SimpleEncoder
from tests.models.exact import (
    COUNT,
    SHAPE,
    ExactNoise,
    assert_moments,
    config,
    linear_abar,
    moments,
    traced,
    trailing,
)

pytestmark = pytest.mark.slow

STEPS = 100
ABAR = linear_abar(STEPS, 1e-3, 0.2)
CHAIN: dict[str, object] = {"noise_steps": STEPS, "beta_start": 1e-3, "beta_end": 0.2}
X = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))


class Doubling(nnx.Module):
    """An autoencoder whose latents are twice the data's first channel, with log-variance -1."""

    def __init__(self, _: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.two = nnx.Param(jnp.array(2.0))

    def encode(self, x: Float[Array, "b *d"]) -> tuple[Array, Array]:
        mean = self.two[...] * x[..., :1]
        return mean, jnp.full_like(mean, -1.0)

    def decode(self, z: Float[Array, "b *z"]) -> Array:
        return jnp.concatenate([z / self.two[...]] * 2, axis=-1)


def exact(**parameters: object) -> LDMModel:
    return LDMModel(
        config=config("LDMModel", **CHAIN, **parameters),
        rngs=nnx.Rngs(0),
        autoencoder_fn=Doubling,
        backbone_fn=lambda _, rngs: ExactNoise(ABAR),
    )


def simple(**parameters: object) -> LDMModel:
    return LDMModel(config=config("LDMModel", noise_steps=4, latent_dim=3, **parameters), rngs=nnx.Rngs(0))


def test_latents_are_walked_scaled_and_decoded_unscaled() -> None:
    """The law of the process is that of z' = 0.25 z, and z is twice the data."""
    samples = exact(scale_factor=0.25).sample(COUNT)
    assert samples.shape == (COUNT, *SHAPE)
    assert_moments(0.25 * 2 * samples[..., 0], *moments(ABAR, trailing(STEPS, STEPS), 1.0))
    np.testing.assert_array_equal(samples[..., 0], samples[..., 1])


def test_trajectory_ends_in_the_samples() -> None:
    model = exact()
    states = model.sample(2, return_trajectory=True, rngs=nnx.Rngs(3))
    assert [s.shape for s in states] == [(2, 4, 4, 2)] * STEPS
    np.testing.assert_allclose(states[-1], model.sample(2, rngs=nnx.Rngs(3)), rtol=1e-6)
    np.testing.assert_allclose(states[-1], model.generate(2, rngs=nnx.Rngs(3)), rtol=1e-6)


def test_terms_of_the_loss_are_their_formulas() -> None:
    model = exact(scale_factor=0.5, kl_weight=0.1)
    t = jnp.array([0, 50, 99])
    out = model(X, t, training=True)
    mean = 2 * np.asarray(X[..., :1], np.float64)
    noise = (out["latents"] - mean) / np.exp(-0.5)
    assert_moments(noise, 0.0, 1.0)
    abar = ABAR[np.asarray(t)].reshape(3, 1, 1, 1)
    x_t = np.sqrt(abar) * 0.5 * out["latents"] + np.sqrt(1 - abar) * out["noise"]
    np.testing.assert_allclose(out["x_t"], x_t, rtol=1e-5, atol=1e-5)
    mse = np.mean((np.asarray(out["predicted_noise"]) - np.asarray(out["noise"])) ** 2)
    reconstruction = np.mean((np.repeat(np.asarray(out["latents"]) / 2, 2, -1) - np.asarray(X)) ** 2)
    kl = 0.5 * np.sum(mean**2 + np.exp(-1.0) - 1 + 1) / X.size
    expected = {"autoencoder": reconstruction + 0.1 * kl, "diffusion": mse, "joint": reconstruction + 0.1 * kl + mse}
    for stage, loss in expected.items():
        terms = model.loss_fn({"x": X}, out, stage=stage)  # type: ignore[arg-type]
        np.testing.assert_allclose(terms["loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(
            [terms["mse"], terms["reconstruction"], terms["kl"]], [mse, reconstruction, kl], 1e-5
        )
    losses = model.loss_fn({"x": X, "noise": out["noise"] + 1}, out)
    expected_mse = np.mean((np.asarray(out["predicted_noise"]) - np.asarray(out["noise"]) - 1) ** 2)
    np.testing.assert_allclose(losses["mse"], expected_mse, rtol=1e-5)


def test_each_stage_trains_its_own_part() -> None:
    model = simple()
    assert isinstance(model.backbone, MLP)
    model.backbone.out.kernel[...] = jnp.ones_like(model.backbone.out.kernel[...])  # initially 0: no gradients

    @nnx.jit(static_argnames="stage")
    def size(model: LDMModel, rngs: nnx.Rngs, stage: str) -> tuple[Array, Array]:
        def loss(model: LDMModel, rngs: nnx.Rngs) -> Array:
            outputs = model(X, jnp.array([0, 1, 2]), rngs=rngs, training=True)
            return model.loss_fn(X, outputs, stage=stage)["loss"]  # type: ignore[arg-type]

        gradient = nnx.grad(loss)(model, rngs)
        parts = (gradient["autoencoder"], gradient["backbone"])
        of_autoencoder, of_backbone = (sum(jnp.abs(g).sum() for g in jax.tree.leaves(p)) for p in parts)
        return jnp.asarray(of_autoencoder), jnp.asarray(of_backbone)

    for stage, trains in (("autoencoder", (True, False)), ("diffusion", (False, True)), ("joint", (True, True))):
        assert tuple(bool(s > 0) for s in size(model, nnx.Rngs(1), stage)) == trains


def test_simple_is_two_mlps_of_the_given_widths() -> None:
    encoder, decoder = SimpleEncoder((4, 4, 2), 3, rngs=nnx.Rngs(0)), SimpleDecoder(3, (4, 4, 2), rngs=nnx.Rngs(0))
    assert [layer.kernel.shape for layer in encoder.layers] == [(32, 32), (32, 64), (64, 6)]
    assert [layer.kernel.shape for layer in decoder.layers] == [(3, 64), (64, 32), (32, 32)]
    model = simple(encoder_hidden_dims=[5], decoder_hidden_dims=[6, 7])
    mean, logvar = model.encode(X)
    assert mean.shape == logvar.shape == (3, 3)
    assert model.decode(mean).shape == X.shape
    assert [layer.kernel.shape[1] for layer in model.autoencoder.encoder.layers] == [5, 6]  # type: ignore[attr-defined]
    assert [layer.kernel.shape[1] for layer in model.autoencoder.decoder.layers] == [6, 7, 32]  # type: ignore[attr-defined]
    assert isinstance(model.backbone, MLP)
    assert traced(lambda rngs: model.sample(2, rngs=rngs)).shape == (2, *SHAPE)


def test_vae_has_spatial_latents_of_any_size() -> None:
    """Traced, not compiled."""
    small = config("LDMModel", noise_steps=2, latent_dim=3, encoder_type="vae", encoder_hidden_dims=(4, 8))

    def build() -> Array:
        model = LDMModel(config=small.model_copy(update={"hidden_dims": (8,)}), rngs=nnx.Rngs(0))
        assert isinstance(model.autoencoder, AutoencoderKL)
        assert isinstance(model.backbone, UNet)
        assert model.latent_shape == (2, 2, 3)
        assert model(X, jnp.array([0, 1, 1]))["reconstruction"].shape == X.shape
        return model.generate(2, shape=(8, 4, 2))

    assert jax.eval_shape(build).shape == (2, 8, 4, 2)


def test_reparameterize_is_the_formula() -> None:
    """A draw of mean + exp(logvar / 2) eps, from the given rngs alone."""
    model, mean, logvar = exact(), jnp.full((COUNT, 4), 0.5), jnp.full((COUNT, 4), -1.0)
    z = model.reparameterize(mean, logvar, rngs=nnx.Rngs(1))
    assert_moments(z, 0.5, float(np.exp(-0.5)))
    np.testing.assert_array_equal(model.reparameterize(mean, logvar, rngs=nnx.Rngs(1)), z)


def test_default_parameters_are_the_documented_ones() -> None:
    made: list[tuple[int, ...]] = []

    def build(rngs: nnx.Rngs) -> Array:
        model = LDMModel(config=config("LDMModel"), rngs=rngs)
        made.append(model.latent_shape)
        return model.sample(2, rngs=rngs)

    assert traced(build).shape == (2, *SHAPE)
    assert made == [(8,)]


def ldm(**fields: object) -> Callable[[], object]:
    base: dict[str, object] = {"name": "m", "model_class": "LDMModel", "input_dim": (4, 4, 2)}
    return lambda: LDMModel(config=ModelConfig.model_validate(base | fields), rngs=nnx.Rngs(0))


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("scale_factor", ldm(parameters={"scale_factor": 0.0}), "scale_factor"),
    ("latent_dim", ldm(parameters={"latent_dim": 0}), "latent_dim"),
    ("encoder_type", ldm(parameters={"encoder_type": "conv"}), "encoder_type"),
    ("num_samples", lambda: exact().sample(0), "n_samples must be at least 1, got 0"),
    ("data for latents", lambda: exact().q_sample(X, jnp.array(3)), r"\(batch, \*\(4, 4, 1\)\), got \(3, 4, 4, 2\)"),
    ("noise", lambda: exact().sample(2, initial_noise=X[:2]), r"initial_noise must be of shape \(2, 4, 4, 1\), got"),
    ("stage", lambda: exact().loss_fn(X, {}, stage="both"), "'autoencoder', 'diffusion' or 'joint', got 'both'"),  # type: ignore[arg-type]
    ("decoder", ldm(parameters={"decoder_type": "vae"}), "decoder_type must be encoder_type, 'simple', got 'vae'"),
    (
        "mirror",
        ldm(parameters={"encoder_type": "vae", "decoder_hidden_dims": (3, 4)}),
        r"decoder_hidden_dims must be \(64, 32\) for 'vae'",
    ),
    ("rank", ldm(input_dim=(4,), parameters={"encoder_type": "vae"}), r"input_dim must be \(H, W, C\) for encoder"),
    ("activation", ldm(activation="relu"), "activation is 'silu', got 'relu'"),
    ("x", lambda: simple().encode(X[:, :2]), r"x must be of shape \(batch, \*\(4, 4, 2\)\), got \(3, 2, 4, 2\)"),
    ("z", lambda: simple().decode(jnp.ones((2, 4))), r"z must be of shape \(batch, 3\), got \(2, 4\)"),
    ("widths", lambda: SimpleEncoder((2,), 1, [0], rngs=nnx.Rngs(0)), r"at least 1, got \(2, 0, 2\)"),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_says_got_and_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
