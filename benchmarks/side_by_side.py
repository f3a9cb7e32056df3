"""Ways to train many runs of one recipe on one device, a step at a time, on made-up images of CIFAR-10's shape.

`Separate`  every run has its own network and optimiser: one after the other, or on several CUDA streams at once.
`Stacked`   one `Wide` network with the weights of all runs, and one optimiser; its convolutions are grouped ones or
            matrix products.

Any step can be captured in a CUDA graph: its number, its batch and its learning rate are read on the device.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import nn
from torch.nn import functional

from class_sensitivity.data.augment import flip_and_crop
from class_sensitivity.data.loader import EVALUATION_BATCH
from class_sensitivity.models.cnn6 import Network

CONF = Path(__file__).resolve().parents[1] / "conf"
RECIPE: dict[str, Any] = yaml.safe_load((CONF / "train.yaml").read_text())["training"]
WIDTHS: list[int] = yaml.safe_load((CONF / "model" / "cnn6.yaml").read_text())["widths"]
PADDING: int = yaml.safe_load((CONF / "data" / "cifar10.yaml").read_text())["crop_padding"]

SIDE, CHANNELS, CLASSES = 32, 3, 10
#: Steps until the same batches come again.
_CYCLE = 64
_KERNEL = 9


def as_the_product_trains(device: torch.device) -> None:
    """Sets what `training.trainer.make_trainer` sets."""
    on_gpu = device.type == "cuda"
    torch.use_deterministic_algorithms(on_gpu)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def networks(members: int, widths: Sequence[int] = tuple(WIDTHS)) -> list[Network]:
    """So many networks, each with its own initial weights."""
    made = []
    for member in range(members):
        torch.manual_seed(member)
        made.append(Network(CHANNELS, (SIDE, SIDE), CLASSES, list(widths)))
    return made


class Feed:
    """Batches and learning rate of the current step, read on the device so that a graph can replay them.

    Args:
        members: M runs, each with its own order and augmentation of the same images.
        batch: B images a step.
        images: Training images, made up: a pattern a class under noise.
        test_batch: Images of a test batch.
        device: Where all of it lies.
    """

    def __init__(self, members: int, batch: int, images: int, test_batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        side = SIDE + 2 * PADDING
        labels = torch.randint(CLASSES, (images,), device=device)
        patterns = torch.randint(128, (CLASSES, side, side, CHANNELS), dtype=torch.uint8, device=device)
        noise = torch.randint(128, (images, side, side, CHANNELS), dtype=torch.uint8, device=device)
        self.members, self.batch = members, batch
        self.pixels = patterns[labels] + noise
        self.test_pixels = self.pixels[:test_batch, PADDING:-PADDING, PADDING:-PADDING].contiguous()
        visits = (_CYCLE, members * batch)
        self.order = torch.randint(images, visits, device=device)
        self.variants = torch.randint(2 * (2 * PADDING + 1) ** 2, visits, device=device)
        self.labels = labels[self.order]
        rising = torch.linspace(1 / _CYCLE, 1, _CYCLE, device=device)
        self.rates = RECIPE["lr"] * rising
        self.rate = torch.tensor(RECIPE["lr"], device=device)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(M, B, C, H, W) float32 images in channels_last layout and (M, B) labels; sets the rate, counts the step."""
        order, variants, labels = (
            of_steps.index_select(0, self.step)[0] for of_steps in (self.order, self.variants, self.labels)
        )
        self.rate.copy_(self.rates.index_select(0, self.step)[0])
        self.step.add_(1).remainder_(_CYCLE)
        pixels = flip_and_crop(self.pixels, order, variants, padding=PADDING)
        shape = (self.members, self.batch, *pixels.shape[1:])
        return _normalised(pixels.view(shape)), labels.view(self.members, self.batch)

    def test(self) -> torch.Tensor:
        """(B, C, H, W) float32 images, the same for all members."""
        return _normalised(self.test_pixels)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels.float() - 128) * (1 / 64)).movedim(-1, -3)


