"""Parts inside class folders, parts one folder below, and parts that lack classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab.errors import DataError
from tests.tasks.test_class_folders import MAKE, both, read, sounds, split

NOUN = {"pictures": "images", "sounds": "recordings"}


@both
@pytest.mark.parametrize("depth", ["archive", "archive/archive", "data"])
@pytest.mark.parametrize("parts", [("train",), ("Training", "Testing"), ("train", "VALID", "test")])
def test_parts_in_the_only_folder(tmp_path: Path, kind: str, depth: str, parts: tuple[str, ...]) -> None:
    split(kind, tmp_path / "data" / depth, *parts)
    (tmp_path / "data" / "__MACOSX" / "archive").mkdir(parents=True)
    (tmp_path / "data" / "README.txt").write_text("of the archive")
    raw = read(kind, tmp_path / "data")
    assert raw.class_names == ("cat", "dog") and len(raw.pool) == 8
    assert (raw.val is not None, raw.test is not None) == ("VALID" in parts, len(parts) > 1)
    assert raw.notes == (f"read from {depth}, the only folder in data",)


@both
def test_parts_inside_the_class_folders(tmp_path: Path, kind: str) -> None:
    for name, parts in {"cat": ("train", "Test"), "dog": ("Train", "test", "dev")}.items():
        for n, part in enumerate(parts, 2):
            MAKE[kind](tmp_path / "data" / name / part, n=n)
    raw = read(kind, tmp_path / "data")
    assert raw.class_names == ("cat", "dog")
    assert raw.pool.y.tolist() == [0, 0, 1, 1]
    assert raw.test.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.val.y.tolist() == [1, 1, 1, 1]
    assert raw.notes == (f"the val part has no {NOUN[kind]} of cat",)


@both
def test_a_class_of_which_some_files_are_in_no_part_is_refused(tmp_path: Path, kind: str) -> None:
    for name in ("cat", "dog"):
        for part in ("train", "test"):
            MAKE[kind](tmp_path / "data" / name / part, n=2)
    MAKE[kind](tmp_path / "data" / "cat", n=1)
    with pytest.raises(DataError, match=r"cat: holds 0\.\w+ beside train; put every file into a part"):
        read(kind, tmp_path / "data")


@both
def test_parts_in_some_classes_only_are_refused(tmp_path: Path, kind: str) -> None:
    for name in ("cat/train", "cat/test", "dog"):
        MAKE[kind](tmp_path / "data" / name, n=2)
    with pytest.raises(DataError, match="cat hold train, dog do not; write every class the same way"):
        read(kind, tmp_path / "data")


@both
def test_several_data_sets_in_one_folder_are_refused(tmp_path: Path, kind: str) -> None:
    for name in ("original", "augmented"):
        split(kind, tmp_path / "data" / name, "train", "test")
    told = r"holds augmented, original, each with train and classes in it; give one of them, data\.path=.*augmented"
    with pytest.raises(DataError, match=told):
        read(kind, tmp_path / "data")


@both
def test_a_folder_called_train_among_others_is_no_part(tmp_path: Path, kind: str) -> None:
    for name in ("animal/cat", "animal/dog", "vehicle/train", "vehicle/bus"):
        MAKE[kind](tmp_path / "data" / name, n=2)
    raw = read(kind, tmp_path / "data")
    assert raw.class_names == ("animal", "vehicle") and raw.pool.y.tolist() == [0] * 4 + [1] * 4


@both
def test_classes_that_a_part_lacks_are_named(tmp_path: Path, kind: str) -> None:
    names = ("cat", "dog", "hen")
    split(kind, tmp_path / "data", "train", names=names)
    split(kind, tmp_path / "data", "Valid", names=names[:1])
    split(kind, tmp_path / "data", "Test", names=names[1:])
    noun = NOUN[kind]
    assert sorted(read(kind, tmp_path / "data").notes) == [
        f"the test part has no {noun} of cat",
        f"the val part has no {noun} of dog, hen",
    ]


@both
@pytest.mark.parametrize("spelled", ["Cat", "CAT", "cats"])
def test_classes_that_the_training_part_lacks_are_refused(tmp_path: Path, kind: str, spelled: str) -> None:
    split(kind, tmp_path / "data", "train")
    split(kind, tmp_path / "data", "test", names=(spelled, "dog"))
    with pytest.raises(DataError, match=f"holds classes that train/ lacks: {spelled}"):
        read(kind, tmp_path / "data")


@both
def test_a_training_part_with_another_class_is_told_by_name(tmp_path: Path, kind: str) -> None:
    split(kind, tmp_path / "data", "train", names=("cat", "dog", "fox"))
    split(kind, tmp_path / "data", "test")
    assert read(kind, tmp_path / "data").notes == (f"the test part has no {NOUN[kind]} of fox",)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [("flac", "FLAC"), ("ogg", "OGG"), ("rf64", "RF64"), ("voc", "VOC"), ("sph", "NIST"), ("sf", "IRCAM"),
     ("paf", "PAF"), ("8svx", "SVX"), ("pvf", "PVF"), ("avr", "AVR"), ("mat", "MAT5"), ("htk", "HTK")],
)  # fmt: skip
def test_more_formats_that_libsndfile_decodes(tmp_path: Path, suffix: str, form: str) -> None:
    for name in ("a", "b"):
        sounds(tmp_path / "data" / name, suffix=suffix, format=form)
    raw = read("sounds", tmp_path / "data")
    assert len(raw.pool) == 8 and raw.notes == ()
    assert float(raw.pool.x[0].float().abs().max()) > 0.1
