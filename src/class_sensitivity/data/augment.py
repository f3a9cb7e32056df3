"""Flips and crops of a whole chunk of uint8 images at once."""

import numpy as np
import torch
from torch.nn import functional


def pad(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Pads (N, H, W, C) images by reflection to (N, H + 2 * padding, W + 2 * padding, C)."""
    if padding == 0:
        return images
    # Reflection is defined for floating point only; uint8 values are exact in it.
    planes = images.permute(0, 3, 1, 2)
    chunks = [
        functional.pad(chunk.float(), (padding,) * 4, mode="reflect").byte() for chunk in torch.split(planes, 4096)
    ]
    return torch.cat(chunks).permute(0, 2, 3, 1).contiguous()


def flip_and_crop(
    padded: torch.Tensor, indices: torch.Tensor, rng: np.random.Generator, *, padding: int, flip: bool
) -> torch.Tensor:
    """Gathers images, each with a crop and a flip of its own.

    Images that share an offset and a flip are gathered together: (2 * padding + 1)^2 * 2 strided
    copies for a chunk cost far less than one copy or one index map an image.

    Args:
        padded: (N, H + 2 * padding, W + 2 * padding, C) uint8.
        indices: (n,) int64, which images.
        rng: The augmentation stream, at a step of its own for this chunk.
        padding: Pixels by which the images were padded.
        flip: Mirror each image left to right with probability 1/2.

    Returns:
        (n, H, W, C) uint8, in the order of `indices`.
    """
    offsets = 2 * padding + 1
    height, width = padded.shape[1] - 2 * padding, padded.shape[2] - 2 * padding
    # One number says it all: row offset, column offset, flipped or not.
    variant = torch.from_numpy(rng.integers(0, offsets * offsets * (2 if flip else 1), size=len(indices)))
    variant = variant.to(padded.device)
    images = padded.new_empty((len(indices), height, width, padded.shape[3]))
    order = variant.argsort(stable=True)
    bounds = variant.bincount(minlength=offsets * offsets * 2).cumsum(0).tolist()
    for number, (start, stop) in enumerate(zip([0, *bounds], bounds, strict=False)):
        if start == stop:
            continue
        flipped, offset = divmod(number, offsets * offsets)
        top, left = divmod(offset, offsets)
        members = order[start:stop]
        crop = padded[indices[members], top : top + height, left : left + width]
        images[members] = crop.flip(2) if flipped else crop
    return images
