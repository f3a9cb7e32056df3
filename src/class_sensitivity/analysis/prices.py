"""What to buy: new examples, or checks of the labels that are there, at given prices."""

from collections.abc import Iterator, Sequence

import numpy as np

from class_sensitivity.analysis.advice import PRICE, Advice, has_learnt, shown_cost
from class_sensitivity.analysis.exchange import Bounds, ExchangeRates
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.wording import joined
from class_sensitivity.settings import PriceSettings

CHECKS, EXAMPLES, UNDECIDED = "check labels", "buy examples", "undecided"


def shown_exchange(results: Results) -> ExchangeRates:
    """The exchange rate that speaks for all: of the noise whose cost does, else as that is chosen."""
    first = results.study.noise_series[0]
    known = of_all_examples(results)
    if results.costs:
        cost = shown_cost(results)
        known = [rates for rates in known if rates.noise == cost.noise] or known
    return max(known, key=lambda rates: (rates.noise.series == first, len(rates.overall.seeds), rates.noise.level))


def of_all_examples(results: Results) -> list[ExchangeRates]:
    """The exchange rates where no example was removed."""
    return [rates for rates in results.exchange if not rates.noise.is_reduced]


def cheaper(worth: Bounds, price: float) -> str:
    """Which of the two is certainly cheaper.

    Args:
        worth: New examples that do as much as a check.
        price: Of a check, in new examples.

    Examples:
        >>> cheaper(Bounds(np.float64(0.7), np.float64(0.5), np.float64(0.9), 0, 9), price=0.1)
        'check labels'
    """
    if worth.low > price:
        return CHECKS
    return EXAMPLES if worth.high < price else UNDECIDED


def advise_on_prices(results: Results, prices: PriceSettings) -> Iterator[Advice]:
    """What is cheaper at every noise level that was measured, if both prices are known; else up to which price."""
    every_level = of_all_examples(results)
    if not every_level or not has_learnt(results):
        return
    shown = shown_exchange(results)
    overall = shown.overall
    if np.isnan(overall.size.low):
        return
    worth, mended = overall.check_worth, overall.mended_worth
    does = (
        f"at {shown.noise.label} checking a label at random does as much as {worth.text('.2f')} new examples that are "
        f"labelled as badly; one check in {1 / overall.wrong:.1f} finds a wrong label, and if each did, it would do as "
        f"much as {mended.text('.1f')}"
    )
    if prices.example is None or prices.check is None:
        levels = "; ".join(f"{rates.noise.label}: {rates.overall.check_worth.text('.2f')}" for rates in every_level)
        pays = f"check labels while a check costs less than {worth.low:.2f} new examples"
        yield Advice(
            PRICE,
            f"at {shown.noise.label} {pays if worth.low > 0 else 'whether checking labels pays: undecided'}",
            f"Whether to check labels depends on how many are wrong. A check is worth, in new examples, {levels}. So "
            f"{does}. With your prices (price.example, price.check) the report says which is cheaper, by class.",
            condition=shown.noise,
        )
        return
    price = prices.check / prices.example
    verdict = cheaper(worth, price)
    by_level = "; ".join(f"{rates.noise.label}: {cheaper(rates.overall.check_worth, price)}" for rates in every_level)
    yield Advice(
        PRICE,
        f"{verdict} at these prices" if verdict != UNDECIDED else "checks or examples at these prices: undecided",
        f"A check costs {price:.3g} new examples, and {does}: {verdict}. By level: {by_level}. "
        + _by_class(shown, results.study.class_names, price),
        condition=shown.noise,
    )


def _by_class(rates: ExchangeRates, names: Sequence[str], price: float) -> str:
    found: dict[str, list[str]] = {CHECKS: [], EXAMPLES: [], UNDECIDED: []}
    worth = rates.classes.check_worth
    for c in np.flatnonzero(~np.isnan(worth.low)):
        found[cheaper(worth[c], price)].append(names[int(c)])
    parts = "; ".join(f"{verdict} for {joined(which)}" for verdict, which in found.items() if which)
    return f"By class: {parts}."
