"""An image is decoded to what the annotator sees in the browser."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from maskloop.errors import ImageUnreadable
from maskloop.images.decode import FORMATS, MAX_SCANS, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}
"""What Chromium shows, by orientation: the colours of the quarters top left, top right, bottom left, bottom right."""


def pixels(data: bytes, max_pixels: int = 10_000_000) -> NDArray[np.uint8]:
    image = decode(data, max_pixels=max_pixels)
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert image.flags.c_contiguous
    return image


def encoded(image: Pillow.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def quartered() -> Pillow.Image:
    """80 x 40 pixels: a quarter each of red, green, blue and white."""
    image = Pillow.new("RGB", (80, 40))
    for colour, corner in zip(QUARTERS, ((0, 0), (40, 0), (0, 20), (40, 20)), strict=True):
        image.paste(colour, (*corner, corner[0] + 40, corner[1] + 20))
    return image


def oriented(format: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[274] = orientation
    options = (
        {"lossless": True} if format == "WEBP" else {"compression": "raw"} if format == "TIFF" else {"quality": 95}
    )
    return encoded(quartered(), format, exif=exif, **options)


def quarters(image: NDArray[np.uint8]) -> tuple[tuple[int, ...], ...]:
    height, width = image.shape[:2]
    spots = ((1, 1), (1, 3), (3, 1), (3, 3))
    return tuple(tuple(np.rint(image[height * y // 4, width * x // 4] / 255).astype(int) * 255) for y, x in spots)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Tag data larger")
class TestOrientation:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "AVIF", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_in_exif_turns_the_image_upright(self, format: str, orientation: int) -> None:
        image = pixels(oriented(format, orientation))
        assert image.shape == ((40, 80, 3) if orientation < 5 else (80, 40, 3))
        assert quarters(image) == UPRIGHT[orientation]

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_in_webp_is_ignored_as_browsers_do(self, orientation: int) -> None:
        assert quarters(pixels(oriented("WEBP", orientation))) == QUARTERS

    def test_in_xmp_is_ignored_as_browsers_do(self) -> None:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        data = encoded(quartered(), "JPEG", xmp=xmp)
        assert ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).size == (40, 80), "Pillow alone would turn it"
        assert quarters(pixels(data)) == QUARTERS

    @pytest.mark.parametrize("orientation", [0, 9, 99])
    def test_that_is_none_of_the_eight_is_ignored(self, orientation: int) -> None:
        assert quarters(pixels(oriented("JPEG", orientation))) == QUARTERS

    @pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"nonsense", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
    def test_in_broken_exif_is_ignored(self, exif: bytes) -> None:
        assert quarters(pixels(encoded(quartered(), "JPEG", quality=95, exif=exif))) == QUARTERS

    def test_of_a_deep_or_transparent_image_turns_it_too(self) -> None:
        exif = Pillow.Exif()
        exif[274] = 6
        deep = Pillow.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) << 8)
        assert pixels(encoded(deep, "PNG", exif=exif)).shape == (4, 3, 3)
        assert pixels(encoded(quartered().convert("RGBA"), "PNG", exif=exif)).shape == (80, 40, 3)


class TestModes:
    def test_gray_has_three_equal_channels(self) -> None:
        gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert (pixels(encoded(Pillow.fromarray(gray), "PNG")) == gray[..., None]).all()

    def test_black_and_white(self) -> None:
        image = pixels(encoded(quartered().convert("1"), "PNG"))
        assert set(np.unique(image)) <= {0, 255}

    def test_gray_of_16_bits_in_png_shows_its_upper_eight_as_browsers_do(self) -> None:
        gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        assert (pixels(encoded(Pillow.fromarray(gray), "PNG")) == (gray >> 8)[..., None]).all()

    @pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
    def test_deep_gray_in_tiff_is_stretched_to_be_seen(self, dtype: Any) -> None:
        gray = np.linspace(1000, 1510, 256).reshape(16, 16).astype(dtype)
        image = pixels(encoded(Pillow.fromarray(gray), "TIFF"))
        assert image.min() == 0
        assert image.max() == 255
        assert (np.diff(image[..., 0].reshape(-1).astype(int)) >= 0).all()

    def test_deep_gray_that_is_constant_or_not_a_number_is_black(self) -> None:
        for gray in (np.full((4, 4), 7, np.int32), np.full((4, 4), np.nan, np.float32)):
            assert not pixels(encoded(Pillow.fromarray(gray), "TIFF")).any()

    def test_infinite_values_do_not_hide_the_rest(self) -> None:
        gray = np.array([[0, 1, np.inf, np.nan]], np.float32)
        assert pixels(encoded(Pillow.fromarray(gray), "TIFF"))[0, :, 0].tolist() == [0, 255, 0, 0]

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparent_parts_are_white(self, mode: str) -> None:
        clear = Pillow.new("RGBA", (2, 1), (0, 0, 0, 0))
        clear.putpixel((1, 0), (0, 0, 0, 128))
        assert pixels(encoded(clear.convert(mode), "PNG"))[0].tolist() == [[255] * 3, [127] * 3]

    def test_a_palette_keeps_its_colours(self) -> None:
        image = pixels(encoded(quartered().quantize(4), "PNG"))
        assert quarters(image) == QUARTERS

    def test_a_transparent_colour_of_a_palette_is_white(self) -> None:
        paletted = quartered().quantize(4)
        red = paletted.getpixel((0, 0))
        for format in ("PNG", "GIF"):
            assert quarters(pixels(encoded(paletted, format, transparency=red)))[0] == WHITE

    def test_a_transparent_colour_of_rgb_is_white(self) -> None:
        assert quarters(pixels(encoded(quartered(), "PNG", transparency=RED)))[0] == WHITE

    @pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
    def test_cmyk_and_ycbcr_become_rgb(self, mode: str) -> None:
        format = "TIFF" if mode == "YCbCr" else "JPEG"
        assert quarters(pixels(encoded(quartered().convert(mode), format, quality=95))) == QUARTERS

    def test_only_the_first_page_counts(self) -> None:
        pages = [quartered(), Pillow.new("RGB", (5, 5), "red")]
        for format in ("TIFF", "GIF", "WEBP", "PNG"):
            data = encoded(pages[0], format, save_all=True, append_images=[pages[1].resize((80, 40))])
            assert quarters(pixels(data)) == QUARTERS, format

    @pytest.mark.parametrize("format", FORMATS)
    def test_every_format_is_read(self, format: str) -> None:
        kind = "BMP" if format == "DIB" else format
        assert pixels(encoded(quartered(), kind)).shape == (40, 80, 3)

    def test_a_phones_jpeg_with_a_second_picture_is_read(self) -> None:
        data = encoded(quartered(), "MPO", save_all=True, append_images=[quartered()])
        assert pixels(data).shape == (40, 80, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Tag data larger")
class TestUnreadable:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"])
    def test_a_file_cut_short(self, format: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        data = encoded(Pillow.fromarray(noise), format)
        for length in (1, 10, len(data) // 2):
            with pytest.raises(ImageUnreadable):
                pixels(data[:length])

    def test_an_empty_file(self) -> None:
        with pytest.raises(ImageUnreadable, match="empty"):
            pixels(b"")

    @pytest.mark.parametrize(
        "page", [b"<html>Log in</html>", b"\0" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
    )
    def test_what_is_no_image(self, page: bytes) -> None:
        with pytest.raises(ImageUnreadable, match="no image of a known format"):
            pixels(page)

    @pytest.mark.parametrize("svg", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?xml version='1.0'?><svg/>"])
    def test_svg_is_named(self, svg: bytes) -> None:
        with pytest.raises(ImageUnreadable, match="SVG"):
            pixels(svg)

    def test_too_many_pixels_are_seen_before_any_is_decoded(self) -> None:
        """A file of 100 bytes that says 50,000 x 50,000 pixels: 7 GB if it were decoded."""
        with pytest.raises(ImageUnreadable, match=r"50000 x 50000.*MASKLOOP_MAX_IMAGE_PIXELS"):
            pixels(png_that_says(50_000, 50_000), 2_000_000_000)

    def test_the_limit_is_the_settings_not_the_decoders(self) -> None:
        image = Pillow.new("1", (20_000, 10_000))  # Pillow's own limit is 179 million
        assert pixels(encoded(image, "PNG"), 200_000_000).shape == (10_000, 20_000, 3)
        with pytest.raises(ImageUnreadable, match="MAX_IMAGE_PIXELS"):
            pixels(encoded(image, "PNG"), 199_999_999)

    def test_a_jpeg_has_so_many_scans_at_most(self) -> None:
        """Each takes its time, and repeated ones are refused by no decoder."""
        jpeg = encoded(quartered(), "JPEG", progressive=True)
        scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
        some = MAX_SCANS - jpeg.count(b"\xff\xda")
        assert pixels(jpeg[:-2] + scan * some + jpeg[-2:]).shape == (40, 80, 3)
        with pytest.raises(ImageUnreadable, match=f"of {MAX_SCANS + 1} scans"):
            pixels(jpeg[:-2] + scan * (some + 1) + jpeg[-2:])

    @given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
    def test_any_damage_is_either_seen_or_gives_an_image(self, format: str, data: st.DataObject) -> None:
        damaged = bytearray(encoded(quartered(), format))
        for _ in range(data.draw(st.integers(1, 5))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(ImageUnreadable):
            pixels(bytes(damaged))


def png_that_says(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content("<body></body>")
        yield page
        browser.close()


@pytest.mark.browser
class TestSameAsInABrowser:
    """What Chromium draws for an ``<img>`` is what is decoded: size, orientation, colours, depth, transparency."""

    def shown(self, page: Any, data: bytes, kind: str) -> NDArray[np.uint8]:
        """What an ``<img>`` draws on a white canvas."""
        width, height, rgba = page.evaluate(
            """async source => {
                const image = new Image(); image.src = source; await image.decode();
                const canvas = document.createElement("canvas");
                canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
                const context = canvas.getContext("2d");
                context.fillStyle = "white"; context.fillRect(0, 0, canvas.width, canvas.height);
                context.drawImage(image, 0, 0);
                const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
                return [canvas.width, canvas.height, Array.from(pixels)];
            }""",
            f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        )
        return np.array(rgba, np.uint8).reshape(height, width, 4)[..., :3]

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, page: Any, format: str, orientation: int) -> None:
        data = oriented(format, orientation)
        shown, ours = self.shown(page, data, format.lower()), pixels(data)
        assert shown.shape == ours.shape
        assert quarters(shown) == quarters(ours)

    def test_orientation_in_xmp(self, page: Any) -> None:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        data = encoded(quartered(), "JPEG", xmp=xmp)
        assert self.shown(page, data, "jpeg").shape == pixels(data).shape

    def test_depth_and_transparency(self, page: Any) -> None:
        ramp = np.arange(0, 65536, 128, dtype=np.uint16).reshape(16, 32)
        clear = quartered().convert("RGBA")
        clear.putalpha(Pillow.linear_gradient("L").resize((80, 40)))
        paletted = quartered().quantize(4)
        for data in (
            encoded(Pillow.fromarray(ramp), "PNG"),
            encoded(clear, "PNG"),
            encoded(clear.convert("LA"), "PNG"),
            encoded(paletted, "PNG", transparency=paletted.getpixel((0, 0))),
            encoded(quartered(), "PNG", transparency=RED),
        ):
            difference = self.shown(page, data, "png").astype(int) - pixels(data)
            assert abs(difference).max() <= 2
