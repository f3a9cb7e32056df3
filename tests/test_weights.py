"""A file of weights to begin with: what is taken over, what is left random, what is refused."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from support.networks import small_network
from torch import nn

from class_sensitivity.data.sources import load_arrays
from class_sensitivity.errors import ConfigError
from class_sensitivity.models import build_model
from class_sensitivity.runs.directory import read_record
from class_sensitivity.settings import ModelSettings
from class_sensitivity.training.run import train_job
from class_sensitivity.training.setup import initial_network
from class_sensitivity.training.weights import load_weights


def saved(network: nn.Module, file: Path) -> str:
    torch.save(network.state_dict(), file)
    return str(file)


@pytest.mark.parametrize("name", ["cnn6", "lenet", "vit_tiny"])
def test_all_weights_and_statistics_are_those_of_the_file(name, tmp_path, capsys):
    source, target = small_network(name, seed=1), small_network(name, seed=2)
    source(torch.randn(8, 3, 16, 16))  # fills the statistics of batch norm
    load_weights(target, saved(source, tmp_path / "weights.pt"))
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)
    assert capsys.readouterr().out == ""


def test_a_last_layer_for_other_classes_stays_random_and_it_says_so_once(tmp_path, capsys):
    file = saved(small_network("resnet18", num_classes=1000, seed=1), tmp_path / "weights.pt")
    target = small_network("resnet18", num_classes=7, seed=2)
    random_layer = target.fc.weight.detach().clone()
    load_weights(target, file)
    stored = torch.load(file, weights_only=True)
    for key, value in target.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(value, stored[key]), key
    assert torch.equal(target.fc.weight, random_layer)
    assert (
        capsys.readouterr().out == f"{file} is for 1000 classes: fc.weight, fc.bias begin with random weights for 7.\n"
    )
    load_weights(target, file)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_a_file_of_torchvision_fits_its_network_for_other_classes(name, tmp_path, capsys):
    theirs = torchvision.models.get_model(name, weights=None, num_classes=20)
    settings = ModelSettings(name, source="torchvision")
    network = build_model(settings, in_channels=3, image_size=(32, 32), num_classes=3)
    load_weights(network, saved(theirs, tmp_path / "weights.pt"))
    first = next(iter(theirs.state_dict()))
    assert torch.equal(network.state_dict()[f"network.{first}"], theirs.state_dict()[first])
    assert "is for 20 classes" in capsys.readouterr().out


def test_the_further_outputs_in_a_file_of_torchvision_are_left_out(tmp_path):
    theirs = torchvision.models.googlenet(weights=None, num_classes=5, aux_logits=True, init_weights=False)
    settings = ModelSettings("googlenet", source="torchvision")
    network = build_model(settings, in_channels=3, image_size=(32, 32), num_classes=5)
    file = saved(theirs, tmp_path / "weights.pt")
    assert any(name.startswith("aux1.") for name in torch.load(file, weights_only=True))
    load_weights(network, file)
    torch.testing.assert_close(network.network.conv1.conv.weight, theirs.conv1.conv.weight)


def test_a_file_from_before_batch_norm_counted_batches_fits(tmp_path):
    state = dict(small_network("resnet18", seed=1).state_dict())
    torch.save({name: value for name, value in state.items() if "num_batches" not in name}, tmp_path / "old.pt")
    load_weights(small_network("resnet18"), str(tmp_path / "old.pt"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_nothing_in_the_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"classifier.weight": Evil()}))
    torch.save({"classifier.weight": Evil()}, tmp_path / "evil.zip")
    for name in ("evil.pt", "evil.zip"):
        with pytest.raises(
            ConfigError, match=rf"{name} cannot be loaded \(UnpicklingError\): it must hold a state dict"
        ):
            load_weights(small_network("lenet"), str(tmp_path / name))
    assert not (tmp_path / "executed").exists()


def no_state(file: Path) -> None:
    torch.save([torch.zeros(3)], file)


def nested_state(file: Path) -> None:
    torch.save({"state_dict": small_network("lenet").state_dict()}, file)


def of_another_network(file: Path) -> None:
    saved(small_network("cnn6"), file)


def of_another_width(file: Path) -> None:
    saved(small_network("resnet18", width=8), file)


def incomplete(file: Path) -> None:
    state = small_network("resnet18").state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, file)


def of_more(file: Path) -> None:
    torch.save(small_network("resnet18").state_dict() | {"extra.weight": torch.zeros(3)}, file)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, r"cannot be read \(No such file or directory\)\.$"),
        (lambda file: file.mkdir(), r"cannot be read \(Is a directory\)\.$"),
        (lambda file: file.write_bytes(b""), r"cannot be loaded \(EOFError\): it must hold a state dict"),
        (
            lambda file: file.write_text("no weights"),
            r"cannot be loaded \(UnpicklingError\): it must hold a state dict",
        ),
        (
            no_state,
            r"is not allowed: it must hold a state dict, as torch\.save\(model\.state_dict\(\), PATH\) writes it\.$",
        ),
        (nested_state, r"is not allowed: it must hold a state dict"),
        (
            of_another_network,
            r"does not fit the network: it has no conv1\.weight, bn1\.weight, bn1\.bias and \d+ more\.$",
        ),
        (
            of_another_width,
            r"does not fit the network: layer1\.0\.conv1\.weight is \(8, 8, 3, 3\) there and \(4, 4, 3, 3\) here\.$",
        ),
        (incomplete, r"does not fit the network: it has no layer1\.0\.conv1\.weight\.$"),
        (of_more, r"does not fit the network, which has no extra\.weight\.$"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(write, message, tmp_path):
    file = tmp_path / "weights.pt"
    write(file)
    with pytest.raises(ConfigError, match=message) as error:
        load_weights(small_network("resnet18"), str(file))
    assert str(error.value).startswith(f"model.weights={file} ")
    assert len(str(error.value).splitlines()) == 1


def test_a_run_begins_with_the_weights_of_its_file_and_is_known_by_their_content(make_run, tmp_path):
    source = small_network("lenet", 1, (8, 8), seed=5)
    file, twin = saved(source, tmp_path / "one.pt"), tmp_path / "twin.pt"
    twin.write_bytes(Path(file).read_bytes())
    settings = ("model=lenet", "training.epochs=1", "reduction.frac=0.9")
    run = make_run(*settings, f"model.weights={file}")
    network = initial_network(run.settings.model, load_arrays(run.settings.data), run.identity.streams)
    torch.testing.assert_close(network.state_dict(), source.state_dict(), rtol=0, atol=0)
    assert make_run(*settings, f"model.weights={twin}").directory == run.directory
    assert make_run(*settings).directory != run.directory
    record = read_record(train_job(run, show_progress=False))
    assert record.identity == run.identity
    saved(small_network("lenet", 1, (8, 8), seed=6), Path(file))
    assert make_run(*settings, f"model.weights={file}").directory != run.directory
