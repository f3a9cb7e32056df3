"""What is measured, and how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it.

    Attributes:
        data: The name of the data set.
        repeats: How often each thing is measured.
        epochs: Epochs of a training in `speed`.
        images: Training images of one there, or None for all.
        seeds: Seeds of the default recipe in `accuracy`.
        recipe_epochs: Epochs there, or None for the recipe's.
        later: Runs after the first one in a process, in `startup`.
        little: Share of the examples removed for a run with almost no training.
        short: Share removed for the runs of `scaling`.
        reductions: Shares removed there, for the dependence on the size of the training set.
        batch_sizes: Batch sizes there.
        epoch_numbers: Epochs there.
        threads: Numbers of threads there.
        sweep: Numbers of runs there.
        probe: Images on which the usual way's numbers of workers are compared.
        analysed: Runs to analyse.
        square: Side of the large matrix product.
    """

    data: str = "cifar10"
    repeats: int = 3
    epochs: int = 1
    images: int | None = None
    seeds: int = 1
    recipe_epochs: int | None = None
    later: int = 5
    little: float = 0.99
    short: float = 0.8
    reductions: tuple[float, ...] = (0.0, 0.5, 0.9)
    batch_sizes: tuple[int, ...] = (64, 128, 256, 512)
    epoch_numbers: tuple[int, ...] = (2, 4)
    threads: tuple[int, ...] = (1, 2)
    sweep: tuple[int, ...] = (1, 2, 4)
    probe: int = 5000
    analysed: int = 1000
    square: int = 2048


QUICK = Plan(
    data="digits",
    repeats=2,
    recipe_epochs=2,
    later=2,
    little=0.5,
    short=0.5,
    reductions=(0.0, 0.5),
    batch_sizes=(64, 128),
    epoch_numbers=(2,),
    sweep=(1, 2),
    probe=200,
    analysed=20,
    square=256,
)
