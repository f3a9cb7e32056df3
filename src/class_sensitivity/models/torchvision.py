"""torchvision's classifiers, by their names there: `model=torchvision model.name=resnet50`."""

import difflib

import torch
import torchvision
from torch import nn
from torchvision.models import get_model, list_models

#: Networks with further outputs in training, which are left out.
_WITH_AUXILIARIES = ("googlenet", "inception_v3")


class Network(nn.Module):
    """A classifier of `torchvision.models`, for any number of classes; nothing is downloaded.

    Grey images are repeated to the three channels that these networks take. Most are made for images of 224 x 224,
    and some cannot take small ones at all.

    Args:
        in_channels: Channels of an image: 1 or 3.
        image_size: (height, width) in pixels; a vision transformer is built for it.
        num_classes: Logits to give.
        name: One of `torchvision.models.list_models(module=torchvision.models)`.

    Raises:
        ValueError: There is no such classifier, or the images do not suit it.

    Examples:
        >>> network = Network(in_channels=1, image_size=(32, 32), num_classes=10, name="squeezenet1_1")
        >>> network(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int, name: str) -> None:
        super().__init__()
        known = list_models(module=torchvision.models)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"such as {', '.join(known[::10])}"
            raise ValueError(f"torchvision.models has no classifier {name}; {hint}")
        if in_channels not in (1, 3):
            raise ValueError(
                f"torchvision's networks take images of 3 channels, or grey ones, got {in_channels} channels"
            )
        options: dict[str, object] = {}
        if name in _WITH_AUXILIARIES:
            options = {"aux_logits": False, "init_weights": True}
        elif name.startswith("vit_"):
            if image_size[0] != image_size[1]:
                raise ValueError(f"{name} takes square images, got {image_size[0]} x {image_size[1]}")
            options = {"image_size": image_size[0]}
        try:
            self.network = get_model(name, weights=None, num_classes=num_classes, **options)
        except AssertionError as error:  # of a vision transformer: the patches do not fill the image
            raise ValueError(f"{image_size[0]} x {image_size[1]} images: {error}") from None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images.expand(-1, 3, -1, -1))
        return logits