def _optimiser(parameters: Any, rate: torch.Tensor) -> torch.optim.SGD:
    momentum, decay = RECIPE["momentum"], RECIPE["weight_decay"]
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, nesterov=True, fused=True)


def autocast(device: torch.device, enabled: bool = True) -> torch.autocast:
    """bf16 as in the product."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class Trained:
    """What a way to train has; `loss` and `right` are summed over the steps, of every member."""

    def __init__(self, feed: Feed) -> None:
        self.feed, self.device = feed, feed.step.device
        self.loss = torch.zeros(feed.members, device=self.device)
        self.right = torch.zeros(feed.members, dtype=torch.int64, device=self.device)

    def train(self) -> None:
        """One step of every member."""
        raise NotImplementedError

    def test(self) -> None:
        """One batch of the test of every member."""
        raise NotImplementedError


class Separate(Trained):
    """Every member its own network and optimiser.

    Args:
        made: The networks.
        feed: The batches.
        streams: CUDA streams to spread the members over; 0: one member after the other.
        compiled: Whether torch.compile fuses what it can.
    """

    def __init__(self, made: Sequence[nn.Module], feed: Feed, *, streams: int = 0, compiled: bool = False) -> None:
        super().__init__(feed)
        self.networks = [network.to(self.device, memory_format=torch.channels_last) for network in made]
        self.optimisers = [_optimiser(network.parameters(), feed.rate) for network in self.networks]
        self.streams = [torch.cuda.Stream() for _ in range(min(streams, len(made)))]
        self.called: Sequence[Callable[[torch.Tensor], torch.Tensor]] = self.networks
        if compiled:  # without what cnn6 asks of oneDNN, which a GPU does not need and the compiler cannot follow
            self.called = [
                torch.compile(nn.Sequential(network.features, nn.Flatten(), network.classifier))  # type: ignore[arg-type]
                for network in self.networks
            ]

    def train(self) -> None:
        images, target = self.feed.next()
        self._each(lambda member: self._train_one(member, images[member], target[member]))

    def test(self) -> None:
        images = self.feed.test()
        self._each(lambda member: self._test_one(member, images))

    def _train_one(self, member: int, images: torch.Tensor, target: torch.Tensor) -> None:
        self.networks[member].train()
        self.optimisers[member].zero_grad()
        with autocast(self.device):
            logits = self.called[member](images)
            loss = functional.cross_entropy(logits.float(), target)
        self.loss[member] += loss.detach()
        self.right[member] += (logits.detach().argmax(1) == target).sum()
        loss.backward()
        self.optimisers[member].step()

    def _test_one(self, member: int, images: torch.Tensor) -> None:
        self.networks[member].eval()
        with torch.no_grad(), autocast(self.device):
            self.right[member] += self.called[member](images).argmax(1).sum()

    def _each(self, do: Callable[[int], None]) -> None:
        main = torch.cuda.current_stream() if self.streams else None
        for stream in self.streams:
            stream.wait_stream(main)
        for member in range(len(self.networks)):
            on_stream = torch.cuda.stream(self.streams[member % len(self.streams)]) if self.streams else nullcontext()
            with on_stream:
                do(member)
        for stream in self.streams:
            main.wait_stream(stream)  # type: ignore[union-attr]


class Stacked(Trained):
    """One network with the weights of all members.

    Args:
        network: (M, B, C, H, W) images, or (B, C, H, W) for all members, to (M, B, K) logits.
        feed: The batches.
    """

    def __init__(self, network: "Wide", feed: Feed) -> None:
        super().__init__(feed)
        self.network = network.to(self.device)
        self.optimiser = _optimiser(self.network.parameters(), feed.rate)

    def train(self) -> None:
        images, target = self.feed.next()
        self.network.train()
        self.optimiser.zero_grad()
        with autocast(self.device):
            logits = self.network(images)
            losses = functional.cross_entropy(logits.float().flatten(0, 1), target.flatten(), reduction="none")
            loss = losses.view(target.shape).mean(1)
        self.loss += loss.detach()
        self.right += (logits.detach().argmax(-1) == target).sum(-1)
        loss.sum().backward()
        self.optimiser.step()

    def test(self) -> None:
        self.network.eval()
        with torch.no_grad(), autocast(self.device):
            self.right += self.network(self.feed.test()).argmax(-1).sum(-1)


class Wide(nn.Module):
    """M cnn6 networks as one with M times the channels, in channels_last layout: (B, H, W, M, C) in memory.

    Pooling, batch norm and ReLU then are those of one network; only convolutions must keep the members apart.

    Args:
        members: The networks.
        way: `grouped`: convolutions with a group a member; `products`: matrix products over im2col columns.
    """

    def __init__(self, members: Sequence[Network], way: Literal["grouped", "products"]) -> None:
        super().__init__()
        self.way, self.members = way, len(members)
        columns = zip(*(network.features for network in members), strict=True)
        self.steps: list[tuple[str, Any]] = []
        self.kernels, self.scales, self.shifts = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for layers in columns:
            if isinstance(layers[0], nn.Conv2d):
                self.steps.append(("convolution", len(self.kernels)))
                self.kernels.append(nn.Parameter(torch.stack([layer.weight.detach() for layer in layers])))
            elif isinstance(layers[0], nn.BatchNorm2d):
                number = len(self.scales)
                self.steps.append(("norm", number))
                self.scales.append(nn.Parameter(torch.cat([layer.weight.detach() for layer in layers])))
                self.shifts.append(nn.Parameter(torch.cat([layer.bias.detach() for layer in layers])))
                self.register_buffer(f"mean{number}", torch.cat([layer.running_mean for layer in layers]))
                self.register_buffer(f"variance{number}", torch.cat([layer.running_var for layer in layers]))
            elif isinstance(layers[0], nn.MaxPool2d):
                self.steps.append(("pool", layers[0].kernel_size))
            else:
                assert isinstance(layers[0], nn.ReLU)
                self.steps.append(("relu", None))
        heads = [network.classifier for network in members]
        self.head = nn.Parameter(torch.stack([head.weight.detach() for head in heads]))  # (M, K, C)
        self.bias = nn.Parameter(torch.stack([head.bias.detach() for head in heads]))  # (M, K)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dim() == 4:
            images = images.expand(self.members, *images.shape)
        kind = images.device.type
        # Matrix products with a result to write into, and those of a backward pass, do not ask autocast.
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        x = images.permute(1, 3, 4, 0, 2)  # (B, H, W, M, C)
        for step, what in self.steps:
            if step == "convolution":
                x = self._convolve(x, self.kernels[what], dtype)
                continue
            planes = x.flatten(3).permute(0, 3, 1, 2)  # (B, M * C, H, W)
            if step == "norm":
                mean, variance = getattr(self, f"mean{what}"), getattr(self, f"variance{what}")
                planes = functional.batch_norm(
                    planes, mean, variance, self.scales[what], self.shifts[what], self.training
                )
            elif step == "pool":
                planes = functional.max_pool2d(planes, what)
            else:
                planes = planes.relu()
            x = planes.permute(0, 2, 3, 1).unflatten(3, (self.members, -1))
        features = x.flatten(0, 2).transpose(0, 1)  # (M, B, C)
        return torch.baddbmm(self.bias[:, None], features.to(dtype), self.head.to(dtype).transpose(1, 2))

    def _convolve(self, x: torch.Tensor, kernel: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if self.way == "products":
            convolved: torch.Tensor = _Convolution.apply(x, kernel, dtype)
            return convolved
        planes = x.to(dtype).flatten(3).permute(0, 3, 1, 2)
        filters = kernel.to(dtype).flatten(0, 1)
        out = functional.conv2d(planes, filters, padding=1, groups=self.members)
        return out.permute(0, 2, 3, 1).unflatten(3, (self.members, -1))

    def gradients(self, member: int) -> list[torch.Tensor]:
        """The gradients of one member, in the order of its network's parameters."""
        found = []
        for kernel, scale, shift in zip(self.kernels, self.scales, self.shifts, strict=True):
            found.append(kernel.grad[member])
            found += [norm.grad.view(self.members, -1)[member] for norm in (scale, shift)]
        return [*found, self.head.grad[member], self.bias.grad[member]]


