"""All metrics of two sets of features at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from artifex.training.evaluation import class_entropy, density, discrepancy, frechet, manifold
from artifex.training.evaluation.class_entropy import inception_score
from artifex.training.evaluation.density import density_coverage
from artifex.training.evaluation.discrepancy import kid, mmd
from artifex.training.evaluation.features import Features, together
from artifex.training.evaluation.frechet import fid
from artifex.training.evaluation.manifold import precision_recall
from artifex.training.evaluation.record import Score, Setting, counted, listed
from artifex.training.evaluation.sliced import sliced_wasserstein

Metric = Literal["fid", "kid", "inception_score", "precision_recall", "density_coverage", "sliced_wasserstein", "mmd"]
"""The metrics that compare two samples, by their names on the command line."""
METRICS: Final[Mapping[Metric, Callable[[Features, Features], tuple[Score, ...]]]] = {
    "fid": lambda generated, real: (fid(generated, real),),
    "kid": lambda generated, real: (kid(generated, real),),
    "inception_score": lambda generated, _: (inception_score(generated),),
    "precision_recall": precision_recall,
    "density_coverage": density_coverage,
    "sliced_wasserstein": lambda generated, real: (sliced_wasserstein(generated, real),),
    "mmd": lambda generated, real: (mmd(generated, real),),
}
_CHECKS: Final[Mapping[Metric, Callable[[int, int, Features], None]]] = {
    "fid": lambda generated, real, of: frechet.check_counts(generated, real, of.width),
    "kid": lambda generated, real, of: discrepancy.check_least(generated, real, discrepancy.LEAST_OF_KID),
    "inception_score": lambda generated, real, of: class_entropy.check_splits(class_entropy.SPLITS, generated, of),
    "precision_recall": lambda generated, real, of: manifold.check_k(manifold.K, generated, real),
    "density_coverage": lambda generated, real, of: manifold.check_k(density.K, generated, real),
    "sliced_wasserstein": lambda generated, real, of: None,
    "mmd": lambda generated, real, of: discrepancy.check_least(generated, real, 2),
}
"""The requirements of each metric: of as many generated and real samples, with features such as these."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set of generated samples.

    Attributes:
        extractor: what the features are, by name.
        generated: how many generated samples.
        real: how many real ones.
        scores: all that could be computed.
        left_out: why others could not, by metric.
        sampling: how the generated samples were drawn, or where they were read; None where that was not given.
    """

    extractor: str
    generated: int
    real: int
    scores: tuple[Score, ...]
    left_out: Mapping[str, str]
    sampling: Mapping[str, Setting] | None = None

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __getitem__(self, metric: str) -> Score:
        """The score of a metric; a KeyError where there is none."""
        for score in self.scores:
            if score.metric == metric:
                return score
        raise KeyError(metric)

    def __str__(self) -> str:
        """What was compared, and a line a metric."""
        lines = [f"{self.extractor}; {counted(self.generated, self.real)}"]
        if self.sampling is not None:
            lines.append(f"  {'samples':<20}{listed(self.sampling)}")
        for s in self.scores:
            lines.append(f"  {s.metric:<20}{s.said_value:<20}{s.said_settings}".rstrip())
        return "\n".join([*lines, *(f"  {name} left out: {why}" for name, why in self.left_out.items())])

    def as_json(self) -> dict[str, object]:
        """What JSON can hold of it: all."""
        return asdict(self)


def check_metrics(metrics: Sequence[Metric], generated: int, real: int, features: Features) -> None:
    """Raise a ValueError for a metric that so many samples do not allow, before they are drawn.

    Args:
        metrics: which ones.
        generated: how many generated samples there will be.
        real: how many real ones.
        features: of any sample, by the extractor that will be used.
    """
    for metric in metrics:
        try:
            _CHECKS[metric](generated, real, features)
        except ValueError as error:
            raise ValueError(f"{metric}: {error}") from error


def evaluate(
    generated: Features,
    real: Features,
    metrics: Sequence[Metric] | None = None,
    *,
    sampling: Mapping[str, Setting] | None = None,
) -> Evaluation:
    """Hold generated samples against real ones.

    Args:
        generated: of generated samples.
        real: of real ones, of the same extractor.
        metrics: which ones; None is every metric that these features allow, the others left out with the reason.
        sampling: how the generated samples were drawn, to be kept beside the scores: sampler, steps, guidance scale,
            seed. ``Run.sampling_settings`` has it for the samples of a run.

    Raises:
        ValueError: for sets of two extractors, a metric that is not known or, where ``metrics`` are named, one that
            can't be computed.
    """
    together(generated, real)
    if metrics is not None and (not metrics or not set(metrics) <= set(METRICS)):
        raise ValueError(f"metrics must be of {', '.join(get_args(Metric))}, got {', '.join(metrics) or 'none'}")
    scores, left_out = list[Score](), dict[str, str]()
    for metric in METRICS if metrics is None else metrics:
        try:
            scores += METRICS[metric](generated, real)
        except ValueError as error:
            if metrics is not None:
                raise
            left_out[metric] = str(error)
    return Evaluation(generated.extractor, generated.count, real.count, tuple(scores), left_out, sampling)
