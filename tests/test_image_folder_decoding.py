"""One image file: whatever its format, size and kind of pixels, or however it is broken."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.pictures import picture

from class_sensitivity.data.importing.decoding import MAX_PIXELS, FileFacts, read_image
from class_sensitivity.data.importing.listing import ImageFile
from class_sensitivity.data.importing.settings import ImportSettings


def read(path: Path, **options: object) -> tuple[FileFacts, np.ndarray | None]:
    state = path.stat()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in an import
        return read_image(
            ImageFile(str(path), "cat", None, state.st_size, state.st_mtime_ns), ImportSettings.of("x", options)
        )


def read_saved(image: Image.Image, path: Path, how: dict[str, object] | None = None, **options: object):
    """What is read of an image after it was saved; in its own size unless another is asked for."""
    image.save(path, **(how or {}))
    facts, pixels = read(path, **{"image_size": list(image.size[::-1])} | options)
    assert facts.defect is None, facts.defect
    return facts, pixels


def defect_of(content: bytes, path: Path, **options: object) -> str:
    path.write_bytes(content)
    facts, pixels = read(path, **options)
    assert pixels is None
    assert facts.defect
    return facts.defect


def png(width: int, height: int) -> bytes:
    """A PNG file that says it has that many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# Kinds of pixels


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga"])
def test_an_image_of_the_asked_size_is_not_changed(tmp_path, suffix):
    image = picture(height=32, width=24)
    facts, pixels = read_saved(image, tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(pixels, np.asarray(image))
    assert facts == FileFacts(facts.sha256, None, "RGB", 24, 32)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_black_and_white_and_palette_images_become_rgb(tmp_path, mode):
    image = picture().convert(mode)
    facts, pixels = read_saved(image, tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))
    assert facts.mode == mode
    assert not facts.transparent


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif"), ("L", "jpg")])
def test_colours_survive_a_conversion_from_another_colour_space(tmp_path, mode, suffix):
    image = Image.new("RGB", (16, 16), (200, 90, 40))
    if mode == "L":
        image = image.convert("L").convert("RGB")
    facts, pixels = read_saved(image.convert(mode), tmp_path / f"a.{suffix}")
    assert facts.mode == mode
    assert np.abs(pixels.astype(int) - np.asarray(image).astype(int)).max() <= 3


def test_grey_values_of_16_bits_are_scaled_and_not_cut_off(tmp_path):
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    for suffix in ("png", "tif", "pgm"):
        facts, pixels = read_saved(Image.fromarray(values), tmp_path / f"a.{suffix}", channels=1)
        assert facts.mode.startswith("I")
        assert pixels.shape == (8, 8, 1)
        np.testing.assert_array_equal(pixels[..., 0], [[round(int(value) / 257) for value in row] for row in values])


def test_pixels_without_a_known_range_are_refused(tmp_path):
    for values, words in ((np.full((4, 4), 0.5, np.float32), "fractions"), (np.full((4, 4), -1, np.int32), "32 bits")):
        Image.fromarray(values).save(tmp_path / "a.tif")
        facts, pixels = read(tmp_path / "a.tif")
        assert pixels is None
        assert words in str(facts.defect)


def _transparent(kind: str) -> Image.Image:
    """An opaque left half of (10, 20, 30) or grey 10, and a right half that cannot be seen."""
    image = Image.new("RGBA", (8, 8), (10, 20, 30, 255))
    image.paste((200, 0, 0, 0), (4, 0, 8, 8))
    if kind == "LA":
        return image.convert("LA")
    if kind == "P":
        indexed = Image.new("P", (8, 8), 1)
        indexed.putpalette([200, 0, 0, 10, 20, 30])
        indexed.paste(0, (4, 0, 8, 8))
        return indexed
    return image


@pytest.mark.parametrize(("kind", "colour"), [("RGBA", [10, 20, 30]), ("LA", [18] * 3), ("P", [10, 20, 30])])
@pytest.mark.parametrize(("background", "behind"), [("white", [255] * 3), ("#0102ff", [1, 2, 255])])
def test_what_is_transparent_shows_the_background(tmp_path, kind, colour, background, behind):
    how = {"transparency": 0} if kind == "P" else {}
    facts, pixels = read_saved(_transparent(kind), tmp_path / "a.png", how, background=background)
    assert (facts.mode, facts.transparent) == (kind, True)
    assert np.abs(pixels[:, :4].astype(int) - colour).max() <= 1
    np.testing.assert_array_equal(pixels[:, 4:], np.broadcast_to(behind, (8, 4, 3)))


def test_half_transparent_pixels_are_mixed_and_an_opaque_alpha_is_no_transparency(tmp_path):
    image = Image.new("RGBA", (4, 4), (100, 100, 100, 128))
    _, pixels = read_saved(image, tmp_path / "a.png", background="black")
    assert np.abs(pixels.astype(int) - 50).max() <= 1
    image.putalpha(255)
    facts, _ = read_saved(image, tmp_path / "b.png")
    assert not facts.transparent


