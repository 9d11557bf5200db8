"""A user's script: a model of their own, with a network of their own, typed end to end."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from artifex.generative_models.models.diffusion import DiffusionModel, ModelConfig
from artifex.generative_models.models.diffusion.base import Out
from artifex.generative_models.models.diffusion.parameters import DiffusionParameters, Parameters


class Network(nnx.Module):
    """A linear map of the sample and its time."""

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        self.layer = nnx.Linear(features + 1, features, rngs=rngs)

    def __call__(
        self, x: jax.Array, t: jax.Array, cond: jax.Array | None = None, *, deterministic: bool = True
    ) -> jax.Array:
        """The noise in ``x``."""
        out: jax.Array = self.layer(jnp.concatenate([x, t[:, None] / 1000], axis=-1))
        return out


class PointParameters(DiffusionParameters):
    """Parameters of ``Points``."""

    radius: float = 0.5


class Points(DiffusionModel):
    """A model of points on a circle."""

    parameters_type: ClassVar[type[Parameters]] = PointParameters
    parameters: PointParameters

    def data(self, count: int, key: jax.Array) -> jax.Array:
        """Points that it should learn."""
        angle = jax.random.uniform(key, (count,), maxval=2 * jnp.pi)
        return self.parameters.radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> Network:
    """The network of a configuration."""
    return Network(config.input_dim[-1], rngs=rngs)


def loss_of(model: DiffusionModel[Out], x: jax.Array, rngs: nnx.Rngs) -> jax.Array:
    """A training loss for any model, whatever calling it gives."""
    t = jax.random.randint(rngs.time(), x.shape[:1], 0, model.noise_steps)
    noise = jax.random.normal(rngs.noise(), x.shape)
    outputs = model(model.q_sample(x, t, noise), t, training=True)
    return model.loss_fn({"x": x, "noise": noise}, outputs)["loss"]


def main() -> None:
    """Prints the loss of a batch, and samples."""
    parameters = {"noise_steps": 20, "beta_end": 0.5, "radius": 0.7}
    config = ModelConfig(name="points", model_class="Points", input_dim=(2,), parameters=parameters)
    model = Points(config, network, rngs=nnx.Rngs(0))
    loss, gradient = nnx.value_and_grad(loss_of)(model, model.data(64, jax.random.key(0)), nnx.Rngs(1))
    samples: jax.Array = model.generate(16, rngs=nnx.Rngs(2))
    print(f"loss {float(loss):.3f}, {len(jax.tree.leaves(gradient))} gradients, {len(samples)} samples")
    if samples.shape != (16, 2):
        raise SystemExit(f"expected samples of shape (16, 2), got {samples.shape}")


if __name__ == "__main__":
    main()
