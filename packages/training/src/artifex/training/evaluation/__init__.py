"""Metrics of generated samples, each with its feature extractor and its numbers of samples."""

from artifex.training.evaluation.class_entropy import inception_score as inception_score
from artifex.training.evaluation.classifier_features import classifier as classifier
from artifex.training.evaluation.density import density_coverage as density_coverage
from artifex.training.evaluation.features import Extractor as Extractor
from artifex.training.evaluation.features import Features as Features
from artifex.training.evaluation.features import raw as raw
from artifex.training.evaluation.frechet import fid as fid
from artifex.training.evaluation.frechet import frechet_distance as frechet_distance
from artifex.training.evaluation.inception_file import inception as inception
from artifex.training.evaluation.kernel_distance import Kernel as Kernel
from artifex.training.evaluation.kernel_distance import Polynomial as Polynomial
from artifex.training.evaluation.kernel_distance import Rbf as Rbf
from artifex.training.evaluation.kernel_distance import kid as kid
from artifex.training.evaluation.kernel_distance import mmd as mmd
from artifex.training.evaluation.kernel_distance import mmd_squared as mmd_squared
from artifex.training.evaluation.likelihood_bits import likelihood as likelihood
from artifex.training.evaluation.manifold import precision_recall as precision_recall
from artifex.training.evaluation.metrics import Evaluation as Evaluation
from artifex.training.evaluation.metrics import Metric as Metric
from artifex.training.evaluation.metrics import evaluate as evaluate
from artifex.training.evaluation.score import Score as Score
from artifex.training.evaluation.sliced import sliced_wasserstein as sliced_wasserstein
from artifex.training.evaluation.statistics import Statistics as Statistics

__all__ = [
    "Evaluation",
    "Extractor",
    "Features",
    "Kernel",
    "Metric",
    "Polynomial",
    "Rbf",
    "Score",
    "Statistics",
    "classifier",
    "density_coverage",
    "evaluate",
    "fid",
    "frechet_distance",
    "inception",
    "inception_score",
    "kid",
    "likelihood",
    "mmd",
    "mmd_squared",
    "precision_recall",
    "raw",
    "sliced_wasserstein",
]
