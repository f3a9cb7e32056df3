"""Labels that people gave, and noise with the same counts that is blind to the single image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.confusion import confusion_counts
from class_sensitivity.errors import ConfigError, require
from class_sensitivity.stress.noise.counts import deal
from class_sensitivity.stress.noise.files import content_digest, read_array, require_file, unreadable
from class_sensitivity.stress.noise.kind import Examples, Labels, NoiseKind, noise_kind

#: Value of `noise.column` -> what it is called in CIFAR-10N's file.
COLUMNS = {
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
}


@dataclass(frozen=True)
class _FromPeople(NoiseKind):
    """What both kinds have: a file of labels that people gave to all N training examples.

    Attributes:
        file: CIFAR-10N's `CIFAR-10_human.pt`; or for any data set a .npy or .csv file of (N,) classes as numbers, in
            the order of its training examples.
        column: Of a .pt file, which labels: one of `COLUMNS`.
    """

    file: str | None = None
    column: str | None = None

    def check_settings(self) -> None:
        require_file(self.name, "noise.file", self.file, (".pt", ".npy", ".csv"))
        if self._has_columns:
            require(self.column in COLUMNS, "noise.column", self.column, f"one of {', '.join(COLUMNS)}")
        else:
            require(self.column is None, "noise.column", self.column, f"left out, as {self.file} holds no columns")

    def identity(self) -> dict[str, Any]:
        if self.file is None:
            return {}
        column = {} if self.column is None else {"column": self.column}
        return {"file": content_digest("noise.file", self.file), **column}

    def given(self) -> dict[str, Any]:
        return {} if self.file is None else {"file": self.file}

    @property
    def _has_columns(self) -> bool:
        return self.file is not None and Path(self.file).suffix == ".pt"

    def _labels_for(self, examples: Examples) -> Labels:
        """(m,) the labels that people gave to examples.

        Raises:
            ConfigError: The file cannot be read, or is not about this data set in its order.
        """
        assert self.file is not None
        clean = examples.train_labels
        if self._has_columns:
            assert self.column is not None
            stored = _read_columns(self.file, ("clean_label", COLUMNS[self.column]))
            _check_labels(self.file, stored["clean_label"], examples)
            if differ := int((stored["clean_label"] != clean).sum()):
                raise ConfigError(
                    f"noise.file={self.file} does not fit this data set: its clean labels are others on {differ:,} of "
                    f"{len(clean):,} training examples; it must be about the same images in the same order."
                )
            people = stored[COLUMNS[self.column]]
        else:
            people = read_array("noise.file", self.file)[1]
            people = people[:, 0] if people.ndim == 2 and people.shape[1] == 1 else people
        _check_labels(self.file, people, examples)
        return people.astype(np.int64)[examples.indices]


@noise_kind
@dataclass(frozen=True)
class Human(_FromPeople):
    """Gives each touched example the label that people gave it, right or wrong.

    At `noise.frac=1` every example has it, and the effective rate is that of the people: of CIFAR-10N 9.01 % (aggre),
    17.23, 18.12 and 17.64 % (random1 to 3) and 40.21 % (worse). Source: J. Wei and others, "Learning with noisy labels
    revisited", ICLR 2022. Nothing is drawn.
    """

    name: str = "human"

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        return self._labels_for(examples)


@noise_kind
@dataclass(frozen=True)
class HumanMatched(_FromPeople):
    """Gives as many of the touched examples of each class each label as people did, but to examples that are drawn.

    At the same seed and share it touches the same examples as `human` with the same (K, K) counts, so that the
    difference between the two is what depends on the single image.
    """

    name: str = "human_matched"

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        labels = examples.labels
        return deal(labels, confusion_counts(labels, self._labels_for(examples), examples.num_classes), rng)


def _read_columns(path: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a .pt file: a mapping of names to arrays or tensors."""
    import torch  # late: a sweep that is complete needs none of it
    from torch.serialization import safe_globals

    # What NumPy's arrays consist of; it makes nothing but arrays. Its module has had two names.
    make_array: Any = np.zeros(0).__reduce__()[0]
    modules = [(make_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    try:
        with safe_globals([*modules, np.ndarray, np.dtype, type(np.dtype(np.int64))]):
            stored: Any = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except OSError as error:
        raise unreadable("noise.file", path, error) from None
    except Exception as error:  # torch raises several kinds for files that are damaged or hold something else
        raise ConfigError(
            f"noise.file={path} cannot be loaded ({type(error).__name__}): it must be CIFAR-10_human.pt as the authors "
            "of CIFAR-10N give it out."
        ) from error
    if not isinstance(stored, dict) or (absent := [name for name in names if name not in stored]):
        missing = absent[0] if isinstance(stored, dict) else names[0]
        raise ConfigError(f"noise.file={path} has no {missing}: it must be CIFAR-10N's CIFAR-10_human.pt.")
    return {name: np.asarray(stored[name]) for name in names}


def _check_labels(path: str, labels: NDArray[Any], examples: Examples) -> None:
    number, num_classes = len(examples.train_labels), examples.num_classes
    if labels.shape != (number,):
        shape = " x ".join(f"{size:,}" for size in labels.shape)
        raise ConfigError(
            f"noise.file={path} holds {shape} labels, and this data set has {number:,} training examples: it must "
            "hold one for each."
        )
    allowed = np.isin(labels, np.arange(num_classes))
    if not allowed.all():
        raise ConfigError(
            f"noise.file={path} holds the label {labels[~allowed][0]:g}: labels must be whole numbers from 0 to "
            f"{num_classes - 1}, the positions in {', '.join(examples.class_names)}."
        )
