"""Test and training images, with what the model made of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from class_sensitivity.figures.axes import AxesArray


def _grid(
    images: NDArray[np.uint8], captions: Sequence[str], columns: int, title: str, *, width: float = 1.15
) -> AxesArray:
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(width * columns, 1.35 * rows + 0.6 * bool(title)), layout="constrained")
    panels: AxesArray = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, caption in zip(panels, images, captions, strict=False):
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(caption, fontsize=8, y=-0.22, parse_math=False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return panels[: len(images)]


def plot_mistaken(images: NDArray[np.uint8], confidence: NDArray[np.floating], title: str) -> AxesArray:
    """Figure 3: images of one class taken for another, with the confidence under each.

    Args:
        images: (m, H, W, C) uint8.
        confidence: (m,) probability given to the wrong class.
        title: What they are.

    Returns:
        (m,) axes.
    """
    return _grid(images, [f"{value:.3f}" for value in confidence], 6, title)


def plot_captioned(images: NDArray[np.uint8], captions: Sequence[str]) -> AxesArray:
    """Images with a line of text under each.

    Args:
        images: (m, H, W, C) uint8.
        captions: m lines.

    Returns:
        (m,) axes.
    """
    return _grid(images, captions, 6, "", width=1.7)


def plot_variety(images: Sequence[NDArray[np.uint8]], titles: Sequence[str]) -> AxesArray:
    """Figure 7: training images of some classes, one block a class.

    Args:
        images: For each class (m, H, W, C) uint8.
        titles: One a class.

    Returns:
        (classes, most images of a class) axes; what a class has too few images for stays empty.
    """
    columns, most = 6, max(1, *map(len, images))
    rows = -(-most // columns)
    figure = Figure(figsize=(1.05 * columns * len(images) + 0.5, 1.05 * rows + 0.7), layout="constrained")
    blocks = np.atleast_1d(np.asarray(figure.subfigures(1, len(images), wspace=0.06)))
    drawn = []
    for block, members, title in zip(blocks, images, titles, strict=True):
        panels = block.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, image in zip(panels, members, strict=False):
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        block.suptitle(title, fontsize=10, parse_math=False)
        drawn.append(panels[:most])
    return np.array(drawn)
