"""Flips and crops of a whole chunk of uint8 images at once."""

import numpy as np
import torch


def pad(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Pads (N, H, W, C) images by reflection to (N, H + 2 * padding, W + 2 * padding, C)."""
    if padding == 0:
        return images
    number, height, width, channels = images.shape
    bottom, right = padding + height, padding + width
    padded = images.new_empty((number, bottom + padding, right + padding, channels))
    padded[:, padding:bottom, padding:right] = images
    padded[:, :padding, padding:right] = images[:, 1 : padding + 1].flip(1)
    padded[:, bottom:, padding:right] = images[:, -padding - 1 : -1].flip(1)
    padded[:, :, :padding] = padded[:, :, padding + 1 : 2 * padding + 1].flip(2)
    padded[:, :, right:] = padded[:, :, width - 1 : right - 1].flip(2)
    return padded


def draw_variants(rng: np.random.Generator, number: int, *, padding: int, flip: bool) -> torch.Tensor:
    """Draws how each of a number of images is augmented.

    Args:
        rng: The augmentation stream.
        number: n, how many images.
        padding: Pixels by which images are padded.
        flip: Mirror each left to right with probability 1/2.

    Returns:
        (n,) int64; one number says it all: row offset, column offset, flipped or not.
    """
    offsets = 2 * padding + 1
    return torch.from_numpy(rng.integers(0, offsets * offsets * (2 if flip else 1), size=number))


def flip_and_crop(images: torch.Tensor, indices: torch.Tensor, variants: torch.Tensor, *, padding: int) -> torch.Tensor:
    """Gathers images, each with a crop of its padded self and a flip of its own.

    Args:
        images: (N, H, W, C) uint8.
        indices: (n,) int64, which images.
        variants: (n,) int64 from `draw_variants`, on the same device.
        padding: Pixels by which the images are padded, as `pad` does.

    Returns:
        (n, H, W, C) uint8, in the order of `indices`.
    """
    gather = _gather_by_variant if images.device.type == "cpu" else _gather_by_pixel
    return gather(images, indices, variants, padding)


def _gather_by_variant(
    images: torch.Tensor, indices: torch.Tensor, variants: torch.Tensor, padding: int
) -> torch.Tensor:
    """Images that share an offset and a flip together: (2 * padding + 1)^2 * 2 strided copies for a chunk.

    On a CPU they cost far less than one copy or one index map an image. What is gathered alone is padded: a padded copy
    of the data set would take more memory than all else that a run of CIFAR-10 holds.
    """
    offsets = 2 * padding + 1
    height, width = images.shape[1:3]
    gathered = images.new_empty((len(indices), *images.shape[1:]))
    order = variants.argsort(stable=True)
    padded = pad(images[indices[order]], padding)
    bounds = variants.bincount(minlength=offsets * offsets * 2).cumsum(0).tolist()
    for number, (start, stop) in enumerate(zip([0, *bounds], bounds, strict=False)):
        if start == stop:
            continue
        flipped, offset = divmod(number, offsets * offsets)
        top, left = divmod(offset, offsets)
        crop = padded[start:stop, top : top + height, left : left + width]
        gathered[order[start:stop]] = crop.flip(2) if flipped else crop
    return gathered


def _gather_by_pixel(images: torch.Tensor, indices: torch.Tensor, variants: torch.Tensor, padding: int) -> torch.Tensor:
    """All at once by an index of every pixel: one kernel, and nothing that a GPU would have to wait for."""
    offsets = 2 * padding + 1
    height, width = images.shape[1:3]
    flipped, offset = variants // (offsets * offsets), variants % (offsets * offsets)
    rows = (offset // offsets)[:, None] + torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    columns = (offset % offsets)[:, None] + torch.where(flipped[:, None] > 0, width - 1 - across, across)
    rows, columns = _reflected(rows - padding, height), _reflected(columns - padding, width)
    return images[indices[:, None, None], rows[:, :, None], columns[:, None, :]]


def _reflected(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions of pixels, where those beyond an edge are of the pixels as far on this side of it."""
    return size - 1 - (size - 1 - positions.abs()).abs()
