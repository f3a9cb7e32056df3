"""The figures of docs/replication.md: copies of those of a report, and two that no report has."""

from collections.abc import Sequence
from pathlib import Path

from measured import DRAWS, FOLDER, MAIN, OTHER_MODELS, RECORDS, studies_of
from PIL import Image

from class_sensitivity.analysis.exchange import ExchangeRates, accuracy_exchange
from class_sensitivity.analysis.model_dependence import model_dependences
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.figures.axes import figure_of, house_style
from class_sensitivity.figures.exchange import plot_exchange
from class_sensitivity.figures.model_dependence import plot_model_dependence

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
    f"training-length_{MAIN}": "training_length",
}


def write_figures(reports: Sequence[Path], folder: Path = FOLDER / "figures") -> None:
    """The page's figures, each from the first report that has it; exchange rates and models are drawn here."""
    folder.mkdir(exist_ok=True)
    for source, name in FIGURES.items():
        for path in [report / "figures" / f"{source}.png" for report in reports if (report / "figures").exists()]:
            if path.exists():
                _shrink(path, folder / f"{name}.png")
                break
    studies = studies_of(RECORDS)
    _draw_exchange(analyse(studies["cnn6"], resamples=DRAWS), folder / "exchange.png")
    with house_style():
        panels = plot_model_dependence(model_dependences([studies[name] for name in ("cnn6", *OTHER_MODELS)]))
        figure_of(panels).savefig(folder / "models.png", dpi=100)
    for name in ("exchange", "models"):
        _shrink(folder / f"{name}.png", folder / f"{name}.png")


def _draw_exchange(results: Results, path: Path) -> None:
    from matplotlib.figure import Figure

    study = results.study
    with house_style():
        panels = Figure(figsize=(10, 9), layout="constrained").subplots(2, 1, sharey=True)
        titles = {
            "reduction": "fewer examples, as many passes",
            "reduction-matched-steps": "fewer examples, more passes",
        }
        for axes, (series, title) in zip(panels, titles.items(), strict=True):
            curve = tuple(study.paired_series(series))
            found = [accuracy_exchange(study, noise, curve) for noise in study.series("shuffle")[1:]]
            plot_exchange(results, [ExchangeRates(each, each) for each in found], ax=axes)
            axes.set_title(title)
        figure_of(panels).savefig(path, dpi=100)


def _shrink(source: Path, target: Path) -> None:
    """A copy at most 1,400 pixels wide."""
    image = Image.open(source).convert("RGB")
    if image.width > 1400:
        image = image.resize((1400, round(1400 / image.width * image.height)), Image.Resampling.LANCZOS)
    image.save(target, optimize=True)