class _Convolution(torch.autograd.Function):
    """3x3 convolutions of M members as three batched matrix products over im2col columns."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(B, H, W, M, C) images, (M, O, C, 3, 3) kernels to (B, H, W, M, O) images."""
        columns = _columns(x, dtype)
        matrix = kernel.to(dtype).permute(0, 3, 4, 2, 1).flatten(1, 3)  # (M, 9 C, O)
        matrix = functional.pad(matrix, (0, 0, 0, columns.shape[2] - matrix.shape[1]))
        ctx.save_for_backward(columns, kernel)
        return _products(columns, matrix).view(*x.shape[:3], *matrix.shape[::2])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None]:  # type: ignore[override]
        columns, kernel = ctx.saved_tensors
        members, outputs, inputs = kernel.shape[:3]
        flat = gradient.contiguous().view(-1, members, outputs)
        # Few and long sums would leave most of a GPU idle: each is cut into parts, which are added up.
        parts = _parts(len(flat), members)
        left = columns.view(-1, parts * members, columns.shape[2]).permute(1, 2, 0)
        right = flat.view(-1, parts * members, outputs).transpose(0, 1)
        total = torch.bmm(left, right).unflatten(0, (parts, members)).sum(0, dtype=kernel.dtype)
        of_kernel = total[:, : _KERNEL * inputs].reshape(members, 3, 3, inputs, outputs).permute(0, 4, 3, 1, 2)
        of_images = None
        if ctx.needs_input_grad[0]:
            # The gradient of the images is the convolution of the gradient with the kernels turned round.
            turned = kernel.to(columns.dtype).flip(3, 4).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (M, 9 O, C)
            around = _columns(gradient, columns.dtype)
            turned = functional.pad(turned, (0, 0, 0, around.shape[2] - turned.shape[1]))
            of_images = _products(around, turned).view(*gradient.shape[:4], inputs)
        return of_images, of_kernel, None


