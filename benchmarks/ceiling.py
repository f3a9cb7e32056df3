"""What the machine could do at most: the matrix products that a network's training consists of, alone.

A convolution is a matrix product over im2col columns, its training three: the outputs, the gradient of the weights
and the gradient of the inputs. The first layer has no need of the last.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

TRIALS = 3


@dataclass(frozen=True)
class Layer:
    """A layer as a matrix product: (images * positions, fan_in) @ (fan_in, fan_out).

    Attributes:
        positions: Output pixels of an image; 1 for a linear layer.
        fan_in: Multiply-adds of one output.
        fan_out: Outputs at one position.
        needs_input_gradient: Whether a layer before it learns.
    """

    positions: int
    fan_in: int
    fan_out: int
    needs_input_gradient: bool

    @property
    def forward(self) -> int:
        """Multiply-adds of an image, forward."""
        return self.positions * self.fan_in * self.fan_out

    @property
    def training(self) -> int:
        """Multiply-adds of an image, forward and backward."""
        return self.forward * (3 if self.needs_input_gradient else 2)


def layers_of(network: nn.Module, image: tuple[int, ...]) -> list[Layer]:
    """The layers that multiply, in the order in which they are called on a (C, H, W) image.

    Raises:
        ValueError: A convolution has groups, which is no single matrix product.
    """
    found: list[Layer] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            raise ValueError("a grouped convolution is no single matrix product")
        weight = module.weight
        found.append(Layer(output[0].numel() // len(weight), weight[0].numel(), len(weight), bool(found)))

    hooks = [m.register_forward_hook(look) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    device = next(network.parameters()).device
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *image, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


Operands = tuple[torch.Tensor, torch.Tensor]


def _products(layer: Layer, batch: int, dtype: torch.dtype, device: torch.device) -> Iterator[Operands]:
    """The two or three products of a layer, with the memory layouts that im2col would give them."""
    columns = torch.randn(batch * layer.positions, layer.fan_in, dtype=dtype, device=device)
    gradient = torch.randn(batch * layer.positions, layer.fan_out, dtype=dtype, device=device)
    weight = torch.randn(layer.fan_out, layer.fan_in, dtype=dtype, device=device)
    yield columns, weight.t()
    yield gradient.t(), columns
    if layer.needs_input_gradient:
        yield gradient, weight


def synchronise(device: torch.device) -> None:
    """Waits for a GPU; a CPU has always finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    """Of one product, the fastest of a few: a ceiling is what can be reached."""
    taken = []
    for _ in range(1 + TRIALS):
        synchronise(left.device)
        begun = time.perf_counter()
        left @ right
        synchronise(left.device)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def rate_of_layers(layers: list[Layer], batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """Floating point operations a second over all products that one training step consists of."""
    seconds = sum(_seconds(*pair) for layer in layers for pair in _products(layer, batch, dtype, device))
    return 2 * batch * sum(layer.training for layer in layers) / seconds


def rate_of_square(size: int, dtype: torch.dtype, device: torch.device) -> float:
    """Floating point operations a second of one large product."""
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    return 2 * size**3 / _seconds(left, right)
