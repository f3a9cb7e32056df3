"""Published data sets that are not on every machine, by made files of their layout whose checksums count as right."""

import numpy as np
import pytest
from support.commands import assert_one_sentence
from support.sources import write_cifar100, write_fashion_mnist
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST
from torchvision.datasets.utils import extract_archive

from class_sensitivity.data.sources import cifar10, cifar100, class_names, data_digest, fashion_mnist, load_arrays
from class_sensitivity.errors import ConfigError, DataError
from class_sensitivity.settings import DataSettings

FOLDERS = {"cifar100": "cifar-100-python", "fashion_mnist": "FashionMNIST/raw"}
NOWHERE = "http://127.0.0.1:9"


def published(name, directory, *, download=False, **options) -> DataSettings:
    return DataSettings(name, str(directory), download, False, 0, options=options)


def test_cifar100_is_what_torchvision_reads(tmp_path, monkeypatch):
    written = write_cifar100(tmp_path, monkeypatch)
    arrays = load_arrays(published("cifar100", tmp_path, labels="fine"))
    for part in ("train", "test"):
        reference = CIFAR100(str(tmp_path), train=part == "train")
        np.testing.assert_array_equal(getattr(arrays, f"{part}_images"), reference.data)
        assert getattr(arrays, f"{part}_labels").tolist() == reference.targets
        assert arrays.class_names == tuple(reference.classes)

    coarse = load_arrays(published("cifar100", tmp_path, labels="coarse"))
    np.testing.assert_array_equal(coarse.train_images, arrays.train_images)
    assert coarse.train_labels.tolist() == written["train"]["coarse_labels"]
    assert coarse.test_labels.tolist() == written["test"]["coarse_labels"]
    assert coarse.class_names == tuple(written["meta"]["coarse_label_names"])


def test_fashion_mnist_is_what_torchvision_reads(tmp_path, monkeypatch):
    written = write_fashion_mnist(tmp_path, monkeypatch)
    arrays = load_arrays(published("fashion_mnist", tmp_path))
    assert arrays.class_names == class_names(published("fashion_mnist", None)) == tuple(FashionMNIST.classes)
    for name in written:
        extract_archive(str(tmp_path / FOLDERS["fashion_mnist"] / name))
    for part in ("train", "test"):
        reference = FashionMNIST(str(tmp_path), train=part == "train")
        np.testing.assert_array_equal(getattr(arrays, f"{part}_images")[..., 0], reference.data.numpy())
        np.testing.assert_array_equal(getattr(arrays, f"{part}_labels"), reference.targets.numpy())
    assert arrays.class_names == tuple(FashionMNIST.classes)


def test_checksums_and_digests_are_those_of_torchvision(tmp_path):
    assert list(fashion_mnist.CHECKSUMS.items()) == list(map(tuple, FashionMNIST.resources))
    for ours, theirs in ((cifar10, CIFAR10), (cifar100, CIFAR100)):
        lists = theirs.train_list, theirs.test_list, [[theirs.meta["filename"], theirs.meta["md5"]]]
        assert [list(part.items()) for part in ours.CHECKSUMS] == [list(map(tuple, part)) for part in lists]
    digests = [data_digest(published("cifar100", tmp_path, labels=labels)) for labels in ("fine", "coarse")]
    assert digests == [f"{CIFAR100.tgz_md5}-fine", f"{CIFAR100.tgz_md5}-coarse"]
    assert data_digest(published("fashion_mnist", tmp_path)) == data_digest(published("fashion_mnist", "elsewhere"))


def test_labels_that_do_not_exist_are_refused_before_anything_is_read(tmp_path):
    for ask in (load_arrays, data_digest):
        with pytest.raises(
            ConfigError, match=r"^data\.labels=medium is not allowed: it must be one of fine, coarse\.$"
        ):
            ask(published("cifar100", tmp_path, labels="medium"))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, monkeypatch, name):
    write = write_cifar100 if name == "cifar100" else write_fashion_mnist
    first = next(iter(write(tmp_path, monkeypatch).keys() - {"meta"}))
    path = tmp_path / FOLDERS[name] / first
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"{first} is damaged \(its MD5 sum is not .*\); rename .*data\.dir\.$"):
        load_arrays(published(name, tmp_path))
    path.unlink()
    with pytest.raises(DataError, match=rf"{first} is missing; rename .*data\.dir\.$"):
        load_arrays(published(name, tmp_path))


@pytest.mark.parametrize("name", FOLDERS)
def test_without_a_network_the_sentence_says_where_the_data_are_looked_for(forked, tmp_path, name):
    words = (f"data={name}", f"data.dir={tmp_path / 'none'}", "training.epochs=1", "training.threads=1")
    # Twice: what the first attempt left is no data set.
    for _ in range(2):
        done = forked(*words, http_proxy=NOWHERE, https_proxy=NOWHERE)
        assert_one_sentence(done, str(tmp_path / "none"), "cannot be downloaded", FOLDERS[name], "data=digits")
    done = forked(*words, "data.download=false")
    assert_one_sentence(done, str(tmp_path / "none"), "data.download is false", FOLDERS[name], "data=digits")
