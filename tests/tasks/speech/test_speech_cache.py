"""The cache: the same arrays whoever asks, however many ask at once, and whatever happened to the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from initlab.errors import ConfigError, DataError
from initlab.tasks.speech.cache import cache_root, load_or_compute
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.folder import read_audio_folder

ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "names": np.array(["a", "bc"])}


class Compute:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return ARRAYS


def test_computed_once(tmp_path: Path) -> None:
    compute = Compute()
    for _ in range(3):
        found = load_or_compute(tmp_path / "deep" / "cache", "key", compute)
        assert found["x"].dtype == np.float32
        np.testing.assert_array_equal(found["x"], ARRAYS["x"])
        assert found["names"].tolist() == ["a", "bc"]
    assert compute.calls == 1
    load_or_compute(tmp_path / "deep" / "cache", "another key", compute)
    assert compute.calls == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "text"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    compute = Compute()
    load_or_compute(tmp_path, "key", compute)
    (file,) = tmp_path.glob("*.npz")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        at = content.index(ARRAYS["x"].tobytes()) + 5
        content[at] ^= 0xFF
    broken = {"cut": content[: len(content) // 2], "empty": b"", "flip": content, "text": b"no arrays"}[damage]
    file.write_bytes(bytes(broken))
    np.testing.assert_array_equal(load_or_compute(tmp_path, "key", compute)["x"], ARRAYS["x"])
    assert compute.calls == 2
    load_or_compute(tmp_path, "key", compute)
    assert compute.calls == 2, "the file was not replaced by a whole one"


def test_nothing_is_kept_of_a_failure(tmp_path: Path) -> None:
    def fails() -> dict[str, np.ndarray]:
        raise DataError("data.root", None, "no such thing")

    with pytest.raises(DataError):
        load_or_compute(tmp_path, "key", fails)
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob("*.part"))
    assert load_or_compute(tmp_path, "key", Compute())["x"].shape == (2, 3)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"data\.cache=.*file/cache: cannot be written"):
        load_or_compute(tmp_path / "file" / "cache", "key", Compute())


PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from initlab.tasks.speech.cache import load_or_compute
folder = Path(sys.argv[1])
def compute():
    with (folder / "log").open("a") as log:
        log.write("x")
    time.sleep(0.5)
    return {"x": np.full(200_000, 7.0)}
assert (load_or_compute(folder / "cache", "key", compute)["x"] == 7.0).all()
"""


@pytest.mark.process
def test_several_processes_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path)], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert (tmp_path / "log").read_text() == "x", "each process should have waited for the first"
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    assert not list((tmp_path / "cache").glob("*.part"))


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INITLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("INITLAB_DATA", str(tmp_path / "data"))
    assert cache_root(None) == tmp_path / "features"
    assert cache_root(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("INITLAB_CACHE")
    assert tmp_path not in cache_root(None).parents
    assert cache_root(None).parts[-2:] == ("initlab", "features")


# ------------------------------------------------------------------ what a key depends on
def recordings(root: Path) -> Path:
    for name in ("no", "yes"):
        (root / name).mkdir(parents=True)
        for i in range(2):
            samples = np.random.default_rng(i).uniform(-0.5, 0.5, 900)
            soundfile.write(root / name / f"{i}.wav", samples, 8000, subtype="PCM_16")
    return root


def files(cache: Path) -> int:
    return len(list(cache.glob("*.npz")))


def test_other_settings_and_other_sounds_are_other_files(tmp_path: Path) -> None:
    root, cache = recordings(tmp_path / "data"), tmp_path / "cache"
    first = read_audio_folder(root, Features(), cache=cache)
    read_audio_folder(root, Features(), cache=cache)
    assert files(cache) == 1
    others: list[dict[str, float | str]] = [
        {"kind": "log_mel"}, {"sample_rate": 4000, "n_mels": 20}, {"n_mels": 20}, {"n_mfcc": 12}, {"window_ms": 40.0},
        {"hop_ms": 12.0}, {"seconds": 0.05},
    ]  # fmt: skip
    for k, settings in enumerate(others):
        read_audio_folder(root, Features(**settings), cache=cache)  # pyright: ignore[reportArgumentType]
        assert files(cache) == 2 + k, settings
    soundfile.write(root / "no" / "0.wav", np.zeros(900) + 0.1, 8000, subtype="PCM_16")
    changed = read_audio_folder(root, Features(), cache=cache)
    assert files(cache) == 2 + len(others)
    assert changed.provenance.digest != first.provenance.digest
    (root / "no" / "0.wav").unlink()
    assert len(read_audio_folder(root, Features(), cache=cache).pool) == 3
