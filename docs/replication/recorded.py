"""What the records of docs/replication.md say by themselves, and beside numbers that were published elsewhere."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from studies import AGAIN, CHECKED, CHECKED_TOO, LONGER, STUDIES

from class_sensitivity.confusion import accuracy
from class_sensitivity.runs.record import RunRecord

#: Numbers published elsewhere, beside what of ours comes nearest: (what, published, of what, study, condition).
PUBLISHED = (
    ("clean", 81.6, "5 convolutions and 1 linear layer, batch norm", "cnn6", "baseline"),
    ("clean", 95.0, "ResNet-18 (about)", "resnet18", "baseline"),
    ("20 % wrong, symmetric", 76.25, "plain 9-layer CNN, 200 epochs (in Co-teaching)", CHECKED, "noise-symmetric-0.2"),
    ("20 % wrong, symmetric", 69.18, "plain 7-layer CNN (in JoCoR)", CHECKED, "noise-symmetric-0.2"),
    ("50 % wrong, symmetric", 48.87, "plain 9-layer CNN, 200 epochs (in Co-teaching)", CHECKED, "noise-symmetric-0.5"),
    ("50 % wrong, symmetric", 42.71, "plain 7-layer CNN (in JoCoR)", CHECKED, "noise-symmetric-0.5"),
    ("45 % wrong, pairs", 49.50, "plain 9-layer CNN, 200 epochs (in Co-teaching)", CHECKED, "noise-pair-0.45"),
    *(
        (f"labels of people, {name}", number, network, f"{ours}{CHECKED_TOO}", f"human {name}")
        for network, numbers, ours in (
            ("plain ResNet-34, best epoch (CIFAR-10N's paper)", (87.77, 85.02, 77.69), "resnet18"),
            ("plain ResNet-18 (ReScience C)", (91.70, 90.20, 83.91), "resnet18"),
            ("plain ResNet-18 (ReScience C)", (91.70, 90.20, 83.91), "cnn6"),
        )
        for name, number in zip(("aggre", "random1", "worse"), numbers, strict=True)
    ),
    *(
        (f"{size} examples", number, "13-layer ConvNet, augmentation", CHECKED, f"reduction-{frac}{steps}")
        for size, number, frac in (("1,000", 53.57, 0.98), ("2,000", 66.06, 0.96), ("4,000", 79.34, 0.92))
        for steps in ("", "-matched-steps")
    ),
    ("50,000 examples", 94.18, "13-layer ConvNet, augmentation", LONGER[-1], "baseline"),
)  # fmt: skip


#: Records with the names of their studies.
Records = Sequence[tuple[str, RunRecord]]


def checks(records: Records) -> pd.DataFrame:
    """One row per study and condition of the cross-checks: accuracy, mean over seeds, least and most."""
    found: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for study, record in records:
        condition = record.identity.condition
        name = f"human {condition.noise_options['column']}" if condition.noise_kind == "human" else condition.name
        found[study, name].append(record)
    rows = []
    for (study, name), runs in sorted(found.items()):
        seen = [float(accuracy(np.array(run.confusion))) for run in runs]
        rows.append(
            {
                "study": study,
                "condition": name,
                "seeds": len(runs),
                "accuracy": np.mean(seen),
                "least": min(seen),
                "most": max(seen),
                "train_size": runs[0].train_size,
                "steps": runs[0].steps,
                "effective_noise": np.mean([run.noise.effective for run in runs]),
            }
        )
    return pd.DataFrame(rows)


def definitions(records: Records) -> pd.DataFrame:
    """One row per study and condition: what the stress really was, the least and the most over its runs."""
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for study, record in records:
        counts = np.array(record.noise.counts)
        found[study, record.identity.condition.name].append(
            {
                "train_size": record.train_size,
                "steps": record.steps,
                "nominal": record.noise.nominal,
                "effective": record.noise.effective,
                "class_totals_changed": int(np.abs(counts.sum(axis=0) - counts.sum(axis=1)).max()),
                "smallest_class": int(counts.sum(axis=1).min()),
                "largest_class": int(counts.sum(axis=1).max()),
                "smallest_test_class": int(np.sum(record.confusion, axis=1).min()),
                "largest_test_class": int(np.sum(record.confusion, axis=1).max()),
            }
        )
    rows = []
    for (study, condition), runs in sorted(found.items()):
        frame = pd.DataFrame(runs)
        row: dict[str, Any] = {"study": study, "condition": condition, "runs": len(runs)}
        for column in ("train_size", "steps", "nominal"):
            (row[column],) = frame[column].unique()
        row |= {"effective_least": frame["effective"].min(), "effective_mean": frame["effective"].mean()}
        row |= {"effective_most": frame["effective"].max()}
        row["class_totals_changed"] = frame["class_totals_changed"].max()
        for column in ("smallest_class", "smallest_test_class"):
            row[column] = frame[column].min()
        for column in ("largest_class", "largest_test_class"):
            row[column] = frame[column].max()
        rows.append(row)
    return pd.DataFrame(rows)


def time(records: Records) -> pd.DataFrame:
    """One row per study: on what it ran, and for how long if its runs are added up; side by side they took less."""
    rows = []
    for study, record in records:
        machine = record.environment
        rows.append(
            {
                "study": study,
                "processor": machine.processor,
                "threads": machine.threads,
                "precision": machine.precision,
                "torch": machine.versions["torch"],
                "commit": (machine.git_commit or "")[:7] + "+" * bool(machine.git_dirty),
                "seconds": record.durations.total_s,
            }
        )
    by = ["study", "processor", "threads", "precision", "torch"]
    groups = pd.DataFrame(rows).groupby(by, sort=False)
    frame = groups["seconds"].agg(runs="count", seconds="sum", median="median")
    frame["commits"] = groups["commit"].agg(lambda commits: " ".join(sorted(set(commits))))
    order = [f"{name}{added}" for added in ("", AGAIN, CHECKED_TOO) for name in STUDIES.values()]
    return frame.reset_index().sort_values("study", key=lambda column: column.map(order.index), ignore_index=True)


def published(conditions: pd.DataFrame) -> pd.DataFrame:
    """One row per published accuracy, in %, with what of ours comes nearest."""
    rows = []
    for what, number, network, study, name in PUBLISHED:
        row: dict[str, Any] = {"what": what, "published": number, "network": network, "study": study, "condition": name}
        (ours,) = conditions[(conditions["study"] == study) & (conditions["condition"] == name)].to_dict("records")
        row |= {"ours": 100 * ours["accuracy"], "seeds": ours["seeds"], "wrong": ours["effective_noise"]}
        rows.append(row | {"examples": ours["train_size"]})
    return pd.DataFrame(rows)
