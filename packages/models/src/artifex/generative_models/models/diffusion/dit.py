"""Diffusion transformers conditioned on labels."""

from functools import partial
from typing import ClassVar, Unpack

from flax import nnx
from jaxtyping import Array, Int

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel, Outputs
from artifex.generative_models.models.diffusion.checks import check_condition, check_options
from artifex.generative_models.models.diffusion.guidance import ClassifierFreeGuidance, GuidanceScale
from artifex.generative_models.models.diffusion.networks import BackboneFn, DiTOptions, dit
from artifex.generative_models.models.diffusion.parameters import DiTParameters, Parameters
from artifex.generative_models.models.diffusion.process import Steps, X
from artifex.generative_models.models.diffusion.rngs import drop_labels
from artifex.generative_models.models.diffusion.sampling import SampleOptions
from artifex.kernels.ranges import check_whole
from artifex.samplers import sample
from artifex.schedules import Estimate, split_variance

Labels = Int[Array, " b"]


class DiTModel(DiffusionModel[Array]):
    """DDPM with a transformer over patches, and classifier-free guidance on labels.

    Calling it returns the predicted noise alone.

    Args:
        config: images ``(H, W, C)`` and parameters; see ``parameters.DiTParameters``.
        rngs: as in ``DiffusionModel``.
        backbone_fn: as in ``DiffusionModel``; None makes a DiT of the parameters.
        **kwargs: see ``networks.DiTOptions``.

    Raises:
        ValueError: as ``DiffusionModel``, and for parameters that do not fit each other or the images.

    References: Peebles and Xie 2022, https://arxiv.org/abs/2212.09748
    """

    parameters_type: ClassVar[type[Parameters]] = DiTParameters
    parameters: DiTParameters

    def __init__(
        self,
        config: ModelConfig,
        *,
        rngs: nnx.Rngs,
        backbone_fn: BackboneFn | None = None,
        **kwargs: Unpack[DiTOptions],
    ) -> None:
        check_options(kwargs, () if backbone_fn is not None else DiTOptions.__annotations__)
        super().__init__(config, backbone_fn or partial(dit, **kwargs), rngs=rngs)

    @property
    def learns_variance(self) -> bool:
        """True if the network learns the variance of a step: ``learn_sigma``."""
        return self.parameters.learn_sigma

    def __call__(  # type: ignore[override]  # the documented arguments are DiT's own
        self,
        x: X,
        t: Steps,
        y: Labels | None = None,
        *,
        deterministic: bool = False,
        cfg_scale: GuidanceScale | None = None,
    ) -> X:
        """Predict the noise in ``x``.

        Args:
            x: noisy images, ``(batch, H, W, C)``.
            t: timesteps, ``(batch,)``.
            y: labels in [0, num_classes - 1]; None for no class.
            deterministic: False for training: activate dropout and, without guidance, replace labels by the null label
                with probability ``class_dropout_prob``.
            cfg_scale: of classifier-free guidance, 1 for none; None for the config's, or 1 in training.

        Raises:
            ValueError: for timesteps or labels out of range, labels for an unconditional network, or a ``cfg_scale``
                other than 1 without labels.
        """
        return split_variance(self._predict_guided(x, t, y, deterministic, cfg_scale), x)[0]

    def outputs(
        self,
        x: X,
        t: Steps,
        y: Labels | None = None,
        *,
        deterministic: bool = False,
        cfg_scale: GuidanceScale | None = None,
    ) -> Outputs:
        """Predict as by calling the model, and return all outputs; ``loss_fn`` takes either.

        Args:
            x: noisy images, ``(batch, H, W, C)``.
            t: as of calling the model.
            y: as of calling the model.
            deterministic: as of calling the model.
            cfg_scale: as of calling the model.

        Returns:
            ``predicted_noise``, ``x_t``, ``timesteps``, and ``predicted_variance`` if it is learned, which interpolates
            the log-variance of a step from its least, at -1, to its most, at 1.
        """
        return self.named_outputs(self._predict_guided(x, t, y, deterministic, cfg_scale), x, t)

    def _predict_guided(
        self, x: X, t: Steps, y: Labels | None, deterministic: bool, cfg_scale: GuidanceScale | None
    ) -> Estimate:
        if y is None:
            _check_unguided(cfg_scale)
            return self.predict(x, self.level(t, x), deterministic=deterministic)
        if deterministic or cfg_scale is not None:
            guidance = ClassifierFreeGuidance(self._scale(cfg_scale))
            return guidance.estimate(self, x, t, y, deterministic=deterministic)
        check_condition(y, x.shape[0], self.parameters.num_classes)
        return self.predict(x, self.level(t, x), drop_labels(y, self.parameters, self.rngs), deterministic=False)

    def generate(  # type: ignore[override]  # likewise
        self,
        n_samples: int = 1,
        *,
        rngs: nnx.Rngs,
        num_steps: int = 1000,
        y: Labels | None = None,
        cfg_scale: GuidanceScale | None = None,
        img_size: int | None = None,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Sample from noise.

        Args:
            n_samples: number of samples, at least 1.
            rngs: draws all noise.
            num_steps: network calls, in [1, noise_steps], evenly spaced along the chain.
            y: labels in [0, num_classes - 1], one per sample; None for no class.
            cfg_scale: of classifier-free guidance, 1 for none; None for the config's.
            img_size: side of the images; that of ``input_dim`` if None.
            clip_denoised: clip every predicted $x_0$ to [-1, 1].
            **kwargs: see ``sampling.SampleOptions``; ``guidance`` replaces ``cfg_scale``.

        Returns:
            ``(n_samples, H, W, C)``.

        Raises:
            ValueError: for values out of range, and as ``DiffusionModel.generate``.
        """
        for one, other, given in (("y", "conditioning", y), ("cfg_scale", "guidance", cfg_scale)):
            if given is not None and other in kwargs:
                raise ValueError(f"{one} and {other} mean the same: one of them must be left out, got both")
        labels = kwargs.get("conditioning", y)
        if labels is not None:
            guidance = ClassifierFreeGuidance(self._scale(cfg_scale)).guidance(self)
            kwargs = {"guidance": guidance, **kwargs, "conditioning": labels}
        else:
            _check_unguided(cfg_scale)
        if img_size is not None:
            check_whole("img_size", img_size, 1)
        shape = None if img_size is None else (img_size, img_size, self.config.input_dim[-1])
        plan = self._plan(self._ancestral, self.times(num_steps), n_samples, shape, rngs, clip_denoised, kwargs)
        return self._to_data(sample(*plan))

    def _scale(self, cfg_scale: GuidanceScale | None) -> GuidanceScale:
        return self.parameters.cfg_scale if cfg_scale is None else cfg_scale


def _check_unguided(cfg_scale: GuidanceScale | None) -> None:
    """Raise a ValueError for a guidance scale without labels."""
    if not (cfg_scale is None or (isinstance(cfg_scale, int | float) and cfg_scale == 1)):
        raise ValueError(
            f"y must be given with cfg_scale, whose guidance steers towards labels; got cfg_scale={cfg_scale}"
        )
