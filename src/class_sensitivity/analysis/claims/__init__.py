"""Claims of published papers, judged from results: one file a paper, with its set of claims as `CLAIMS`."""

import pkgutil
from importlib import import_module

from class_sensitivity.analysis.claims.claim_set import ClaimSet


def claims_about(data_name: str) -> ClaimSet | None:
    """The set of claims that is about a data set, or None.

    Args:
        data_name: Name of the data set.

    Examples:
        >>> claims_about("cifar10").title
        "The article's claims"
        >>> claims_about("made-up") is None
        True
    """
    for module in pkgutil.iter_modules(__path__):
        claims: ClaimSet | None = getattr(import_module(f"{__name__}.{module.name}"), "CLAIMS", None)
        if claims is not None and claims.data == data_name:
            return claims
    return None
