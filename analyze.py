"""Turns run directories into relative matrices, class sensitivities, verdicts and a report.

python analyze.py
python analyze.py runs=runs out=report
"""

import hydra
from omegaconf import DictConfig

from class_sensitivity import config as configuration
from class_sensitivity.command_line import one_sentence_errors, one_sentence_run
from class_sensitivity.recipe_words import recipe_words
from class_sensitivity.settings import AnalyzeSettings

configuration.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="analyze")
def main(config: DictConfig) -> None:
    with one_sentence_run():
        settings = configuration.analyze_settings(config)
        # Imported late: --help and a mistyped setting need none of it.
        from class_sensitivity.report.build import write_report

        write_report(settings, recipe_words)


if __name__ == "__main__":
    with one_sentence_errors(AnalyzeSettings):
        main()
