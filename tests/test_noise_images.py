"""Noise that follows images: to the class of the nearest one, or to where a trained baseline confuses."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from support.commands import SMALL, assert_one_sentence
from support.labels import BIG, FRACS, SEEDS, images_of, labelled, ready_kind, stressed
from support.records import finish
from test_noise_matrix import largest_remainder

from class_sensitivity.errors import ConfigError, RunError
from class_sensitivity.runs.directory import read_record
from class_sensitivity.runs.run import Run
from class_sensitivity.stress import Examples
from class_sensitivity.stress.noise.neighbour import Neighbour, _averaged

# Neighbours


@given(data=labelled(most=30), frac=FRACS, seed=SEEDS)
def test_a_touched_example_gets_the_class_of_the_nearest_image_of_another_class(data, frac, seed):
    labels, _ = data
    train_set = stressed(data, "neighbour", seed, noise_frac=frac, reduction_frac=0)
    points = images_of(labels).reshape(len(labels), -1).astype(int)  # smaller than 8 x 8: nothing is averaged
    for index in train_set.indices[train_set.touched]:
        distances = [
            (int(((points[index] - points[other]) ** 2).sum()), other)
            for other in range(len(labels))
            if labels[other] != labels[index]
        ]
        assert train_set.labels[index] == labels[min(distances)[1]]
    assert train_set.audit.effective == train_set.audit.nominal


def test_what_an_example_gets_depends_on_the_data_set_alone():
    whole = stressed(BIG, "neighbour", noise_frac=1.0).labels
    part = stressed(BIG, "neighbour", 3, noise_frac=0.5, reduction_frac=0.5, noise_classes=[3])
    np.testing.assert_array_equal(part.labels[part.touched], whole[part.indices[part.touched]])
    assert set(BIG[0][part.indices[part.touched]]) == {3}


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (9, 8, 4), (5, 3, 1), (16, 16, 6)])
def test_areas_are_averaged_to_whole_grey_levels(shape):
    images = np.random.default_rng(1).integers(0, 256, (5, *shape)).astype(np.uint8)
    height, width, channels = shape
    rows, columns = (np.linspace(0, n, min(8, n) + 1).astype(int) for n in (height, width))
    expected = [
        np.rint(image[top:bottom, left:right, channel].mean())
        for image in images
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
        for channel in range(channels)
    ]
    np.testing.assert_array_equal(_averaged(images).ravel(), expected)


def test_32_bits_are_exact_at_the_extremes():
    # All products as large as they can be: a difference of one grey level in one area decides.
    images = np.full((3, 8, 8, 4), 255, np.uint8)
    images[1, 0, 0, 0], images[2, 0, 0, 0] = 253, 254
    examples = Examples(np.array([0]), np.array([0, 1, 2]), ("a", "b", "c"), images)
    assert Neighbour().apply(examples, np.random.default_rng(0)).tolist() == [2]


@pytest.mark.slow
@pytest.mark.cifar10
def test_neighbours_of_cifar10_against_scikit_learn(cifar10):
    from sklearn.neighbors import NearestNeighbors

    indices = np.random.default_rng(0).permutation(50_000)[:200]
    examples = Examples(indices, cifar10.train_labels, cifar10.class_names, cifar10.train_images)
    made = Neighbour().apply(examples, np.random.default_rng(0))
    points = cifar10.train_images.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4)).round().reshape(50_000, -1)
    for label in range(10):
        mine, others = cifar10.train_labels[indices] == label, np.flatnonzero(cifar10.train_labels != label)
        near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[others])
        nearest = near.kneighbors(points[indices[mine]], return_distance=False)[:, 0]
        np.testing.assert_array_equal(made[mine], cifar10.train_labels[others[nearest]])


# Where the baseline confuses


@given(data=labelled(), frac=FRACS, seed=SEEDS)
def test_wrong_labels_go_where_the_baseline_confuses(data, frac, seed):
    labels, num_classes = data
    train_set = stressed(data, "confusable", seed, noise_frac=frac)
    confusion = ready_kind("confusable", data).confusion
    clean = labels[train_set.indices]
    for i in range(num_classes):
        of_class = train_set.labels[train_set.touched & (clean == i)].tolist()
        wrong = [0 if j == i else count for j, count in enumerate(confusion[i])]
        expected = largest_remainder(len(of_class), wrong if sum(wrong) else [int(j != i) for j in range(num_classes)])
        assert [of_class.count(j) for j in range(num_classes)] == expected
    assert train_set.audit.effective == train_set.audit.nominal


def confusable(*settings: str) -> tuple[str, ...]:
    return ("noise.kind=confusable", "noise.frac=0.2", *settings)


def test_the_counts_of_all_finished_baselines_are_summed(make_run, tmp_path):
    study = f"noise.study={tmp_path / 'runs'}"
    records = [finish(make_run(f"seed={seed}")) for seed in (1, 2)]
    finish(make_run("seed=3", "noise.frac=0.1"))  # no baseline
    finish(make_run("seed=4", "training.epochs=9"))  # another recipe
    make_run("seed=5").directory.mkdir()  # not finished
    summed = sum(read_record(directory).counts for directory in records)
    run = make_run(*confusable(study))
    assert run.settings.noise.kind.confusion == summed.tolist()
    assert run.identity.condition.label == "20 % noise (confusable, study runs)"
    assert f'noise.study="{tmp_path / "runs"}"' in run.identity.condition.sweep

    # The seeds that count can be named: then others that come do not change the run.
    one = make_run(*confusable(study, "noise.study_seeds=[2]"))
    assert one.settings.noise.kind.confusion == read_record(records[1]).counts.tolist()
    both = make_run(*confusable(study, "noise.study_seeds=[1,2]"))
    assert both.identity == run.identity != one.identity
    finish(make_run("seed=6"))
    assert make_run(*confusable(study)).identity != run.identity
    assert make_run(*confusable(study, "noise.study_seeds=[2,1]")).identity == run.identity
    assert "noise.study_seeds=[1, 2]" in both.identity.condition.sweep
    # Nor does a run of a named seed that holds a stream.
    held = make_run("seed=2", "streams.init=7")
    assert finish(held, confusion=[[20, 0, 0], [9, 5, 0], [0, 0, 16]]).name == "seed-2_init-7"
    assert make_run(*confusable(study, "noise.study_seeds=[2]")).identity == one.identity
    assert make_run(*confusable(study, "noise.study_seeds=[2]"), "streams.init=7").identity.condition == (
        one.identity.condition
    )

    # A directory of one recipe is that of any network on the same data.
    recipe = make_run("training.epochs=9").directory.parents[1]
    other = make_run(*confusable(f"noise.study={recipe}"))
    assert other.settings.noise.kind.confusion == read_record(recipe / "baseline" / "seed-4").counts.tolist()


def test_a_baseline_that_is_damaged_is_named(make_run, tmp_path):
    directory = finish(make_run("seed=1"))
    (directory / "arrays.npz").write_bytes(b"")
    with pytest.raises(RunError, match=r"arrays\.npz cannot be read"):
        make_run(*confusable(f"noise.study={tmp_path / 'runs'}"))


def test_a_baseline_of_other_data_does_not_count(make_run, tmp_path):
    run = make_run("seed=1")
    other = Run.of(run.settings)
    identity = replace(other.identity, data=replace(other.identity.data, digest="another"))
    made = replace(other, identity=identity, directory=tmp_path / "runs" / identity.path)
    recipe = finish(made).parents[1]
    with pytest.raises(ConfigError, match="holds no finished baseline of digits with cnn6"):
        make_run(*confusable(f"noise.study={recipe}"))


def test_without_a_finished_baseline_one_sentence_says_how_to_make_one(forked, tmp_path):
    study = tmp_path / "study"
    done = forked("-m", *SMALL, "seed=1,2", *confusable(f"noise.study={study}"))
    command = f"python train.py -m data=digits model=cnn6 seed=1,2,3,4,5 runs={study}"
    assert_one_sentence(done, f"noise.study={study}", "no finished baseline of digits with cnn6", command)
    assert not done.runs.exists()
    assert_one_sentence(forked(*SMALL, *confusable()), "noise.kind=confusable", "noise.study=runs")
    assert forked(*SMALL, "seed=1", f"runs={study}").rc == 0
    done = forked(*SMALL, *confusable(f"noise.study={study}", "noise.study_seeds=[1,7]"))
    assert_one_sentence(done, "every seed of noise.study_seeds", "seed=7 ")
    done = forked(*SMALL, *confusable(f"noise.study={study}"))
    assert (done.rc, done.stderr) == (0, "")
    assert len(done.results()) == 1
