"""Conformal prediction for lesion segmentation: three guarantees, one order statistic.

`CLS` bounds the share of the lesion that a mask misses, `ConfidenceSets` puts an inner and an
outer mask around the truth, `Margin` widens a mask by a margin that holds. All three turn one
case into one number (`confseg.critical`) and take one conformal quantile (`confseg.conformal`).
"""

from . import bounds, datasets, evaluate, fields, metrics, phantoms, plots
from ._version import __version__
from .calibrated import NotCalibratedError
from .case import Case
from .choosing import choose_field, common_scale
from .cls import CLS
from .critical import inner_cutoff, outer_cutoff
from .cross import CrossConformal
from .exercises import check
from .full import FullSets, full_conformal
from .groups import Mondrian, predicted_volume
from .interact import explore
from .learn_then_test import LearnThenTest
from .margins import Margin, Margins
from .martingale import DriftReport, drift
from .planning import cases_needed
from .quantile import compliance_law, conformal_quantile, coverage_law
from .quizzes import Quiz
from .risk import RCPS, ConformalRiskControl
from .sets import ConfidenceSets, Sets
from .shift import DensityRatio, reweighted
from .steps import StepLoss
from .tables import Table
from .weighted import effective_cases, weighted_quantile

__all__ = [
    "CLS",
    "Case",
    "ConfidenceSets",
    "ConformalRiskControl",
    "CrossConformal",
    "DensityRatio",
    "DriftReport",
    "FullSets",
    "LearnThenTest",
    "Margin",
    "Margins",
    "Mondrian",
    "NotCalibratedError",
    "Quiz",
    "RCPS",
    "Sets",
    "StepLoss",
    "Table",
    "__version__",
    "bounds",
    "cases_needed",
    "check",
    "choose_field",
    "common_scale",
    "compliance_law",
    "conformal_quantile",
    "coverage_law",
    "datasets",
    "drift",
    "effective_cases",
    "evaluate",
    "explore",
    "fields",
    "full_conformal",
    "inner_cutoff",
    "metrics",
    "outer_cutoff",
    "phantoms",
    "plots",
    "predicted_volume",
    "reweighted",
    "weighted_quantile",
]
