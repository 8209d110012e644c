"""The user's own images, as untidy as folders of images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from initlab.errors import DataError
from initlab.tasks import ImageTask, image_folder
from initlab.tasks.sources.image_folder import read_image_folder

RNG = np.random.default_rng(0)


def save(path: Path, mode: str = "L", size: tuple[int, int] = (20, 20), value: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (
        RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        if value is None
        else np.full((size[1], size[0], 3), value, np.uint8)
    )
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), n: int = 10, mode: str = "L") -> Path:
    for name in names:
        for i in range(n):
            save(root / name / f"{i}.png", mode)
    return root


def test_one_folder_a_class(tmp_path: Path) -> None:
    splits = ImageTask(data=image_folder(path=classes(tmp_path), size=16)).open(seed=0, device=torch.device("cpu"))
    assert splits.class_names == ("cat", "dog")
    assert splits.io.input_shape == (1, 16, 16)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [14, 2, 4]
    assert splits.train.x.dtype == torch.uint8


def test_grey_files_stay_grey_and_one_in_colour_makes_all_colour(tmp_path: Path) -> None:
    classes(tmp_path)
    assert read_image_folder(tmp_path).pool.x.shape[1] == 1
    save(tmp_path / "dog" / "x.png", "RGB")
    raw = read_image_folder(tmp_path)
    assert raw.pool.x.shape == (21, 3, 32, 32)
    grey = raw.pool.x[0]
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[1], grey[2])


@pytest.mark.parametrize(("channels", "planes"), [(1, 1), (3, 3)])
def test_channels_can_be_chosen(tmp_path: Path, channels: int, planes: int) -> None:
    classes(tmp_path, mode="L")
    classes(tmp_path, names=("hen",), mode="RGB")
    raw = read_image_folder(tmp_path, channels=channels)  # pyright: ignore[reportArgumentType]
    assert raw.pool.x.shape[1] == planes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_and_size(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    for name, size in {"a": (7, 30), "b": (64, 20)}.items():
        save(tmp_path / name / f"image.{suffix}", mode, size)
    raw = read_image_folder(tmp_path, size=12)
    assert raw.pool.x.shape == (2, 1 if mode in ("1", "L", "LA") else 3, 12, 12)


def test_transparent_is_white(tmp_path: Path) -> None:
    classes(tmp_path, n=1)
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "cat" / "clear.png")
    x = read_image_folder(tmp_path, size=8).pool.x
    assert bool((x[1] == 255).all())


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    classes(tmp_path, n=1)
    Image.fromarray(np.full((8, 8), 257 * 100, dtype=np.uint16)).save(tmp_path / "cat" / "deep.png")
    x = read_image_folder(tmp_path, size=8).pool.x
    assert x.shape[1] == 1
    assert bool((x[1] == 100).all())


def test_a_camera_held_upright(tmp_path: Path) -> None:
    classes(tmp_path, n=1)
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 8, 4))  # the upper half white
    exif = Image.Exif()
    exif[0x0112] = 3  # held upside down
    image.save(tmp_path / "cat" / "turned.png", exif=exif)
    x = read_image_folder(tmp_path, size=8).pool.x[1, 0]
    assert bool((x[:4] == 0).all())
    assert bool((x[4:] == 255).all())


@pytest.mark.parametrize(("fit", "corner", "edge"), [("crop", 200, 200), ("stretch", 200, 200), ("pad", 0, 200)])
def test_how_a_wide_image_becomes_square(tmp_path: Path, fit: str, corner: int, edge: int) -> None:
    for name in ("a", "b"):
        save(tmp_path / name / "wide.png", size=(40, 10), value=200)
    x = read_image_folder(tmp_path, size=20, fit=fit).pool.x  # pyright: ignore[reportArgumentType]
    assert int(x[0, 0, 0, 10]) == corner
    assert int(x[0, 0, 10, 0]) == edge


def test_official_parts(tmp_path: Path) -> None:
    for part, n in {"train": 6, "val": 2, "test": 3}.items():
        classes(tmp_path / part, n=n)
    splits = ImageTask(data=image_folder(path=tmp_path)).open(seed=0, device=torch.device("cpu"))
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [12, 4, 6]


def test_train_and_test_alone_split_val_off(tmp_path: Path) -> None:
    classes(tmp_path / "train", n=10)
    classes(tmp_path / "test", n=3)
    splits = ImageTask(data=image_folder(path=tmp_path)).open(seed=0, device=torch.device("cpu"))
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [18, 2, 6]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    classes(tmp_path, names=("train", "tram"), n=4)
    assert read_image_folder(tmp_path).class_names == ("train", "tram")


def test_the_test_part_may_not_bring_classes(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "test", names=("cat", "hen"))
    with pytest.raises(DataError, match="classes that train/ lacks: hen"):
        read_image_folder(tmp_path)


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    classes(tmp_path, n=3)
    (tmp_path / "cat" / "notes.txt").write_text("notes")
    (tmp_path / "cat" / ".thumb.png").write_text("not really")
    (tmp_path / ".git").mkdir()
    save(tmp_path / "cat" / "more" / "deep.JPG")
    raw = read_image_folder(tmp_path)
    assert torch.bincount(raw.pool.y).tolist() == [4, 3]


def test_folders_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_image_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_image_folder(save(tmp_path / "image.png"))
    with pytest.raises(DataError, match="holds 0 class folder"):
        read_image_folder(tmp_path)
    classes(tmp_path, names=("cat",))
    with pytest.raises(DataError, match="holds 1 class folder"):
        read_image_folder(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"dog: holds no images; put bmp, gif"):
        read_image_folder(tmp_path)
