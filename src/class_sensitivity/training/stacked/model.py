"""M networks of one architecture as one: every weight has a leading dimension of members."""

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
            logits: torch.Tensor = vmap(one, in_dims=in_dims, randomness="different")(parameters, buffers, images)
        return logits

    def member_state(self, member: int) -> dict[str, torch.Tensor]:
        """The state dict of one member, as its network alone would give it."""
        names = [*self.parameter_names, *self.buffer_names]
        return {name: getattr(self, flat_name(name)).detach()[member].clone() for name in names}


def can_be_stacked(networks: Sequence[nn.Module], image: tuple[int, int, int]) -> bool:
    """Whether an architecture can be batched: one whose control flow depends on values cannot.

    Args:
        networks: Two or more networks of the architecture.
        image: (C, H, W) of an image.

    Examples:
        >>> can_be_stacked([nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)], (3, 16, 16))
        True
    """
    try:
        with torch.no_grad():
            StackedNetwork(networks[:2])(torch.zeros(2, 2, *image))
    except Exception:  # whatever the reason, the runs can be done one by one
        return False
    return True


def flat_name(name: str) -> str:
    """The name of a stacked tensor; the tensors of a module may have no dots in theirs.

    Examples:
        >>> flat_name("features.0.weight")
        'features__0__weight'
    """
    return name.replace(".", "__")


def unstack_optimizer(state: dict[str, Any], member: int) -> dict[str, Any]:
    """The state of an optimiser over one member's parameters, out of one over stacked parameters."""
    of_member = {
        number: {key: _part_of(value, member) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    return {"state": of_member, "param_groups": state["param_groups"]}


def stack_optimizers(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The reverse of `unstack_optimizer`, for the states of all members in their order."""
    stacked = {
        number: {
            key: torch.stack([state["state"][number][key] for state in states]) if torch.is_tensor(value) else value
            for key, value in values.items()
        }
        for number, values in states[0]["state"].items()
    }
    return {"state": stacked, "param_groups": states[0]["param_groups"]}


def _part_of(value: Any, member: int) -> Any:
    return value[member].clone() if torch.is_tensor(value) and value.dim() > 0 else value
