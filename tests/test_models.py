"""Networks: what they map to what, from which weights they begin, and what is refused."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from support.commands import ROOT
from support.networks import SMALL_NETWORKS, small_network
from support.same_bits import assert_same_result
from support.training import trained
from torch import nn
from torch.nn import functional

from class_sensitivity.errors import ConfigError
from class_sensitivity.models import build_model, known_models, model_digest
from class_sensitivity.models.googlenet import Inception
from class_sensitivity.models.plain18 import Network as Plain18
from class_sensitivity.models.resnet18 import Network as ResNet18
from class_sensitivity.models.vit_tiny import Layer
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import ModelSettings

every_network = pytest.mark.parametrize("name", SMALL_NETWORKS)


def test_no_network_is_left_out():
    assert list(SMALL_NETWORKS) == known_models()


# What every network does


@every_network
@pytest.mark.parametrize("size", [(8, 8), (32, 32), (64, 64), (12, 20), (64, 8)], ids="{0[0]}x{0[1]}".format)
def test_images_of_many_sizes_and_one_to_four_channels_give_a_number_for_each_class(name, size):
    for channels in (1, 2, 3, 4):
        network = small_network(name, channels, size, num_classes=7)
        for training in (True, False):
            logits = network.train(training)(torch.randn(3, channels, *size))
            assert logits.shape == (3, 7)
            assert logits.isfinite().all()


@every_network
def test_initial_weights_follow_from_torchs_generator_and_from_nothing_else(name):
    def weights(seed: int, other: int) -> torch.Tensor:
        random.seed(other), np.random.seed(other)  # noqa: NPY002
        return nn.utils.parameters_to_vector(small_network(name, seed=seed).parameters())

    assert torch.equal(weights(1, other=1), weights(1, other=2))
    assert not torch.equal(weights(1, other=1), weights(2, other=1))


@every_network
def test_layers_of_one_shape_begin_with_weights_of_their_own(name):
    parameters = [p for p in small_network(name).parameters() if p.dim() > 1]
    for number, one in enumerate(parameters):
        assert not [other for other in parameters[:number] if one.shape == other.shape and torch.equal(one, other)]


@every_network
@pytest.mark.parametrize("bf16", [False, True], ids=["32-bit", "bf16"])
def test_every_parameter_has_a_finite_gradient_from_the_first_step_on(name, bf16):
    network = small_network(name).to(memory_format=torch.channels_last)
    images, target = torch.randn(16, 3, 16, 16), torch.arange(16) % 10
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = network(images)
    functional.cross_entropy(logits.float(), target).backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().sum() > 0, parameter


@every_network
@pytest.mark.parametrize("bf16", [False, True], ids=["32-bit", "bf16"])
def test_it_learns_a_few_images_by_heart(name, bf16):
    network = small_network(name).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images, target = torch.randn(20, 3, 16, 16, generator=generator), torch.arange(20) % 2
    images[target == 1, :, :8, :8] += 3
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    first = last = None
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(images)
        loss = functional.cross_entropy(logits.float(), target)
        loss.backward()
        optimizer.step()
        last = loss.item()
        first = first or last
        if last < first / 4:
            return
    pytest.fail(f"the loss was {first} and is {last} after 60 steps")


@every_network
def test_what_an_image_gets_does_not_depend_on_the_batch_that_it_is_tested_in(name):
    network = small_network(name).eval()
    images = torch.randn(6, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


@every_network
def test_a_run_repeated_gives_the_same_bits_with_two_threads(make_run, tmp_path, name):
    options = [f"model.{key}={value}".replace(" ", "") for key, value in SMALL_NETWORKS[name].items()]
    settings = (f"model={name}", *options, "training.epochs=1", "training.threads=2", "reduction.frac=0.8")
    one, other = (trained(make_run(*settings, f"runs={tmp_path / where}")) for where in ("one", "other"))
    assert_same_result(one, other)


def test_building_a_network_leaves_it_in_the_mode_that_it_was_built_in():
    network = small_network("resnet18")
    assert all(module.training for module in network.modules())
    counted = [buffer for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked")]
    assert counted
    assert not any(counted)


@pytest.mark.parametrize(
    ("name", "change", "size", "message"),
    [
        ("cnn6", {}, (7, 9), r"at least 8 x 8.*\(7, 9\)"),
        ("lenet", {}, (3, 8), r"at least 4 x 4.*\(3, 8\)"),
        ("googlenet", {}, (8, 7), r"at least 8 x 8.*\(8, 7\)"),
        ("googlenet", {"width": 12}, (8, 8), r"model\.width must be a positive multiple of 8, got 12"),
        ("vit_tiny", {}, (8, 30), r"multiples of model\.patch=4, got \(8, 30\)"),
        ("vit_tiny", {"heads": 3}, (8, 8), r"model\.width must be a multiple of model\.heads=3, got 8"),
        ("vit_tiny", {"depth": 0}, (8, 8), r"model\.depth must be a positive integer, got 0"),
        ("resnet18", {"width": 0.5}, (8, 8), r"model\.width must be a positive integer, got 0\.5"),
        ("plain18", {"width": None}, (8, 8), r"model\.width must be a positive integer, got None"),
        ("lenet", {"width": 3}, (8, 8), r"model\.width is not a setting of lenet: it has none of its own\.$"),
        ("resnet18", {"wdth": 3}, (8, 8), r"model\.wdth is not a setting of resnet18: it must be one of width\.$"),
    ],
)
def test_what_does_not_suit_a_network_is_refused_in_one_sentence(name, change, size, message):
    with pytest.raises(ConfigError, match=message) as error:
        small_network(name, image_size=size, **change)
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_network_is_refused_and_the_known_ones_are_named():
    for ask in (model_digest, lambda s: build_model(s, in_channels=3, image_size=(8, 8), num_classes=2)):
        with pytest.raises(ConfigError, match=r"model\.name=lenet5.*cnn6.*lenet.*vit_tiny"):
            ask(ModelSettings("lenet5"))
        with pytest.raises(ConfigError, match=r"model\.source=timm.*module.*torchvision.*null"):
            ask(ModelSettings("lenet", source="timm"))


# Each network for itself


def torchvisions_resnet18(num_classes: int) -> nn.Module:
    """The same network as torchvision has it, with the first layer for small images."""
    network = torchvision.models.resnet18(weights=None, num_classes=num_classes)
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_resnet18_is_torchvisions_with_another_first_layer():
    torch.manual_seed(0)
    ours, theirs = ResNet18(3, (16, 16), 10, width=64), torchvisions_resnet18(10)
    assert count(ours) == count(theirs) == 11_173_962
    for buffer in theirs.buffers():
        if buffer.dim():  # statistics that do something
            buffer.data += torch.rand_like(buffer)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 16, 16)
    for training in (False, True):
        torch.testing.assert_close(ours.train(training)(images), theirs.train(training)(images))


def test_resnet18_begins_with_weights_as_large_as_torchvisions():
    torch.manual_seed(0)
    ours, theirs = ResNet18(3, (16, 16), 10, width=64), torchvisions_resnet18(10)
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if own.dim() == 4 and name != "conv1.weight":  # that one is not torchvision's
            assert own.std().item() == pytest.approx(other.std().item(), rel=0.05), name


def test_plain18_is_resnet18_without_what_skips():
    plain, residual = Plain18(3, (16, 16), 10, width=8), ResNet18(3, (16, 16), 10, width=8)
    names = set(residual.state_dict()) - set(plain.state_dict())
    assert {name.rsplit(".", 2)[0] for name in names} == {f"layer{stage}.0.downsample" for stage in (2, 3, 4)}
    projections = sum(getattr(residual, f"layer{stage}")[0].downsample[0].weight.numel() for stage in (2, 3, 4))
    norms = 2 * (16 + 32 + 64)
    assert count(residual) - count(plain) == projections + norms


def test_plain18_applies_its_layers_one_after_the_other():
    plain = Plain18(3, (16, 16), 10, width=8).eval()
    layers = [plain.conv1, plain.bn1, nn.ReLU()]
    for stage in (plain.layer1, plain.layer2, plain.layer3, plain.layer4):
        for block in stage:
            layers += [block.conv1, block.bn1, nn.ReLU(), block.conv2, block.bn2, nn.ReLU()]
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 17  # with the last layer 18
    chain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), plain.fc).eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(plain(images), chain(images))


def test_lenet_has_the_layers_of_the_paper():
    # On one channel of 20 x 20 the feature maps before the linear layers are 5 x 5, as in the paper.
    sizes = [p.numel() for p in small_network("lenet", 1, (20, 20)).parameters()]
    assert sizes == [6 * 25, 6, 16 * 6 * 25, 16, 16 * 25 * 120, 120, 120 * 84, 84, 84 * 10, 10]


def test_a_module_of_googlenet_is_its_branches_side_by_side():
    module = Inception(6, 16).eval()
    features = torch.randn(2, 6, 9, 5)
    output = module(features)
    assert output.shape == (2, 16, 9, 5)
    first, *_, last = module.branches
    torch.testing.assert_close(output[:, :4], first(features))
    pooled = functional.max_pool2d(features, 3, stride=1, padding=1)
    torch.testing.assert_close(output[:, 14:], last[1](pooled))
    kernels = [
        [layer.kernel_size[0] for layer in branch.modules() if isinstance(layer, nn.Conv2d)]
        for branch in module.branches
    ]
    assert kernels == [[1], [1, 3], [1, 5], [1]]


def test_a_layer_of_vit_tiny_is_pytorchs():
    torch.manual_seed(0)
    ours = Layer(width=12, heads=3)
    theirs = nn.TransformerEncoderLayer(
        12, nhead=3, dim_feedforward=24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_": "projections.",
        "self_attn.out_proj.": "output.",
        "linear1.": "perceptron.0.",
        "linear2.": "perceptron.2.",
    }
    state = theirs.state_dict()
    for value in state.values():
        value += 0.1 * torch.randn_like(value)  # biases begin at 0 and norms at 1
    for theirs_begins, ours_begins in names.items():
        state = {name.replace(theirs_begins, ours_begins): value for name, value in state.items()}
    ours.load_state_dict(state, strict=True)
    features = torch.randn(4, 7, 12)
    torch.testing.assert_close(ours(features), theirs(features))


def test_vit_tiny_would_not_know_where_a_patch_is_but_for_its_positions():
    network = small_network("vit_tiny").eval()
    images = torch.randn(2, 3, 16, 16)
    swapped = torch.cat([images[..., 4:8], images[..., :4], images[..., 8:]], dim=-1)
    with torch.no_grad():
        assert not torch.allclose(network(images), network(swapped))
        network.position.zero_()
        torch.testing.assert_close(network(images), network(swapped))


# torchvision's


def torchvisions(name: str, channels: int = 3, size: tuple[int, int] = (32, 32), classes: int = 10) -> nn.Module:
    settings = ModelSettings(name, source="torchvision")
    return build_model(settings, in_channels=channels, image_size=size, num_classes=classes)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_a_network_of_torchvision_is_what_torchvision_makes(name):
    torch.manual_seed(3)
    ours = torchvisions(name, classes=7).eval()
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_grey_images_are_repeated_for_torchvision():
    network = torchvisions("squeezenet1_1", channels=1).eval()
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network(images), network.network(torch.cat([images] * 3, dim=1)))


def test_torchvisions_networks_with_further_outputs_do_without_them():
    logits = torchvisions("googlenet").train()(torch.randn(2, 3, 32, 32))
    assert torch.is_tensor(logits)
    assert logits.shape == (2, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet5"}, r"no classifier resnet5; did you mean resnet"),
        ({"name": "fasterrcnn_resnet50_fpn"}, "no classifier fasterrcnn_resnet50_fpn"),
        ({"name": "squeezenet1_1", "channels": 2}, "3 channels, or grey ones, got 2 channels"),
        ({"name": "squeezenet1_1", "size": (8, 8)}, "does not take images of 8 x 8 with 3 channels.*too small"),
        ({"name": "vit_b_16", "size": (16, 32)}, "square images, got 16 x 32"),
        ({"name": "vit_b_16", "size": (24, 24)}, "24 x 24.*patch"),
    ],
)
def test_what_torchvision_cannot_do_is_one_sentence(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        torchvisions(**arguments)
    assert len(str(error.value).splitlines()) == 1


# Digests


def test_the_network_that_own_data_md_shows_gives_logits_for_images_of_any_size():
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "own-data.md").read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict[str, type[nn.Module]] = {}
    exec(code, names)
    for channels, size in ((1, (8, 8)), (3, (64, 48))):
        network = names["Net"](in_channels=channels, image_size=size, num_classes=7)
        assert network(torch.rand(2, channels, *size)).shape == (2, 7)


def test_networks_without_files_of_the_users_have_no_digest():
    assert model_digest(ModelSettings("lenet")) == model_digest(ModelSettings("vgg11", source="torchvision")) == ""


def test_the_digest_of_a_file_of_weights_follows_from_its_content_alone(tmp_path):
    def digest(file: Path) -> str:
        return model_digest(ModelSettings("lenet", weights=str(file)))

    one, twin, other = (tmp_path / name for name in ("one.pt", "twin.pt", "other.pt"))
    state = small_network("lenet").state_dict()
    torch.save(state, one)
    twin.write_bytes(one.read_bytes())
    torch.save({name: value + 1 for name, value in state.items()}, other)
    assert digest(one) == digest(twin) != digest(other)
    before = digest(one)
    one.write_bytes(other.read_bytes())
    assert before != digest(one) == digest(other)
    with pytest.raises(ConfigError, match=r"^model\.weights=.*absent\.pt cannot be read \(No such file.*null\.$"):
        digest(tmp_path / "absent.pt")


# Layers that draw


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


class InterruptInEpoch2(pl.Callback):
    def on_train_epoch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.current_epoch == 1:
            raise Interrupted


def test_what_layers_draw_follows_from_a_stream_of_its_own_also_when_resumed(make_run, tmp_path):
    def run(where: str, *words: str) -> Run:
        torch.manual_seed(len(where))  # as whatever ran before left it
        return make_run("model=module", "model.module=support.networks:Forgetful", f"runs={tmp_path / where}", *words)

    whole = trained(run("whole"))
    assert_same_result(trained(run("repeated")), whole)
    with pytest.raises(Interrupted):
        trained(run("resumed"), InterruptInEpoch2())
    assert_same_result(trained(run("resumed")), whole)
    other = trained(run("other", "streams.dropout=5"))
    assert not np.array_equal(other.arrays["test_probabilities"], whole.arrays["test_probabilities"])
    np.testing.assert_array_equal(other.arrays["train_indices"], whole.arrays["train_indices"])
