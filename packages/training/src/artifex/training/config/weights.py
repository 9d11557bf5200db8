"""Loss weights by noise level."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from artifex.schedules import weighting
from artifex.schedules.weighting import Weighting
from artifex.training.config.predictions import PredictionName, build_prediction
from artifex.training.section import Section, kinds


class UnitWeight(Section):
    """Weight 1 on the squared error of the network's output."""

    kind: Literal["unit"] = "unit"

    def build(self, sigma_data: float) -> Weighting | None:
        """Return None: no weighting."""
        return None


class UniformWeight(Section):
    """Weight 1 on the squared error of one kind of output, whatever the network predicts.

    Attributes:
        of: the kind of output.
    """

    kind: Literal["uniform"] = "uniform"
    of: PredictionName = "epsilon"

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` is for ``of: edm``."""
        return weighting.Uniform(build_prediction(self.of, sigma_data))


class MinSNRWeight(Section):
    """min(SNR, gamma) on the squared error of x0.

    Attributes:
        gamma: the largest weight.
    """

    kind: Literal["min_snr"] = "min_snr"
    gamma: PositiveFloat = 5.0

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` has no effect."""
        return weighting.MinSNR(self.gamma)


class SoftMinSNRWeight(Section):
    """SNR gamma / (SNR + gamma) on the squared error of x0: min_snr without its corner.

    Attributes:
        gamma: the limit of the weight at high SNR.
    """

    kind: Literal["soft_min_snr"] = "soft_min_snr"
    gamma: PositiveFloat = 5.0

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` has no effect."""
        return weighting.SoftMinSNR(self.gamma)


class TruncatedSNRWeight(Section):
    """max(SNR, 1) on the squared error of x0."""

    kind: Literal["truncated_snr"] = "truncated_snr"

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` has no effect."""
        return weighting.TruncatedSNR()


class P2Weight(Section):
    """SNR / (k + SNR)^gamma on the squared error of x0.

    Attributes:
        k: the SNR at which the weight bends.
        gamma: how strongly imperceptible detail is down-weighted.
    """

    kind: Literal["p2"] = "p2"
    k: PositiveFloat = 1.0
    gamma: float = Field(default=1.0, ge=0)

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` has no effect."""
        return weighting.P2(self.k, self.gamma)


class EDMWeight(Section):
    """EDM's weight: 1 on the error of a preconditioned network."""

    kind: Literal["edm"] = "edm"

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting for data of this standard deviation."""
        return weighting.EDM(sigma_data)


class SigmoidWeight(Section):
    """A sigmoid of the log-SNR on the squared error of epsilon.

    Attributes:
        bias: the log-SNR at which it is one half.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    bias: float = 0.0

    def build(self, sigma_data: float) -> Weighting | None:
        """Build the weighting; ``sigma_data`` has no effect."""
        return weighting.Sigmoid(self.bias)


WeightConfig = Annotated[
    UnitWeight
    | UniformWeight
    | MinSNRWeight
    | SoftMinSNRWeight
    | TruncatedSNRWeight
    | P2Weight
    | EDMWeight
    | SigmoidWeight,
    Field(discriminator="kind"),
    kinds(),
]
