"""From the bytes of one image file to pixels of the asked size, or to the reason why there are none."""

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from class_sensitivity.data.importing.listing import ImageFile
from class_sensitivity.data.importing.settings import ImportSettings

#: A file with more pixels is refused: it would fill the memory, and is more often an attack or a mistake than data.
MAX_PIXELS = 100_000_000

#: What is read. Left out are formats that start other programs (EPS, WMF) and those that hold no single image.
_FORMATS = ["AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"]

#: EXIF orientation -> what brings the image upright (CIPA DC-008, Exif 2.32, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file once it has been read.

    Attributes:
        sha256: Of its bytes; empty where it could not be opened.
        defect: Why it cannot be used, to follow "it"; None for an image.
        mode: Pillow's name of its kind of pixels, such as `RGB`, `L` (grey), `P` (palette), `CMYK` or `I;16`.
        width: In pixels, as stored ...
        height: ... before any turning.
        turned: Whether its EXIF data say that it is to be turned or mirrored.
        transparent: Whether a pixel is not opaque.
        first_of_several: Whether it holds further images, such as an animation.
    """

    sha256: str
    defect: str | None = None
    mode: str = ""
    width: int = 0
    height: int = 0
    turned: bool = False
    transparent: bool = False
    first_of_several: bool = False


class _Unusable(Exception):
    """A defect that is ours to state."""


def read_image(file: ImageFile, settings: ImportSettings) -> tuple[FileFacts, NDArray[np.uint8] | None]:
    """Reads and decodes one file.

    Returns:
        What it is, and its (H, W, C) pixels; None where it cannot be used.
    """
    if file.size < 0:
        return FileFacts("", "is no file, or a link that leads nowhere"), None
    try:
        content = Path(file.path).read_bytes()
    except OSError as error:
        return FileFacts("", f"cannot be opened ({error.strerror})"), None
    digest = hashlib.sha256(content).hexdigest()
    try:
        return _decode(content, digest, settings)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly anything
        return FileFacts(digest, _defect(error, len(content))), None


def file_digest(file: ImageFile) -> str:
    """The SHA-256 of a file's bytes; empty where it cannot be opened."""
    try:
        return hashlib.sha256(Path(file.path).read_bytes()).hexdigest() if file.size >= 0 else ""
    except OSError:
        return ""


def _decode(content: bytes, digest: str, settings: ImportSettings) -> tuple[FileFacts, NDArray[np.uint8]]:
    # The size is known before a pixel is decoded.
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        mode, (width, height) = image.mode, image.size
        if width * height > MAX_PIXELS:
            raise _Unusable(f"has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,} in all; store it smaller")
        several = bool(getattr(image, "is_animated", False))
        # JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as that is twice what is asked for.
        enough = 2 * max(settings.image_size)
        image.draft(None, (enough, enough))
        # Pillow turns a TIFF itself when it loads it; a PNG may state it behind its pixels.
        stated = _turn(image)
        image.load()
        turn = _turn(image)
        upright = image if turn is None else image.transpose(turn)
        background = ImageColor.getrgb(settings.background)[:3]
        flat, transparent = _laid_on(_eight_bits(upright), background)
        pixels = np.asarray(_fitted(flat, settings, background), dtype=np.uint8)
    turned = stated is not None or turn is not None
    facts = FileFacts(digest, None, mode, width, height, turned, transparent, several)
    return facts, pixels.reshape(*settings.image_size, settings.channels)


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the image upright; damaged EXIF data say nothing, and the pixels beside them are whole."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))  # type: ignore[arg-type]
    except Exception:
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 bits brought to 8; Pillow's own conversion would cut the large ones off."""
    if image.mode == "F":
        raise _Unusable("has pixels that are fractions, whose range no file states; store it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _Unusable("has pixels of 32 bits, whose range no file states; store it with 8 or 16 bits")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def _laid_on(image: Image.Image, background: tuple[int, ...]) -> tuple[Image.Image, bool]:
    """The image in mode L or RGB, what is transparent laid on a background; and whether anything was."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if np.asarray(layer)[..., 3].min() < 255:
            ground = Image.new("RGBA", image.size, background)
            ground.alpha_composite(layer)
            return ground.convert("RGB"), True
    return (image if image.mode in ("L", "RGB") else image.convert("RGB")), False


def _fitted(image: Image.Image, settings: ImportSettings, background: tuple[int, ...]) -> Image.Image:
    """The image in the size and with the channels that are asked for; unchanged where it has both."""
    height, width = settings.image_size
    image = image.convert("L" if settings.channels == 1 else "RGB")
    size, method = (width, height), Image.Resampling.LANCZOS
    if settings.fit == "stretch":
        return image.resize(size, method)
    if settings.fit == "pad":
        colour = Image.new("RGB", (1, 1), background).convert(image.mode).getpixel((0, 0))
        return ImageOps.pad(image, size, method, color=colour)  # type: ignore[arg-type]
    return ImageOps.fit(image, size, method)


def _defect(error: Exception, size: int) -> str:
    """Why a file cannot be decoded, to follow "it"."""
    if isinstance(error, _Unusable):
        return str(error)
    if size == 0:
        return "is empty"
    if isinstance(error, UnidentifiedImageError):
        return "is no image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS:,} pixels; store it smaller"
    if isinstance(error, EOFError | struct.error) or "truncated" in str(error).lower():
        return "is cut off"
    return f"is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