def test_one_channel_gives_the_luminance(tmp_path):
    image = picture()
    _, pixels = read_saved(image, tmp_path / "a.png", channels=1)
    expected = np.asarray(image).astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(pixels[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_image_counts(tmp_path, suffix):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    how = {"save_all": True, "append_images": [second]} | ({"lossless": True} if suffix == "webp" else {})
    facts, pixels = read_saved(first, tmp_path / f"a.{suffix}", how)
    assert facts.first_of_several
    np.testing.assert_array_equal(pixels, np.asarray(first))


# Orientation


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_data_say(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    how = {"exif": exif} | ({"lossless": True} if suffix == "webp" else {})
    path = tmp_path / f"a.{suffix}"
    picture(height=20, width=20).save(path, **how)
    facts, pixels = read(path, image_size=20)
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels, np.asarray(ImageOps.exif_transpose(image)))
    assert facts.turned == (orientation != 1)


def test_damaged_exif_data_beside_whole_pixels_are_no_reason_to_refuse_an_image(tmp_path):
    path = tmp_path / "a.webp"
    image = picture(height=20, width=20)
    exif = Image.Exif()
    exif[274] = 6
    image.save(path, exif=exif, lossless=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"MM\0*", b"MM\0[").replace(b"II*\0", b"II[\0"))
    assert path.read_bytes() != content
    facts, pixels = read(path, image_size=20)
    assert not facts.turned
    np.testing.assert_array_equal(pixels, np.asarray(image))


# Size


def _bands() -> Image.Image:
    """96 x 32: a red, a green and a blue third."""
    image = Image.new("RGB", (96, 32), "red")
    image.paste("lime", (32, 0, 64, 32))
    image.paste("blue", (64, 0, 96, 32))
    return image


def test_crop_keeps_the_middle_stretch_keeps_all_and_pad_keeps_all_in_proportion(tmp_path):
    _bands().save(tmp_path / "a.png")
    found = {fit: read(tmp_path / "a.png", image_size=24, fit=fit)[1] for fit in ("crop", "stretch", "pad")}
    lime = [0, 255, 0]
    assert np.abs(found["crop"][:, 2:-2].astype(int) - lime).max() <= 8
    middles = found["stretch"][12, [4, 12, 20]]
    np.testing.assert_array_equal(middles, [[255, 0, 0], lime, [0, 0, 255]])
    np.testing.assert_array_equal(found["pad"][12, [4, 12, 20]], middles)
    assert (found["pad"][:7] == 255).all()
    assert (found["pad"][-7:] == 255).all()


def test_padding_has_the_colour_of_the_background_whatever_the_channels(tmp_path):
    _bands().save(tmp_path / "a.png")
    _, pixels = read(tmp_path / "a.png", image_size=24, fit="pad", background="red")
    np.testing.assert_array_equal(pixels[0], np.broadcast_to([255, 0, 0], (24, 3)))
    _, pixels = read(tmp_path / "a.png", image_size=24, fit="pad", background="red", channels=1)
    assert (pixels[0] == 76).all()  # the luminance of red


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_every_size_is_brought_to_the_asked_one(tmp_path, fit, size):
    facts, pixels = read_saved(Image.new("RGB", size, "white"), tmp_path / "a.png", image_size=[9, 14], fit=fit)
    assert pixels.shape == (9, 14, 3)
    assert (pixels == 255).all()
    assert (facts.width, facts.height) == size


def test_a_photograph_that_is_decoded_at_a_part_of_its_size_looks_as_when_decoded_in_full(tmp_path):
    rough = picture(height=12, width=16).resize((1600, 1200), Image.Resampling.BICUBIC)
    rough.save(tmp_path / "a.jpg", quality=95)
    facts, pixels = read(tmp_path / "a.jpg", image_size=32)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = ImageOps.fit(image, (32, 32), Image.Resampling.LANCZOS)
    assert (facts.width, facts.height) == (1600, 1200)
    assert np.abs(pixels.astype(int) - np.asarray(expected).astype(int)).max() <= 4


# Broken files


def test_files_that_are_no_images_say_why(tmp_path):
    path = tmp_path / "a.png"
    assert defect_of(b"", path) == "is empty"
    assert defect_of(b"just a text\n", path) == "is no image of a known format"
    assert defect_of(b"\x89PNG\r\n\x1a\n", path) == "is no image of a known format"
    # Pillow would start Ghostscript.
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    assert defect_of(postscript, path) == "is no image of a known format"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_an_image_that_was_cut_off_is_broken(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    picture(height=64, width=64).save(path)
    content = path.read_bytes()
    for share in (0.3, 0.5, 0.8):
        assert defect_of(content[: int(share * len(content))], path)


def test_a_file_that_unfolds_into_too_many_pixels_is_never_decoded(tmp_path):
    path = tmp_path / "a.png"
    assert "20,000" in defect_of(png(20_000, 5_001), path)
    for side in (12_000, 20_000, 65_000):
        assert f"more than {MAX_PIXELS:,}" in defect_of(png(side, side), path)
    assert "more than" not in defect_of(png(10_000, 10_000), path)  # it is cut off


def test_a_path_without_a_file_says_so(tmp_path):
    settings = ImportSettings.of("x", {})
    facts, pixels = read_image(ImageFile(str(tmp_path / "none.png"), "cat", None, -1, 0), settings)
    assert (facts.sha256, pixels) == ("", None)
    assert "no file" in str(facts.defect)
    # It went between the listing and the reading.
    facts, _ = read_image(ImageFile(str(tmp_path / "none.png"), "cat", None, 7, 0), settings)
    assert "cannot be opened" in str(facts.defect)


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), st.randoms())
def test_no_bytes_do_more_than_make_a_file_broken(tmp_path_factory, noise, form, random):
    stream = io.BytesIO()
    picture().save(stream, form)
    content = bytearray(stream.getvalue())
    start = random.randrange(len(content))
    content[start : start + len(noise)] = noise
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(content)
    facts, pixels = read(path, image_size=8)
    assert (facts.defect is None) == (pixels is not None)
    if pixels is not None:
        assert (pixels.shape, pixels.dtype) == ((8, 8, 3), np.uint8)
    os.remove(path)
