"""M networks of one architecture as one: every weight has a leading dimension of members."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from class_sensitivity.training import onednn


class StackedNetwork(nn.Module):
    """Runs M networks side by side; convolutions become grouped ones, linear layers batched products.

    Members are independent: each gets the logits and gradients that it would get alone, up to the order in
    which floating-point numbers are added.

    Args:
        networks: M networks of the same architecture.

    Raises:
        RuntimeError: The architecture cannot be batched.

    Examples:
        >>> stack = StackedNetwork([nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)])
        >>> stack(torch.zeros(2, 5, 3, 16, 16)).shape
        torch.Size([2, 5, 8, 14, 14])
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        self.members = len(networks)
        # In the order of the networks themselves, so that an optimiser numbers them alike.
        self.parameter_names, self.buffer_names = list(parameters), list(buffers)
        for name, value in parameters.items():
            self.register_parameter(flat_name(name), nn.Parameter(value.detach()))
        for name, value in buffers.items():
            self.register_buffer(flat_name(name), value)
        # In a tuple, so that its weights, which are never used, do not become parameters of this module.
        self._skeleton = (deepcopy(networks[0]).to("meta"),)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(M, B, C, H, W) images, or (B, C, H, W) images for all members, to (M, B, K) logits."""
        (skeleton,) = self._skeleton
        skeleton.train(self.training)
        parameters = {name: getattr(self, flat_name(name)) for name in self.parameter_names}
        buffers = {name: getattr(self, flat_name(name)) for name in self.buffer_names}

        def one(parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = functional_call(skeleton, (parameters, buffers), (x,))
            return logits

        in_dims = (0, 0, 0 if images.dim() == 5 else None)
        with onednn.disabled():
            # What a layer draws itself, such as dropout, would differ from what the member alone draws.
            logits: torch.Tensor = vmap(one, in_dims=in_dims, randomness="error")(parameters, buffers, images)
        return logits

    def member_state(self, member: int) -> dict[str, torch.Tensor]:
        """The state dict of one member, as its network alone would give it."""
        names = [*self.parameter_names, *self.buffer_names]
        return {name: getattr(self, flat_name(name)).detach()[member].clone() for name in names}


def why_not_stacked(networks: Sequence[nn.Module], image: tuple[int, int, int]) -> str | None:
    """Why an architecture cannot be batched, in a few words; None if it can.

    One whose control flow depends on values cannot, one that draws random numbers in training must not.

    Args:
        networks: Two or more networks of the architecture.
        image: (C, H, W) of an image.

    Examples:
        >>> why_not_stacked([nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)], (3, 16, 16))
        >>> why_not_stacked([nn.Dropout(), nn.Dropout()], (3, 16, 16))
        'RuntimeError: vmap: called random operation while in randomness error mode'
    """
    try:
        # Its own copies: batch norm counts the images that it sees.
        stack = StackedNetwork(deepcopy(networks[:2]))
        with warnings.catch_warnings(), torch.no_grad():
            # An operation that torch.func repeats for each member gains nothing.
            warnings.filterwarnings("error", "There is a performance drop")
            for training in (True, False):
                stack.train(training)(torch.zeros(2, 2, *image))
    except Exception as error:  # whatever the reason, the runs can be done one by one
        return f"{type(error).__name__}: {str(error).splitlines()[0].split('. ')[0] if str(error) else 'no message'}"
    return None


def flat_name(name: str) -> str:
    """The name of a stacked tensor; the tensors of a module may have no dots in theirs.

    Examples:
        >>> flat_name("features.0.weight")
        'features__0__weight'
    """
    return name.replace(".", "__")


#: What AdamW counts for each parameter: a number, alike in all members, that a stack has once.
_STEP = "step"


def unstack_optimizer(state: dict[str, Any], member: int) -> dict[str, Any]:
    """The state of an optimiser over one member's parameters, out of one over stacked parameters."""
    of_member = {
        number: {name: value if name == _STEP else value[member].clone() for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {"state": of_member, "param_groups": state["param_groups"]}


def stack_optimizers(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The reverse of `unstack_optimizer`, for the states of all members in their order."""
    stacked = {
        number: {
            name: value if name == _STEP else torch.stack([state["state"][number][name] for state in states])
            for name, value in values.items()
        }
        for number, values in states[0]["state"].items()
    }
    return {"state": stacked, "param_groups": states[0]["param_groups"]}
