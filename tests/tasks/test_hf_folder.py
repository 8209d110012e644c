"""Folders that Hugging Face `datasets` writes, and Parquet files as its hub has them: images, sounds, text."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from PIL import Image

from initlab.errors import DataError
from initlab.tasks import ImageTask
from initlab.tasks import hf_folder as hf_images
from initlab.tasks.hf_tables import read_hf_folder
from initlab.tasks.sources.hf_folder import read_hf_images
from initlab.tasks.speech import SpeechTask, hf_audio
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.hf_audio import read_hf_audio
from initlab.tasks.text.hf_text import read_hf_text
from tests.cases import untracked

CPU = torch.device("cpu")
RAW = Features(kind="waveform", sample_rate=8000)


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without bars, and with a cache that ends with the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def picture(value: int, colour: bool = False) -> Image.Image:
    return Image.new("RGB" if colour else "L", (8, 8), (value, 0, 0) if colour else value)


def pictures(n: int = 20, kind: str = "class", **more: list[Any]) -> Any:
    labels: list[Any] = [i % 2 for i in range(n)]
    features: dict[str, Any] = {"image": datasets.Image()}
    if kind == "class":
        features["label"] = datasets.ClassLabel(names=["cat", "dog"])
    elif kind == "text":
        labels = [("cat", "dog")[v] for v in labels]
        features["label"] = datasets.Value("string")
    else:
        labels = [{"int": 1 + v, "bool": bool(v), "float": v + 0.5}[kind] for v in labels]
        features["label"] = datasets.Value({"int": "int32", "bool": "bool", "float": "float32"}[kind])
    features |= {k: datasets.Value("string" if isinstance(v[0], str) else "int64") for k, v in more.items()}
    rows = {"image": [picture(i) for i in range(n)], "label": labels, **more}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


# ------------------------------------------------------------------ layouts
def save_parquet(folder: Path, **splits: Any) -> Path:
    for name, data in splits.items():
        file = folder / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(file)
    return folder


def test_a_single_data_set(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "mine")
    raw = read_hf_images(tmp_path / "mine", size=8)
    assert raw.class_names == ("cat", "dog") and raw.val is None and raw.test is None
    assert raw.pool.x[:, 0, 0, 0].tolist() == list(range(20)) and raw.pool.y.tolist() == [0, 1] * 10
    assert raw.notes == ()
    splits = ImageTask(data=hf_images(path=tmp_path / "mine")).open(seed=0, device=CPU)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [14, 2, 4]


@pytest.mark.parametrize("how", ["save_to_disk", "sharded", "parquet", "hub", "folders", "cache"])
def test_splits_are_the_parts(tmp_path: Path, how: str) -> None:
    whole, home = pictures(), tmp_path / "mine"
    # rows in another order than they are stored in
    parts = {"train": whole.shuffle(seed=1), "validation": whole.select([3, 1]), "test": whole.select(range(6))}
    if how in ("save_to_disk", "sharded"):
        kinds = {"num_shards": {"train": 3, "validation": 1, "test": 2}} if how == "sharded" else {}
        datasets.DatasetDict(parts).save_to_disk(home, **kinds)
    elif how == "cache":
        home.mkdir()
        for name, data in parts.items():
            data.save_to_disk(tmp_path / name)
            shutil.copyfile(tmp_path / name / "data-00000-of-00001.arrow", home / f"mine-{name}.arrow")
    else:
        form = {"parquet": "{}", "hub": "data/{}-00000-of-00001", "folders": "{}/0000"}[how]
        save_parquet(home, **{form.format(n): data for n, data in parts.items()})
    raw = read_hf_images(home, size=8)
    assert raw.val is not None and raw.test is not None
    for part, data in ((raw.pool, parts["train"]), (raw.val, parts["validation"]), (raw.test, parts["test"])):
        # the library's own reading is the oracle
        assert part.y.tolist() == list(data["label"])
        assert part.x[:, 0, 0, 0].tolist() == [image.getpixel((0, 0)) for image in data["image"]]
    assert raw.notes == ()


def test_several_files_of_a_split_and_names_with_hashes(tmp_path: Path) -> None:
    whole = pictures()
    save_parquet(tmp_path, **{f"data/train-0000{i}-of-00002-abcdef0123456789": whole.shard(2, i) for i in range(2)})
    assert len(read_hf_images(tmp_path).pool) == 20


def test_splits_of_other_names_are_told(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": pictures(), "unsupervised": pictures(4)}).save_to_disk(tmp_path)
    raw = read_hf_images(tmp_path)
    assert len(raw.pool) == 20 and raw.notes == ("splits that are left out: unsupervised",)


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (("test",), "holds the splits test, but no train; save the one to train on as train"),
        (("train", "valid", "validation"), "valid and validation both name the val part; remove one"),
    ],
)
def test_splits_that_do_not_serve(tmp_path: Path, splits: tuple[str, ...], told: str) -> None:
    datasets.DatasetDict(dict.fromkeys(splits, pictures(4))).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=told):
        read_hf_images(tmp_path)


def test_several_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    save_parquet(tmp_path, **{f"{name}/train-00000-of-00001": pictures(4) for name in ("fine", "coarse")})
    with pytest.raises(DataError, match=r"holds several data sets \(coarse, fine\); give one, data\.path=.*coarse"):
        read_hf_images(tmp_path)


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give a folder that Dataset"):
        read_hf_images(tmp_path / "gone")
    (tmp_path / "a").mkdir()
    picture(3).save(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match=r"holds no \.arrow or \.parquet files \(only \.png\)"):
        read_hf_images(tmp_path)
    pictures().save_to_disk(tmp_path / "mine")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_hf_images(tmp_path / "mine" / "state.json")


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_damaged_files(tmp_path: Path, form: str) -> None:
    home = tmp_path / "mine"
    if form == "arrow":
        pictures().save_to_disk(home)
    else:
        save_parquet(home, train=pictures())
    (file,) = home.glob(f"*.{form}")
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 99):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"cannot be read as a table \(.*\); save the data set again|no rows"):
            read_hf_images(home)
    file.unlink()
    with pytest.raises(DataError, match=r"cannot be read|holds no \.arrow or \.parquet files"):
        read_hf_images(home)


def test_a_list_of_files_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "mine")
    pictures().save_to_disk(tmp_path / "other")
    state = tmp_path / "mine" / "state.json"
    state.write_text(state.read_text().replace("data-00000", "../other/data-00000"))
    with pytest.raises(DataError, match="leads out of"):
        read_hf_images(tmp_path / "mine")


# ------------------------------------------------------------------ columns and classes
@pytest.mark.parametrize(
    ("kind", "names"), [("text", ("cat", "dog")), ("int", ("1", "2")), ("bool", ("False", "True"))]
)
def test_classes_of_other_types(tmp_path: Path, kind: str, names: tuple[str, ...]) -> None:
    datasets.DatasetDict({"train": pictures(kind=kind), "test": pictures(4, kind)}).save_to_disk(tmp_path)
    raw = read_hf_images(tmp_path)
    assert raw.class_names == names
    assert raw.test is not None and raw.test.y.tolist() == [0, 1, 0, 1]


def test_a_regression_is_refused(tmp_path: Path) -> None:
    pictures(kind="float").save_to_disk(tmp_path)
    with pytest.raises(DataError, match=r"data\.target=label: holds 0\.5: initlab trains classifiers"):
        read_hf_images(tmp_path)


def test_columns_are_chosen_and_named(tmp_path: Path) -> None:
    data = pictures(words=["a", "b"] * 10, id=list(range(20))).add_column("fine", [0, 1] * 10)
    data = data.cast_column("fine", datasets.ClassLabel(names=["x", "y"]))
    data.save_to_disk(tmp_path)
    listed = r"its columns are image \(Image\), label \(ClassLabel of 2\), words \(string\), id \(int64\), fine \(Class"
    with pytest.raises(DataError, match=rf"data\.target=nothing: is no column; {listed}"):
        read_hf_images(tmp_path, target="nothing")
    assert read_hf_images(tmp_path, target="fine").class_names == ("x", "y")
    assert read_hf_images(tmp_path, target="words").class_names == ("a", "b")
    with pytest.raises(DataError, match=r"data\.column=words: holds string, not images"):
        read_hf_images(tmp_path, column="words")
    with pytest.raises(DataError, match=r"data\.target=image: holds Image, not the classes"):
        read_hf_images(tmp_path, target="image")


def test_two_class_labels_of_which_none_is_called_label(tmp_path: Path) -> None:
    data = pictures().rename_column("label", "fine_label").add_column("coarse_label", [0, 1] * 10)
    data.cast_column("coarse_label", datasets.ClassLabel(names=["x", "y"])).save_to_disk(tmp_path)
    with pytest.raises(
        DataError, match=r"say which column holds the classes, data\.target=NAME; its columns are image"
    ):
        read_hf_images(tmp_path)


def test_classes_that_never_occur_and_rows_without_one(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["ant", "bee", "cat", "dog"])
    data = pictures().remove_columns("label").add_column("label", [3, 1, -1, 1] * 5).cast_column("label", names)
    hidden = pictures(4).remove_columns("label").add_column("label", [-1] * 4).cast_column("label", names)
    datasets.DatasetDict({"train": data, "test": hidden}).save_to_disk(tmp_path)
    raw = read_hf_images(tmp_path)
    assert raw.class_names == ("bee", "dog") and raw.test is None
    assert raw.pool.y.tolist() == [1, 0, 0] * 5 and len(raw.pool.x) == 15
    assert raw.notes == (
        "the test part has no labels and is left out",
        "classes of label without a training example are left out: ant, cat",
        "5 rows have no label and are left out",
    )


def test_a_class_that_the_training_part_lacks(tmp_path: Path) -> None:
    other = pictures(4, "text").map(lambda row: {"label": "hen"}, load_from_cache_file=False)
    datasets.DatasetDict({"train": pictures(kind="text"), "test": other}).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=r"data\.target=label: test: 'hen' does not occur in the train split"):
        read_hf_images(tmp_path)


# ------------------------------------------------------------------ images
def test_colour_depth_and_bad_images(tmp_path: Path) -> None:
    deep = io.BytesIO()
    Image.fromarray((np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)).save(deep, "PNG")
    data = pictures()
    rows: list[Any] = [{"bytes": b, "path": None} for b in (b"no image", deep.getvalue())]
    rows += [{"bytes": None, "path": "/nowhere/x.png"}]
    rows += data.cast_column("image", datasets.Image(decode=False))["image"][3:]
    table = pa.table({"image": rows, "label": data.data.column("label")}).replace_schema_metadata(
        data.data.schema.metadata
    )
    pa.parquet.write_table(table, tmp_path / "train.parquet")
    raw = read_hf_images(tmp_path, size=8)
    assert len(raw.pool) == 18 and raw.pool.x.dtype == torch.float32
    assert raw.pool.x[0].max() == pytest.approx(63_000 / 257)
    assert raw.notes == (
        "1 of 18 images hold 16 bits; they become 0 to 255 with decimals",
        "2 of 20 images were skipped: train row 1 cannot be read as an image (its content is of no known format);"
        " train row 3 names the file /nowhere/x.png, which is not in the folder",
    )
    with pytest.raises(DataError, match=r"train row 1: cannot be read.*\(and 1 more: train row 3\)"):
        read_hf_images(tmp_path, bad_files="error")


def test_contents_without_a_declared_type(tmp_path: Path) -> None:
    """Parquet files that pandas wrote."""
    data = pictures().cast_column("image", datasets.Image(decode=False)).to_pandas()
    data["image"] = [row["bytes"] for row in data["image"]]
    data["label"] = ["cat", "dog"] * 10
    data.to_parquet(tmp_path / "train.parquet")
    raw = read_hf_images(tmp_path, size=8)
    assert raw.pool.x[:, 0, 0, 0].tolist() == list(range(20)) and raw.class_names == ("cat", "dog")


@pytest.mark.parametrize("kind", ["lists", "array2d", "array3d", "vectors"])
def test_arrays_of_numbers(tmp_path: Path, kind: str) -> None:
    shape = {"lists": (6, 5), "array2d": (6, 5), "array3d": (6, 5, 3), "vectors": (7,)}[kind]
    x = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype("uint8" if kind != "vectors" else "float32")
    features = {"label": datasets.ClassLabel(names=["a", "b"])}
    if kind in ("array2d", "array3d"):
        features["pixels"] = (datasets.Array2D if kind == "array2d" else datasets.Array3D)(shape=shape, dtype="uint8")
    elif kind == "lists":
        features["pixels"] = datasets.List(datasets.List(datasets.Value("uint8")))
    else:
        features["pixels"] = datasets.List(datasets.Value("float32"))
    rows = {"pixels": list(x), "label": [0, 1] * 10}
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(tmp_path)
    raw = read_hf_images(tmp_path)
    expected = x if kind == "vectors" else x.transpose(0, 3, 1, 2) if kind == "array3d" else x[:, None]
    assert np.array_equal(raw.pool.x.numpy(), expected)


def test_arrays_of_different_shapes_are_refused(tmp_path: Path) -> None:
    rows = {"x": [[1.0] * (3 + i % 2) for i in range(8)], "label": ["a", "b"] * 4}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path)
    with pytest.raises(DataError, match="column x holds arrays of different shapes"):
        read_hf_images(tmp_path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"text": ["a", "b"] * 4, "label": [0, 1] * 4}, r"holds no images; .*Is it for task=text data=hf_text\?"),
        ({"a": [1, 2] * 4, "label": [0, 1] * 4}, r"has no column of images; its columns are a \(int64\)"),
        (
            {"a": [{"b": 1}] * 8, "label": [0, 1] * 4},
            r"has no column of images; its columns are a \(struct<b: int64>\)",
        ),
    ],
)
def test_columns_that_are_not_understood_are_listed(tmp_path: Path, rows: dict[str, Any], told: str) -> None:
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=told):
        read_hf_images(tmp_path)


# ------------------------------------------------------------------ sounds
def sound(i: int, kind: str = "WAV") -> bytes:
    out = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * (200 + 40 * (i % 2)) * np.arange(8000) / 8000)
    soundfile.write(out, tone, 8000, format=kind)
    return out.getvalue()


def sounds(n: int = 10, kind: str = "WAV") -> Any:
    rows = {
        "audio": [{"bytes": sound(i, kind), "path": f"{i}.{kind.lower()}"} for i in range(n)],
        "label": [("no", "yes")[i % 2] for i in range(n)],
    }
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_recordings(tmp_path: Path, kind: str, form: str) -> None:
    parts = {"train": sounds(kind=kind), "validation": sounds(2, kind), "test": sounds(4, kind)}
    if form == "arrow":
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "mine")
    else:
        save_parquet(tmp_path / "mine", **{f"data/{n}-00000-of-00001": d for n, d in parts.items()})
    raw = read_hf_audio(tmp_path / "mine", RAW, cache=tmp_path / "cache")
    assert raw.class_names == ("no", "yes") and raw.pool.x.shape == (10, 1, 8000)
    assert raw.val is not None and raw.test is not None
    assert raw.pool.y.tolist() == [0, 1] * 5 and raw.val.y.tolist() == [0, 1] and len(raw.test) == 4
    assert raw.notes == ("recordings of the column audio, classes of label",)
    data = hf_audio(path=tmp_path / "mine", sample_rate=8000, cache=tmp_path / "cache")
    assert SpeechTask(data=data).open(seed=0, device=CPU).io.classes == 2


def test_recordings_that_cannot_be_read(tmp_path: Path) -> None:
    rows = {"audio": [{"bytes": sound(i) if i else b"none", "path": f"{i}.wav"} for i in range(8)], "y": [0, 1] * 4}
    datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False)).save_to_disk(tmp_path / "mine")
    raw = read_hf_audio(tmp_path / "mine", RAW, cache=tmp_path / "cache")
    assert len(raw.pool) == 7
    assert raw.notes[-1].startswith("1 of 8 recordings were skipped: train row 1.wav is not a sound file")
    with pytest.raises(DataError, match=r"holds no images; .*Is it for task=speech data=hf_audio\?"):
        read_hf_images(tmp_path / "mine")
    pictures().save_to_disk(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"holds no recordings; .*Is it for task=image data=hf_folder\?"):
        read_hf_audio(tmp_path / "pictures", RAW, cache=tmp_path / "cache")


# ------------------------------------------------------------------ text
LINES = [f"line {i} of the text" for i in range(100)]


def test_text_of_all_splits(tmp_path: Path) -> None:
    parts = {"train": LINES, "validation": LINES[:5], "test": ["", *LINES[:3]]}
    made = {n: datasets.Dataset.from_dict({"text": rows, "id": list(range(len(rows)))}) for n, rows in parts.items()}
    datasets.DatasetDict(made).save_to_disk(tmp_path)
    raw = read_hf_text(tmp_path)
    assert raw.parts == tuple("\n".join(rows) for rows in parts.values())


def test_lines_that_end_with_the_end_of_a_line(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": [f"{line}\n" for line in LINES]}).save_to_disk(tmp_path)
    raw = read_hf_text(tmp_path)
    assert "".join(raw.parts) == "".join(f"{line}\n" for line in LINES)
    assert len(raw.parts[1]) == pytest.approx(len("".join(raw.parts)) / 10, abs=1)


@pytest.mark.parametrize("has", ["validation", "test"])
def test_the_part_that_has_no_split_is_cut_off(tmp_path: Path, has: str) -> None:
    made = {n: datasets.Dataset.from_dict({"text": LINES}) for n in ("train", has)}
    datasets.DatasetDict(made).save_to_disk(tmp_path)
    train, val, test = read_hf_text(tmp_path, val_fraction=0.2, test_fraction=0.3).parts
    whole = "\n".join(LINES)
    assert (test if has == "test" else val) == whole
    assert train + (val if has == "test" else test) == whole
    assert len(train) == len(whole) - round(len(whole) * (0.2 if has == "test" else 0.3))


def test_columns_of_text(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"question": LINES, "answer": LINES}).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=r"say which column holds text, data\.column=NAME; its columns are question"):
        read_hf_text(tmp_path)
    assert "line 99" in "".join(read_hf_text(tmp_path, column="answer").parts)
    assert len(read_hf_folder(tmp_path).columns) == 2


# ------------------------------------------------------------------ a network
def test_a_network_trains_on_each(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "pictures")
    sounds().save_to_disk(tmp_path / "sounds")
    datasets.Dataset.from_dict({"text": LINES}).save_to_disk(tmp_path / "lines")
    few = ["trainer.epochs=1", "probes=none"]
    for settings in (
        ["data=hf_folder", f"data.path={tmp_path / 'pictures'}", "model=linear"],
        ["task=speech", "data=hf_audio", f"data.path={tmp_path / 'sounds'}", f"data.cache={tmp_path / 'c'}"],
        ["task=text", "data=hf_text", f"data.path={tmp_path / 'lines'}", "data.sequence_length=16"],
    ):
        result, _ = untracked(*settings, *few)
        assert np.isfinite(result.metrics["val/loss"])
