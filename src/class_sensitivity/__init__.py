"""Which classes can a model be fooled about, by wrong labels or by missing data?

    import class_sensitivity as cs

    study = cs.load_runs("runs")[0]
    results = cs.analyse(study)
    results.relative(noise_frac=0.2).to_pandas()

Importing the package imports nothing else; a name is imported when it is first used, and none of them needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from class_sensitivity.analysis.contrasts import cell_contrasts, class_contrasts, pair_contrasts
    from class_sensitivity.analysis.estimate import Estimate
    from class_sensitivity.analysis.loading import LoadedRuns, load_runs
    from class_sensitivity.analysis.results import RelativeMatrix, Results
    from class_sensitivity.analysis.sensitivity import analyse, relative_matrix
    from class_sensitivity.analysis.study import Study
    from class_sensitivity.runs.condition import BASELINE, Condition

#: Name -> the module that it is from.
_MODULES = {
    "load_runs": "analysis.loading",
    "LoadedRuns": "analysis.loading",
    "Study": "analysis.study",
    "Condition": "runs.condition",
    "BASELINE": "runs.condition",
    "analyse": "analysis.sensitivity",
    "Results": "analysis.results",
    "RelativeMatrix": "analysis.results",
    "relative_matrix": "analysis.sensitivity",
    "class_contrasts": "analysis.contrasts",
    "cell_contrasts": "analysis.contrasts",
    "pair_contrasts": "analysis.contrasts",
    "Estimate": "analysis.estimate",
}

__all__ = [
    "BASELINE",
    "Condition",
    "Estimate",
    "LoadedRuns",
    "RelativeMatrix",
    "Results",
    "Study",
    "__version__",
    "analyse",
    "cell_contrasts",
    "class_contrasts",
    "load_runs",
    "pair_contrasts",
    "relative_matrix",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
