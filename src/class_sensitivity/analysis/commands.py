"""The commands that a report advises."""

from collections.abc import Sequence

from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import Condition


def sweep_command(
    study: Study, conditions: Sequence[Condition], seeds: Sequence[int], *, models: Sequence[str] = ()
) -> str:
    """What runs the baseline and these conditions with the recipe of a study, one sweep a series.

    Args:
        study: The study.
        conditions: What is run.
        seeds: With these seeds.
        models: By these models instead of the study's own.

    Examples:
        >>> study = Study.of_preds([0, 1], {(Condition(), 1): [0, 1]}, ("cat", "dog"), data="cifar10", model="cnn6")
        >>> sweep_command(study, [Condition("shuffle", 0.1), Condition("shuffle", 0.2)], [1, 2])
        'python train.py -m noise.frac=0,0.1,0.2 seed=1,2 data=cifar10 model=cnn6'
        >>> sweep_command(study, [Condition()], range(6, 41))
        "python train.py -m 'seed=range(6,41)' data=cifar10 model=cnn6"
        >>> sweep_command(study, [Condition()], [*range(1, 11), 20])
        'python train.py -m seed=1,2,3,4,5,6,7,8,9,10,20 data=cifar10 model=cnn6'
        >>> on_less = Condition("shuffle", 0.1, reduction_frac=0.5)
        >>> sweep_command(study, [Condition(), on_less], [1]).split(" && ")[1]
        'python train.py -m reduction.frac=0.5 noise.frac=0.1 seed=1 data=cifar10 model=cnn6'
    """
    levels: dict[str, set[float]] = {}
    for condition in conditions:
        if condition.is_baseline:
            continue
        if condition.is_noisy and condition.is_reduced:
            levels.setdefault(condition.sweep, set()).add(condition.level)
        else:
            levels.setdefault(condition.sweep, {0}).add(condition.level)  # the baseline is one run more
    if not any(0 in shares for shares in levels.values()):  # a sweep of noise on less data does not pass by it
        levels = {"": set(), **levels}
    in_a_row = len(seeds) > 10 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    listed = f"'seed=range({seeds[0]},{seeds[-1] + 1})'" if in_a_row else f"seed={','.join(map(str, seeds))}"
    recipe = [*(study.words or (f"data={study.data}", f"model={study.model}"))]
    if models:
        recipe = [word for word in recipe if not word.lstrip("'+").startswith(("model=", "model."))]
        recipe.append(f"model={','.join(models)}")
    fixed = " ".join([listed, *recipe])
    sweeps = [f"{sweep}={','.join(map(str, sorted(shares)))} " if sweep else "" for sweep, shares in levels.items()]
    return " && ".join(f"python train.py -m {sweep}{fixed}" for sweep in sweeps)
