"""Names of parts in other people's folders, and files that cannot be read."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from initlab.errors import DataError
from initlab.tasks.part_names import part_of
from initlab.tasks.sources.image_folder import read_image_folder
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.folder import read_audio_folder

RAW = Features(kind="waveform", sample_rate=8000)


def pictures(home: Path, n: int = 4, suffix: str = "png") -> None:
    home.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(home / f"{i}.{suffix}")


def sounds(home: Path, n: int = 4, suffix: str = "wav", **how: Any) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000 + 800 * i) / 8000)
        soundfile.write(home / f"{i}.{suffix}", tone, 8000, **how)


def read(kind: str, place: Path, **how: Any) -> Any:
    if kind == "pictures":
        return read_image_folder(place, **how)
    return read_audio_folder(place, RAW, cache=place.parent / "cache", **how)


MAKE = {"pictures": pictures, "sounds": sounds}
both = pytest.mark.parametrize("kind", MAKE)


def split(kind: str, root: Path, *parts: str, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for part in parts:
        for name in names:
            MAKE[kind](root / part / name)
    return root


# ------------------------------------------------------------------ parts
@both
@pytest.mark.parametrize(
    ("parts", "has"),
    [
        (("Train", "Test"), "test"),
        (("training", "testing"), "test"),
        (("Training", "Testing"), "test"),
        (("TRAIN", "VAL"), "val"),
        (("train", "Validation"), "val"),
        (("Train", "valid"), "val"),
        (("train", "dev"), "val"),
        (("Train", "Eval"), "val"),
        (("training_set", "test_set"), "test"),
        (("Train Data", "Test-Data"), "test"),
        (("TrAiN", "dev", "TEST"), "val test"),
        (("Training",), ""),
    ],
)
def test_parts_by_any_of_their_names(tmp_path: Path, kind: str, parts: tuple[str, ...], has: str) -> None:
    raw = read(kind, split(kind, tmp_path / "data", *parts))
    assert raw.class_names == ("cat", "dog")
    assert len(raw.pool) == 8
    assert " ".join(p for p in ("val", "test") if getattr(raw, p) is not None) == has
    assert raw.notes == ()


@both
@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("train", "valid", "validation"), "valid and validation both name the val part"),
        (("Train", "training"), "Train and training both name the train part"),
        (("train", "dev", "val"), "dev and val both name the val part"),
        (("train", "Test", "testing"), "Test and testing both name the test part"),
        (("Testing", "Validation"), "holds Testing and Validation, but no train; rename the one to train on to train"),
        (("test",), "holds test, but no train"),
    ],
)
def test_parts_that_are_ambiguous_or_lack_one_to_train_on(
    tmp_path: Path, kind: str, parts: tuple[str, ...], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        read(kind, split(kind, tmp_path / "data", *parts))


@both
def test_what_lies_beside_the_parts(tmp_path: Path, kind: str) -> None:
    root = split(kind, tmp_path / "data", "Training", "Test")
    MAKE[kind](root / "test-multiple_fruits")
    (root / "papers").mkdir()
    raw = read(kind, root)
    assert raw.class_names == ("cat", "dog")
    assert raw.notes == ("beside the parts, papers, test-multiple_fruits is left out",)


@both
def test_files_in_no_class_folder_are_counted(tmp_path: Path, kind: str) -> None:
    root = split(kind, tmp_path / "data", "Training", "Test")
    MAKE[kind](root / "Training", n=2)
    suffix = "png" if kind == "pictures" else "wav"
    noun = "images" if kind == "pictures" else "recordings"
    raw = read(kind, root)
    assert len(raw.pool) == 8
    assert raw.notes == (f"2 {noun} that lie in no class folder of Training are left out: 0.{suffix}, 1.{suffix}",)


@both
def test_a_test_part_without_classes_is_told_so(tmp_path: Path, kind: str) -> None:
    root = split(kind, tmp_path / "data", "train")
    MAKE[kind](root / "test", n=3)
    with pytest.raises(DataError, match=r"test: holds 3 \w+ in no class folder; put a folder of \w+ per class there"):
        read(kind, root)


@both
def test_train_beside_classes_is_refused(tmp_path: Path, kind: str) -> None:
    root = split(kind, tmp_path / "data", "train")
    MAKE[kind](root / "tram")
    with pytest.raises(DataError, match="train with folders in it beside tram: where it is the training part, move"):
        read(kind, root)


@both
def test_classes_beside_a_test_part_are_told_where_to_go(tmp_path: Path, kind: str) -> None:
    root = split(kind, tmp_path / "data", "Test")
    split(kind, root, "")
    with pytest.raises(DataError, match="holds Test beside the classes cat, dog; put these into train/"):
        read(kind, root)


@both
def test_classes_may_be_called_like_parts(tmp_path: Path, kind: str) -> None:
    for name in ("valid", "invalid"):
        MAKE[kind](tmp_path / "data" / name)
    assert read(kind, tmp_path / "data").class_names == ("invalid", "valid")


@both
def test_a_folder_around_the_folder_is_pointed_out(tmp_path: Path, kind: str) -> None:
    split(kind, tmp_path / "data" / "archive", "")
    with pytest.raises(DataError, match=r"holds 1 class folder.*did you mean data\.path=.*archive"):
        read(kind, tmp_path / "data")


def test_names_that_are_no_parts() -> None:
    assert [
        part_of(n) for n in ("cat", "trainer", "contest", "detest", "evaluations", "training camp", "", "tests")
    ] == [None] * 8


# ------------------------------------------------------------------ images that cannot be read
def bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


BAD = {
    "empty.png": b"",
    "text.png": b"this is text, whatever its name says\n" * 9,
    "short.jpg": jpeg()[:1500],
    "HALF.JPEG": jpeg()[:700],
    "header.png": b"\x89PNG\r\n",
    "noise.gif": np.random.default_rng(1).bytes(500),
    "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "bomb.png": bomb(60_000, 60_000),
    "large.png": bomb(9_900, 9_900),
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
    "phone.heic": b"\0\0\0\x18ftypheic" + bytes(200),
    "drawing.SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_image_is_passed_over_named_and_counted(tmp_path: Path, name: str) -> None:
    for label in ("a", "b"):
        pictures(tmp_path / label)
    (tmp_path / "b" / name).write_bytes(BAD[name])
    raw = read_image_folder(tmp_path)
    assert len(raw.pool) == 8
    (note,) = raw.notes
    assert note.startswith(f"1 of 9 images were skipped: b/{name} ")
    with pytest.raises(DataError, match=rf"b/{name}: .*repair or remove it, or skip it with data\.bad_files=skip"):
        read_image_folder(tmp_path, bad_files="error")


def test_many_bad_images(tmp_path: Path) -> None:
    for label in ("a", "b"):
        pictures(tmp_path / label, n=8)
    for name, content in BAD.items():
        (tmp_path / "b" / name).write_bytes(content)
    (note,) = read_image_folder(tmp_path).notes
    assert note.startswith("12 of 28 images were skipped: b/HALF.JPEG cannot be read as an image")
    assert note.endswith("; ...")
    with pytest.raises(
        DataError, match=r"\(and 11 more: b/bomb\.png, b/drawing\.SVG, b/empty\.png, \.\.\.\), or data\.bad_files=skip"
    ):
        read_image_folder(tmp_path, bad_files="error")
    for i in range(5):
        (tmp_path / "a" / f"{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"17 of 28 images cannot be used: a/0\.png is empty; .*convert heic and svg"):
        read_image_folder(tmp_path)


def test_a_class_or_a_part_that_would_be_left_empty(tmp_path: Path) -> None:
    for part, n in (("train", 9), ("Test", 2)):
        for label in ("a", "b"):
            pictures(tmp_path / part / label, n=n)
    for label in ("a", "b"):
        for file in (tmp_path / "Test" / label).iterdir():
            file.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"holds no usable image of the test part: Test/a/0\.png cannot be read"):
        read_image_folder(tmp_path)
    for label in ("a", "b"):
        pictures(tmp_path / "Test" / label, n=1)
    for file in (tmp_path / "train" / "b").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no usable image of class 'b': train/b/0\.png is empty"):
        read_image_folder(tmp_path)


def test_a_class_of_formats_that_are_not_decoded(tmp_path: Path) -> None:
    pictures(tmp_path / "a", n=5)
    pictures(tmp_path / "b", n=2)
    for i, file in enumerate(sorted((tmp_path / "b").iterdir())):
        file.with_suffix(".heic" if i else ".CR2").write_bytes(b"\0" * 99)
        file.unlink()
    with pytest.raises(
        DataError, match=r"class 'b': .*which Pillow does not decode.*convert cr2 and heic to png or jpg"
    ):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("suffix", ["jfif", "JPG", "webp", "tiff", "bmp", "gif", "ppm"])
def test_images_of_other_suffixes_are_read(tmp_path: Path, suffix: str) -> None:
    for label in ("a", "b"):
        pictures(tmp_path / label, suffix=suffix)
    assert len(read_image_folder(tmp_path).pool) == 8


# ------------------------------------------------------------------ recordings of other formats
@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("mp3", {"format": "MP3"}),
        ("MP3", {"format": "MP3"}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("OGA", {"format": "OGG"}),
        ("aif", {"format": "AIFF"}),
        ("AIFF", {"format": "AIFF", "subtype": "FLOAT"}),
        ("caf", {"format": "CAF"}),
        ("w64", {"format": "W64"}),
        ("au", {"format": "AU"}),
        ("m4a", {"format": "MP3"}),  # decoded for what it is
    ],
)
def test_what_libsndfile_decodes_is_read(tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
    sounds(tmp_path / "data" / "a", suffix=suffix, **how)
    sounds(tmp_path / "data" / "b")
    raw = read("sounds", tmp_path / "data")
    assert raw.pool.y.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert raw.notes == ()
    assert float(raw.pool.x[0].float().abs().max()) > 0.1


UNDECODED = {
    "x.m4a": b"\0\0\0\x20ftypM4A " + bytes(4000),
    "x.AAC": b"\xff\xf1\x50\x80\x0d\x7f\xfc" + bytes(4000),
    "x.wma": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(4000),
    "x.webm": b"\x1a\x45\xdf\xa3" + bytes(4000),
    "x.amr": b"#!AMR\n" + bytes(4000),
    "x.Mp4": b"\0\0\0\x18ftypmp42" + bytes(4000),
}


@pytest.mark.parametrize("name", UNDECODED)
def test_what_cannot_be_decoded_is_named_and_counted(tmp_path: Path, name: str) -> None:
    for label in ("a", "b"):
        sounds(tmp_path / "data" / label)
    (tmp_path / "data" / "a" / name).write_bytes(UNDECODED[name])
    suffix = name[2:].lower()
    raw = read("sounds", tmp_path / "data")
    assert raw.notes == (f"1 of 9 recordings were skipped: a/{name} is {suffix}, which libsndfile does not decode",)
    with pytest.raises(DataError, match=rf"is {suffix}, which libsndfile does not decode.*data\.bad_files=skip"):
        read("sounds", tmp_path / "data", bad_files="error")


def test_a_folder_of_what_cannot_be_decoded_alone(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for name, content in UNDECODED.items():
            (tmp_path / "data" / label / name).write_bytes(content)
    told = r"no usable training recording of class 'a': .*convert aac and amr and m4a and mp4 and webm and wma to wav"
    with pytest.raises(DataError, match=told):
        read("sounds", tmp_path / "data")


def test_a_folder_of_what_is_no_recording_says_what_it_holds(tmp_path: Path) -> None:
    sounds(tmp_path / "data" / "a")
    (tmp_path / "data" / "b").mkdir()
    for i in range(3):
        (tmp_path / "data" / "b" / f"{i}.mid").write_bytes(b"MThd")
    with pytest.raises(DataError, match=r"b: holds no recordings \(only 3 \.mid\); put aif"):
        read("sounds", tmp_path / "data")


def test_a_test_part_that_cannot_be_read_is_not_replaced_with_one_cut_off(tmp_path: Path) -> None:
    split("sounds", tmp_path / "data", "train")
    for label in ("cat", "dog"):
        (tmp_path / "data" / "test" / label).mkdir(parents=True)
        (tmp_path / "data" / "test" / label / "0.m4a").write_bytes(UNDECODED["x.m4a"])
    with pytest.raises(DataError, match=r"no usable recording of the test part: test/cat/0\.m4a is m4a"):
        read("sounds", tmp_path / "data")


@pytest.mark.parametrize(("suffix", "how"), [("aiff", {}), ("au", {}), ("mp3", {"format": "MP3"})])
def test_recordings_cut_short_in_other_formats(tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
    for label in ("a", "b"):
        sounds(tmp_path / "data" / label, suffix=suffix, **how)
    file = tmp_path / "data" / "a" / f"3.{suffix}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (note,) = read("sounds", tmp_path / "data").notes
    assert note == f"1 of 8 recordings were skipped: a/3.{suffix} is cut short"
