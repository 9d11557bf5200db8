"""All metrics of two sets of features at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from artifex.training.evaluation import class_entropy, density, frechet, kernel_distance, manifold
from artifex.training.evaluation.class_entropy import inception_score
from artifex.training.evaluation.density import density_coverage
from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.frechet import fid
from artifex.training.evaluation.kernel_distance import kid, mmd
from artifex.training.evaluation.manifold import precision_recall
from artifex.training.evaluation.score import Score, Setting, counted, listed
from artifex.training.evaluation.sliced import sliced_wasserstein

Metric = Literal["fid", "kid", "inception_score", "precision_recall", "density_coverage", "sliced_wasserstein", "mmd"]
"""Names of the metrics."""
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
    "kid": lambda generated, real, of: kernel_distance.check_least(generated, real, kernel_distance.LEAST_OF_KID),
    "inception_score": lambda generated, real, of: class_entropy.check_splits(class_entropy.SPLITS, generated, of),
    "precision_recall": lambda generated, real, of: manifold.check_k(manifold.K, generated, real),
    "density_coverage": lambda generated, real, of: manifold.check_k(density.K, generated, real),
    "sliced_wasserstein": lambda generated, real, of: None,
    "mmd": lambda generated, real, of: kernel_distance.check_least(generated, real, 2),
}
"""The requirements of each metric on the numbers of generated and real samples, and on the features."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set of generated samples.

    Attributes:
        extractor: name of the feature extractor.
        generated: number of generated samples.
        real: number of real samples.
        scores: of the metrics that could be computed.
        skipped: reasons why others could not, by metric.
        sampling: settings of the generated samples, or the path they were read from; None if not given.
    """

    extractor: str
    generated: int
    real: int
    scores: tuple[Score, ...]
    skipped: Mapping[str, str]
    sampling: Mapping[str, Setting] | None = None

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __getitem__(self, metric: str) -> Score:
        """Return the score of a metric; a KeyError if there is none."""
        for score in self.scores:
            if score.metric == metric:
                return score
        raise KeyError(metric)

    def __str__(self) -> str:
        """Describe the comparison, with a line a metric."""
        lines = [f"{self.extractor}; {counted(self.generated, self.real)}"]
        if self.sampling is not None:
            lines.append(f"  {'samples':<20}{listed(self.sampling)}")
        for s in self.scores:
            lines.append(f"  {s.metric:<20}{s.value_text:<20}{s.settings_text}".rstrip())
        return "\n".join([*lines, *(f"  {name} skipped: {reason}" for name, reason in self.skipped.items())])

    def as_json(self) -> dict[str, object]:
        """Convert to JSON values."""
        return asdict(self)


def check_metrics(metrics: Sequence[Metric], generated: int, real: int, features: Features) -> None:
    """Raise a ValueError for a metric that needs more samples, before they are drawn.

    Args:
        metrics: their names.
        generated: number of generated samples.
        real: number of real samples.
        features: of any sample, from the same extractor.
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
    """Compare generated samples with real ones.

    Args:
        generated: of generated samples.
        real: of real samples, from the same extractor.
        metrics: their names; None is every metric that these features allow, others are skipped with a reason.
        sampling: settings of the generated samples, to be kept beside the scores: sampler, steps, guidance scale, seed;
            see ``Run.sampling_settings``.

    Raises:
        ValueError: for sets of two extractors, an unknown metric or, if ``metrics`` are given, one that can't be
            computed.
    """
    check_comparable(generated, real)
    if metrics is not None and (not metrics or not set(metrics) <= set(METRICS)):
        raise ValueError(f"metrics must be of {', '.join(get_args(Metric))}, got {', '.join(metrics) or 'none'}")
    scores, skipped = list[Score](), dict[str, str]()
    for metric in METRICS if metrics is None else metrics:
        try:
            scores += METRICS[metric](generated, real)
        except ValueError as error:
            if metrics is not None:
                raise
            skipped[metric] = str(error)
    return Evaluation(generated.extractor, generated.count, real.count, tuple(scores), skipped, sampling)
