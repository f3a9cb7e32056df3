"""Trains one classifier under label noise or data reduction, or with -m a whole sweep of them.

python train.py noise.frac=0.1 seed=1
python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2,3,4,5
python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2,3,4,5 status=true
python train.py inspect=true
"""

import hydra
from omegaconf import DictConfig

from class_sensitivity import config as configuration
from class_sensitivity.command_line import (
    in_sweep,
    one_sentence_errors,
    one_sentence_run,
    refuse_experiment_without_sweep,
)
from class_sensitivity.runs.run import Run
from class_sensitivity.sweep import print_status

configuration.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    with one_sentence_run():
        refuse_experiment_without_sweep()
        run = Run.of(configuration.train_settings(config))
        if run.settings.status:
            print_status([run])
            return
        if run.settings.inspect:
            from class_sensitivity.report.inspection import inspect

            inspect(run)
            return
        # Imported late: torch takes seconds, and --help, --cfg and a mistyped setting need none of it.
        import class_sensitivity.training.libraries  # noqa: F401 - first, because it imports them faster
        from class_sensitivity.training.run import train_job

        train_job(run, show_progress=not in_sweep())


if __name__ == "__main__":
    with one_sentence_errors():
        main()
