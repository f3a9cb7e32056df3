"""Arrays as text that a page can hold: one gzip stream, in base64."""

import base64
import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What the page can read, in the words of JavaScript's typed arrays; all little-endian.
_TYPES = {"uint8": "Uint8Array", "uint16": "Uint16Array", "uint32": "Uint32Array", "float32": "Float32Array"}

#: Every array starts at a multiple of this many bytes, as a typed array must.
_ALIGNED = 4


def pack(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], str]:
    """Packs arrays, so that the page unpacks all of them at once.

    Args:
        arrays: Name -> array of uint8, uint16, uint32 or float32.

    Returns:
        Name -> {type, shape, offset in bytes}, and the base64 of the gzip of all bytes. The same arrays give the same
        text.

    Raises:
        KeyError: An array has another type.

    Examples:
        >>> index, text = pack({"preds": np.array([[1, 2]], np.uint8)})
        >>> index
        {'preds': {'type': 'Uint8Array', 'shape': [1, 2], 'offset': 0}}
        >>> gzip.decompress(base64.b64decode(text))
        b'\\x01\\x02\\x00\\x00'
    """
    index: dict[str, Any] = {}
    content = bytearray()
    for name, array in arrays.items():
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        index[name] = {"type": _TYPES[array.dtype.name], "shape": list(array.shape), "offset": len(content)}
        content += stored.tobytes()
        content += bytes(-len(content) % _ALIGNED)
    return index, base64.b64encode(gzip.compress(bytes(content), 6, mtime=0)).decode()


def smallest_unsigned(values: NDArray[np.integer]) -> NDArray[Any]:
    """The same whole numbers in the smallest of the types that the page can read."""
    largest = int(values.max(initial=0))
    return values.astype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32)


def as_bytes(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Shares in [0, 1] as whole numbers from 0 to 255."""
    return np.asarray(np.clip(np.rint(np.asarray(shares, np.float64) * 255), 0, 255), np.uint8)