def _columns(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, H, W, M, C) to (B * H * W, M, 9 C), filled up to a multiple of 8 for tensor cores."""
    batch, height, width, members, channels = x.shape
    padded = torch.zeros(batch, height + 2, width + 2, members, channels, dtype=dtype, device=x.device)
    padded[:, 1:-1, 1:-1] = x
    windows = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 3, 5, 6, 4)
    size = _KERNEL * channels
    if size % 8 == 0:
        return windows.reshape(-1, members, size)
    columns = torch.zeros(batch * height * width, members, -(-size // 8) * 8, dtype=dtype, device=x.device)
    columns[..., :size].unflatten(2, (3, 3, channels)).unflatten(0, (batch, height, width)).copy_(windows)
    return columns


def _products(columns: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(n, M, K) @ (M, K, O) to (n, M, O), which the library writes where it belongs."""
    out = columns.new_empty(len(columns), len(matrix), matrix.shape[2])
    torch.bmm(columns.transpose(0, 1), matrix, out=out.transpose(0, 1))
    return out


def _parts(length: int, members: int) -> int:
    """Into how many parts a sum over so many rows is cut: enough to fill a GPU, none shorter than 512."""
    parts = 1
    while parts * members < 512 and length % (2 * parts) == 0 and length // (2 * parts) >= 512:
        parts *= 2
    return parts


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """A step as a CUDA graph: its kernels are launched all at once, with the same operands each time."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # makes the momentum, and chooses algorithms
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        step()
    return graph.replay


def feed_of(members: int, quick: bool, device: torch.device) -> Feed:
    """The feed of the default recipe; with `quick` a tiny one."""
    if quick:
        return Feed(members, 8, 200, 20, device)
    return Feed(members, RECIPE["batch_size"], 50_000, EVALUATION_BATCH, device)
