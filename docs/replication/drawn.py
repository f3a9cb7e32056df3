"""The figures of docs/replication.md: copies of those of a report, and those of several studies."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from measured import DRAWS
from PIL import Image
from studies import FOLDER, LONGER, MAIN, MODELS, RECORDS, SHORTER, studies_of

from class_sensitivity.analysis.exchange import ExchangeRates, accuracy_exchange
from class_sensitivity.analysis.model_dependence import model_dependences
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.training_length import training_lengths
from class_sensitivity.figures.axes import AxesArray, figure_of, house_style
from class_sensitivity.figures.exchange import plot_exchange
from class_sensitivity.figures.model_dependence import plot_model_dependence
from class_sensitivity.figures.training_length import plot_training_lengths

#: Figure of a report -> its name here.
FIGURES = {
    f"{MAIN}/fig2_confusion": "fig2_confusion",
    f"{MAIN}/fig3_mistaken": "fig3_mistaken",
    f"{MAIN}/fig4_shuffle": "fig4_noise",
    f"{MAIN}/fig4_shuffle_means": "fig4_means",
    f"{MAIN}/fig5_reduction": "fig5_reduction",
    f"{MAIN}/fig5_reduction_means": "fig5_means",
    f"{MAIN}/fig6_noise_against_reduction": "fig6_noise20_reduction60",
    f"{MAIN}/fig7_variety": "fig7_variety",
    f"{MAIN}/fig8_diagonal": "fig8_diagonal",
    f"{MAIN}/fig9_noise_against_reduction": "fig9_noise20_reduction20",
    f"{MAIN}/fig10_order": "fig10_order",
    f"{MAIN}/sensitivity": "sensitivity",
}

#: Figures that packed records do not make: without a report that has one, the figure that is there stays.
NEED_PROBABILITIES = ("fig3_mistaken",)


def write_figures(reports: Sequence[Path], folder: Path = FOLDER / "figures") -> None:
    """The page's figures, each from the first report that has it; those of several studies are drawn here.

    Raises:
        FileNotFoundError: No report has a figure, and it is not one of those that packed records have not.
    """
    folder.mkdir(exist_ok=True)
    for source, name in FIGURES.items():
        found = [path for report in reports if (path := report / "figures" / f"{source}.png").exists()]
        if found:
            _shrink(found[0], folder / f"{name}.png")
        elif name not in NEED_PROBABILITIES:
            raise FileNotFoundError(f"No report has figures/{source}.png.")
    studies = studies_of(RECORDS)
    (lengths,) = training_lengths([studies[name] for name in (*SHORTER, "cnn6", *LONGER)])
    drawings = {
        "exchange": lambda: _exchange(analyse(studies["cnn6"], resamples=DRAWS)),
        "models": lambda: plot_model_dependence(model_dependences([studies[name] for name in MODELS])),
        "training_length": lambda: plot_training_lengths(lengths),
    }
    for name, draw in drawings.items():
        path = folder / f"{name}.png"
        with house_style():
            figure_of(draw()).savefig(path, dpi=100)
        _shrink(path, path)


def _exchange(results: Results) -> AxesArray:
    study = results.study
    panels: AxesArray = Figure(figsize=(10, 9), layout="constrained").subplots(2, 1, sharey=True)
    titles = {
        "reduction": "fewer examples, as many passes",
        "reduction-matched-steps": "fewer examples, more passes",
    }
    for axes, (series, title) in zip(panels, titles.items(), strict=True):
        curve = tuple(study.paired_series(series))
        found = [accuracy_exchange(study, noise, curve) for noise in study.series("shuffle")[1:]]
        plot_exchange(results, [ExchangeRates(each, each) for each in found], ax=axes)
        axes.set_title(title)
    return panels


def _shrink(source: Path, target: Path) -> None:
    """A copy at most 1,400 pixels wide."""
    image = Image.open(source).convert("RGB")
    if image.width > 1400:
        image = image.resize((1400, round(1400 / image.width * image.height)), Image.Resampling.LANCZOS)
    image.save(target, optimize=True)
