"""Images of every format and of more than 8 bits a pixel: nothing is clipped, and what is left out is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from initlab.errors import DataError
from initlab.tasks import ImageTask, image_folder
from initlab.tasks.sources.image_files import IMAGES
from initlab.tasks.sources.image_folder import read_image_folder

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def both(root: Path, make: Callable[[Path], Any], suffix: str) -> Path:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        make(root / label / f"0.{suffix}")
    return root


# ------------------------------------------------------------------ formats
WRITTEN = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "TIFF", "ppm", "jp2", "j2k", "jpx",
    "tga", "TGA", "pcx", "sgi", "rgb", "ico", "icns", "qoi", "dds",
]  # fmt: skip


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_pillow_decodes_is_read(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = (250, 30, 30)
    raw = read_image_folder(both(tmp_path, Image.fromarray(pixels).save, suffix), size=16)
    assert raw.pool.x.shape == (2, 3, 16, 16)
    left, right = raw.pool.x[0, :, 8, 2].tolist(), raw.pool.x[0, :, 8, 13].tolist()
    assert left[0] > 200 and left[1] < 80 and max(right) < 40
    assert raw.notes == ()


def test_pillow_decodes_no_suffix_that_is_not_thought_of() -> None:
    Image.init()
    # scientific grids without a decoder, films, documents; and EPS, for which Pillow starts Ghostscript
    without = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF", "EPS", "PDF", "PALM", "IPTC"}
    known = {s for s, kind in Image.registered_extensions().items() if kind not in without and kind in Image.OPEN}
    assert known <= IMAGES.suffixes | IMAGES.undecoded


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without libavif")
def test_avif(tmp_path: Path) -> None:
    assert read_image_folder(both(tmp_path, Image.new("RGB", (16, 16), "red").save, "avif")).notes == ()


@pytest.mark.parametrize("suffix", ["heic", "HIF", "jxl"])
def test_a_format_of_a_package_is_read_where_that_is_installed(tmp_path: Path, suffix: str) -> None:
    both(tmp_path, Image.new("RGB", (16, 16), "red").save, "png")
    module = "pillow_jxl" if suffix == "jxl" else "pillow_heif"
    if find_spec(module) is None:
        (tmp_path / "a" / f"1.{suffix}").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
        (note,) = read_image_folder(tmp_path).notes
        package = "pillow-jxl-plugin" if suffix == "jxl" else "pillow-heif"
        assert note.endswith(f"a/1.{suffix} is {suffix.lower()}, which Pillow does not decode (pip install {package})")
        return
    found = import_module(module)
    if suffix != "jxl":
        found.register_heif_opener()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a" / f"1.{suffix}", "JXL" if suffix == "jxl" else "HEIF")
    raw = read_image_folder(tmp_path)
    assert raw.notes == ()
    assert raw.pool.x[1, :, 8, 8].tolist()[0] > 240


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    both(tmp_path, Image.new("L", (8, 8)).save, "png")
    for name in ("0.txt", "1.txt", "meta.json", "Thumbs.db", "0001"):
        (tmp_path / "a" / name).write_bytes(b"{}")
    (tmp_path / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "a" / "0.png").write_bytes(b"\0\5\x16\7")
    raw = read_image_folder(tmp_path)
    assert raw.class_names == ("a", "b")
    assert raw.notes == ("files that are no images are left out: 2 .txt, 1 without a suffix, 1 .json",)


def test_only_the_first_of_several_frames_is_read_and_said(tmp_path: Path) -> None:
    both(tmp_path, Image.new("L", (8, 8), 9).save, "png")
    frames = [Image.new("L", (8, 8), v) for v in (50, 90, 130)]
    frames[0].save(tmp_path / "a" / "film.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b" / "stack.tif", save_all=True, append_images=frames[1:])
    raw = read_image_folder(tmp_path)
    assert raw.notes == ("2 of 4 images hold several images; the first of each is read",)
    assert raw.pool.x[1].unique().tolist() == [50]


# ------------------------------------------------------------------ more than 8 bits
def save_16(path: Path) -> None:
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_16_bits_keep_their_range_and_steps(tmp_path: Path, suffix: str) -> None:
    raw = read_image_folder(both(tmp_path, save_16, suffix), size=8)
    assert raw.pool.x.dtype == torch.float32 and raw.pool.x.shape == (2, 1, 8, 8)
    assert np.allclose(raw.pool.x[0, 0].numpy(), RAMP * 255, atol=1e-2)
    assert raw.notes == ("2 of 2 images hold 16 bits; they become 0 to 255 with decimals",)


def test_12_bits_in_16_are_more_than_16_levels(tmp_path: Path) -> None:
    dark = (np.arange(64).reshape(8, 8) * 64).astype(np.uint16)
    raw = read_image_folder(both(tmp_path, Image.fromarray(dark).save, "png"), size=8)
    assert len(raw.pool.x[0].unique()) == 64


def test_16_bits_beside_8_have_one_scale(tmp_path: Path) -> None:
    both(tmp_path, Image.fromarray((RAMP * 255).astype(np.uint8)).save, "png")
    save_16(tmp_path / "b" / "deep.png")
    x = read_image_folder(tmp_path, size=8).pool.x
    assert float((x[1] - x[2]).abs().max()) < 1.01


@pytest.mark.parametrize("scale", [1.0, 1e-3, 5000.0])
def test_floats_keep_their_values(tmp_path: Path, scale: float) -> None:
    values = ((RAMP - 0.25) * scale).astype(np.float32)
    raw = read_image_folder(both(tmp_path, Image.fromarray(values).save, "tiff"), size=8)
    assert np.allclose(raw.pool.x[0, 0].numpy(), values)
    assert raw.notes == ("2 of 2 images hold floats or 32 bits; their values are taken as they are",)


@pytest.mark.parametrize("low", [0, -(2**30)])
def test_whole_numbers_of_32_bits_keep_their_values(tmp_path: Path, low: int) -> None:
    values = (low + RAMP * 2**30).astype(np.int32)
    raw = read_image_folder(both(tmp_path, Image.fromarray(values).save, "tif"), size=8)
    assert np.allclose(raw.pool.x[0, 0].numpy(), values, rtol=1e-6)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_floats_are_resized(tmp_path: Path, fit: Any) -> None:
    wide = np.tile(RAMP.astype(np.float32) * 7 - 3, (2, 5))
    x = read_image_folder(both(tmp_path, Image.fromarray(wide).save, "tif"), size=12, fit=fit).pool.x
    assert x.shape == (2, 1, 12, 12)
    assert -3 <= float(x.min()) < -1.5 and 2.5 < float(x.max()) <= 4


def test_floats_beside_8_bits_are_refused(tmp_path: Path) -> None:
    both(tmp_path, Image.new("L", (8, 8)).save, "png")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "b" / "1.tif")
    with pytest.raises(DataError, match=r"b/1\.tif holds floats, a/0\.png 8 bits: their scales cannot be told"):
        read_image_folder(tmp_path)


def test_floats_that_are_no_numbers_are_bad_files(tmp_path: Path) -> None:
    both(tmp_path, Image.fromarray(RAMP.astype(np.float32)).save, "tif")
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "b" / "1.tif")
    assert "1 of 3 images were skipped: b/1.tif holds NaN or infinite values" in read_image_folder(tmp_path).notes


def test_deep_images_train(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for i in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            Image.fromarray((RAMP * 6000 * (i + 1)).astype(np.uint16)).save(tmp_path / label / f"{i}.png")
    splits = ImageTask(data=image_folder(path=tmp_path, augment="crop_flip")).open(seed=0, device=torch.device("cpu"))
    assert splits.prepare is not None
    x = splits.prepare(splits.train.x)
    assert abs(float(x.mean())) < 1e-3 and abs(float(x.std()) - 1) < 1e-2


# ------------------------------------------------------------------ palettes, transparency, colour spaces
def test_a_grey_palette_is_grey(tmp_path: Path) -> None:
    grey = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("P")
    raw = read_image_folder(both(tmp_path, grey.save, "png"), size=8)
    assert raw.pool.x.shape[1] == 1
    assert np.abs(raw.pool.x[0, 0].numpy() - RAMP * 255).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    if mode == "P":
        made = Image.new("P", (8, 8), 1)
        made.putpalette([0, 0, 0, 0, 0, 0])
        made.paste(0, (0, 0, 4, 8))
        made.info["transparency"] = 0
    else:
        made = image.convert("LA") if mode == "LA" else image
    suffix = "gif" if mode == "PA" else "png"
    x = read_image_folder(both(tmp_path, made.save, suffix), size=8).pool.x
    assert x[0, 0, :, :3].unique().tolist() == [255]
    assert x[0, 0, :, 5:].unique().tolist() == [0]


def test_a_transparent_value_of_16_bits_is_white(tmp_path: Path) -> None:
    values = np.full((8, 8), 1000, np.uint16)
    values[:4] = 20_000
    both(tmp_path, lambda p: Image.fromarray(values).save(p, transparency=1000), "png")
    x = read_image_folder(tmp_path, size=8).pool.x
    assert x[0, 0, 6].unique().tolist() == [255.0]


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("LAB", "tif")])
def test_colour_spaces(tmp_path: Path, mode: str, suffix: str) -> None:
    red = Image.new("RGB", (16, 16), (220, 40, 40))
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        made = ImageCms.profileToProfile(red, srgb, lab, outputMode="LAB")
    else:
        made = red.convert(mode)
    assert made is not None
    x = read_image_folder(both(tmp_path, made.save, suffix)).pool.x[0, :, 16, 16].tolist()
    assert np.abs(np.array(x) - [220, 40, 40]).max() < 8
