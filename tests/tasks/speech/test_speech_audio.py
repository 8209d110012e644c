"""Sound files of every kind, and broken ones of every kind: none stops a run, and none is lost in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from initlab.errors import ConfigError, DataError
from initlab.tasks.speech import SpeechTask, audio_folder
from initlab.tasks.speech.audio import BadAudioError, decode
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.folder import read_audio_folder

RATE = 8000
RAW = Features(kind="waveform", sample_rate=RATE)
CPU = torch.device("cpu")


def tone(seconds: float = 0.3, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def save(path: Path, samples: np.ndarray | None = None, *, rate: int = RATE, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(rate=rate) if samples is None else samples, rate, subtype=subtype)
    return path


def classes(root: Path, names: tuple[str, ...] = ("no", "yes"), n: int = 5) -> Path:
    for k, name in enumerate(names):
        for i in range(n):
            save(root / name / f"{i}.wav", tone(0.1 + 0.02 * i, hz=300 + 400 * k))
    return root


# ------------------------------------------------------------------ what can be read
@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 128),
        ("wav", "PCM_16", 1 / 32768),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-6),
        ("wav", "FLOAT", 1e-7),
        ("wav", "DOUBLE", 1e-7),
        ("flac", "PCM_16", 1 / 32768),
        ("flac", "PCM_24", 1e-6),
        ("ogg", "VORBIS", 0.05),
    ],
)
def test_every_depth_and_format(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    wave = decode(save(tmp_path / f"a.{suffix}", subtype=subtype).read_bytes(), RATE)
    short = subtype in ("PCM_U8", "PCM_16")
    assert wave.dtype == (torch.int16 if short else torch.float32)
    values = wave.numpy() / (32768 if short else 1)
    np.testing.assert_allclose(values, tone(), atol=tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([tone(), 3 * tone(hz=880) / 10], axis=1)
    wave = decode(save(tmp_path / "a.wav", both, subtype="FLOAT").read_bytes(), RATE)
    np.testing.assert_allclose(wave.numpy(), both.mean(1), atol=1e-7)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100, 48000])
def test_another_rate_is_resampled_to_the_same_tone(tmp_path: Path, rate: int) -> None:
    wave = decode(save(tmp_path / "a.wav", rate=rate).read_bytes(), RATE)
    expected = tone()
    assert abs(len(wave) - len(expected)) <= 1
    inner = slice(100, len(expected) - 100)  # a filter rings at the edges
    np.testing.assert_allclose(wave.numpy()[inner], expected[inner], atol=0.01)


def test_what_the_new_rate_cannot_hold_is_filtered_away(tmp_path: Path) -> None:
    """3,400 Hz would come back as 600 Hz at 4 kHz."""
    wave = decode(save(tmp_path / "a.wav", tone(hz=3400.0)).read_bytes(), 4000)
    assert float(wave[50:-50].abs().max()) < 0.01


# ------------------------------------------------------------------ what cannot
def broken(path: Path, kind: str) -> Path:
    """A file of the given kind of damage; wav, unless the kind says otherwise."""
    suffix = kind.split("-")[1] if "-" in kind else "wav"
    path = path.with_suffix(f".{suffix}")
    if kind.startswith("truncated"):
        content = save(path, tone(1.0)).read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header":
        path.write_bytes(save(path).read_bytes()[:20])
    elif kind == "zero_length":
        save(path, np.zeros(0, np.float32))
    elif kind == "text":
        path.write_text("this is no sound at all\n" * 20)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif kind == "nan":
        samples = tone()
        samples[7] = np.nan
        save(path, samples, subtype="FLOAT")
    elif kind == "infinite":
        samples = tone()
        samples[7] = np.inf
        save(path, samples, subtype="FLOAT")
    elif kind == "rate":
        content = bytearray(save(path).read_bytes())
        content[24:28] = (1_999_999_973).to_bytes(4, "little")  # a prime: no common factor with any rate
        path.write_bytes(bytes(content))
    elif kind == "corrupt-flac":
        content = bytearray(save(path, tone(1.0)).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 200] = bytes(200)
        path.write_bytes(bytes(content))
    return path


KINDS = {
    "truncated-wav": "is cut short",
    "truncated-flac": "(is cut short|is not a sound file that can be read)",
    "truncated-ogg": "(is cut short|is not a sound file that can be read)",
    "empty": "is empty",
    "header": "is not a sound file that can be read",
    "zero_length": "holds no samples",
    "text": "is not a sound file that can be read",
    "noise": "is not a sound file that can be read",
    "nan": "holds NaN or infinite samples",
    "rate": "has a sample rate of 1999999973 Hz",
    "infinite": "holds NaN or infinite samples",
    "corrupt-flac": "(is cut short|is not a sound file that can be read)",
}


@pytest.mark.parametrize(("kind", "message"), KINDS.items())
def test_broken_files(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(BadAudioError, match=message):
        decode(broken(tmp_path / "a", kind).read_bytes(), RATE)


def test_a_header_that_does_not_say_how_long_the_file_is(tmp_path: Path) -> None:
    """As a program writes it that sends a recording through a pipe."""
    content = bytearray(save(tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    content[4:8] = b"\xff\xff\xff\xff"
    assert len(decode(bytes(content), RATE)) == len(tone())


@pytest.mark.parametrize("kind", ["waveform", "log_mel", "mfcc"])
def test_broken_files_are_counted_and_named(tmp_path: Path, kind: str) -> None:
    classes(tmp_path / "data")
    for k in KINDS:
        broken(tmp_path / "data" / "no" / f"z_{k.partition('-')[0]}", k)
    data = audio_folder(path=tmp_path / "data", features=kind, sample_rate=RATE, cache=tmp_path / "cache")  # pyright: ignore[reportArgumentType]
    for _ in range(2):  # read, then from the cache
        splits = SpeechTask(data=data).open(seed=0, device=CPU)
        assert sum(len(p) for p in (splits.train, splits.val, splits.test)) == 10
        (note,) = splits.notes
        assert note.startswith("12 of 22 recordings were skipped: no/z_corrupt.flac")
        assert note.endswith("; ...")


def test_bad_files_can_be_refused(tmp_path: Path) -> None:
    classes(tmp_path / "data")
    broken(tmp_path / "data" / "yes" / "zz", "empty")
    with pytest.raises(DataError, match=r"data\.path=.*yes/zz\.wav: is empty; repair or remove it, or skip it"):
        read_audio_folder(tmp_path / "data", RAW, bad_files="error", cache=tmp_path / "cache")
    broken(tmp_path / "data" / "yes" / "zzz", "text")
    with pytest.raises(DataError, match=r"yes/zz\.wav: is empty; repair or remove it \(and 1 more: yes/zzz\.wav\)"):
        read_audio_folder(tmp_path / "data", RAW, bad_files="error", cache=tmp_path / "cache")


def test_a_class_that_would_be_left_empty_is_an_error(tmp_path: Path) -> None:
    classes(tmp_path / "data")
    (tmp_path / "data" / "maybe").mkdir()
    broken(tmp_path / "data" / "maybe" / "a", "text")
    with pytest.raises(DataError, match=r"no usable training recording of class 'maybe': maybe/a\.wav is not a sound"):
        read_audio_folder(tmp_path / "data", RAW, cache=tmp_path / "cache")


def test_samples_beyond_all_measure(tmp_path: Path) -> None:
    """Finite samples whose power is not."""
    classes(tmp_path / "data")
    save(tmp_path / "data" / "no" / "z.wav", np.full(900, 1e30, np.float32), subtype="FLOAT")
    raw = read_audio_folder(tmp_path / "data", Features(kind="mfcc"), cache=tmp_path / "cache")
    assert raw.notes == ("1 of 11 recordings were skipped: no/z.wav holds samples that are too large",)


# ------------------------------------------------------------------ folders
def test_one_folder_a_class(tmp_path: Path) -> None:
    classes(tmp_path / "data")
    (tmp_path / "data" / "no" / "readme.md").write_text("not a recording")
    (tmp_path / "data" / ".hidden").mkdir()
    data = audio_folder(path=tmp_path / "data", features="waveform", sample_rate=RATE, cache=tmp_path / "cache")
    splits = SpeechTask(data=data).open(seed=0, device=CPU)
    assert splits.class_names == ("no", "yes")
    assert splits.io.input_shape == (1, round(0.18 * RATE))
    assert splits.train.x.dtype == torch.int16
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [6, 2, 2]
    assert splits.notes == ("files that are no recordings are left out: 1 .md",)
    prepared = splits.prepare(splits.train.x)
    steps = {int(row[0].nonzero().max()) + 1 for row in prepared}
    assert steps <= {round((0.1 + 0.02 * i) * RATE) for i in range(5)}


def test_official_parts(tmp_path: Path) -> None:
    for part, n in (("train", 4), ("validation", 2), ("test", 3)):
        classes(tmp_path / "data" / part, n=n)
    raw = read_audio_folder(tmp_path / "data", RAW, cache=tmp_path / "cache")
    assert raw.val is not None and raw.test is not None
    assert [len(p) for p in (raw.pool, raw.val, raw.test)] == [8, 4, 6]
    assert raw.test.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_files_of_many_kinds_make_one_data_set(tmp_path: Path) -> None:
    root = tmp_path / "data"
    save(root / "no" / "a.wav")
    save(root / "no" / "b.flac", rate=16000)
    save(root / "no" / "c.ogg", np.stack([tone(rate=48000)] * 2, axis=1), rate=48000)
    save(root / "yes" / "d.wav", subtype="PCM_24")
    save(root / "yes" / "e.WAV", subtype="PCM_U8")
    save(root / "yes" / "f.wav", tone(rate=44100), rate=44100, subtype="FLOAT")
    raw = read_audio_folder(root, RAW, cache=tmp_path / "cache")
    assert raw.pool.x.dtype == torch.float32
    assert raw.pool.y.tolist() == [0, 0, 0, 1, 1, 1]
    for row in raw.pool.x:
        np.testing.assert_allclose(row[0, 200:2000].numpy(), tone()[200:2000], atol=0.05)


def test_longer_ones_are_cut_and_counted(tmp_path: Path) -> None:
    classes(tmp_path / "data")
    settings = Features(kind="mfcc", sample_rate=RATE, seconds=0.15)
    raw = read_audio_folder(tmp_path / "data", settings, cache=tmp_path / "cache")
    assert raw.pool.x.shape[2] == settings.steps(round(0.15 * RATE))
    assert raw.notes == ("4 of 10 recordings are longer than 0.15 s and were cut",)
    longer = Features(kind="mfcc", sample_rate=RATE, seconds=0.5)
    raw = read_audio_folder(tmp_path / "data", longer, cache=tmp_path / "cache")
    assert raw.pool.x.shape[2] == longer.steps(round(0.5 * RATE))
    assert raw.notes == ()
    assert bool(raw.pool.x[:, :, -1].isnan().all())


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*nowhere: does not exist"):
        read_audio_folder(tmp_path / "nowhere", RAW)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_audio_folder(tmp_path / "file", RAW)
    classes(tmp_path / "one", names=("no",))
    with pytest.raises(DataError, match=r"holds 1 class folder\(s\)"):
        read_audio_folder(tmp_path / "one", RAW)
    classes(tmp_path / "gap")
    (tmp_path / "gap" / "maybe").mkdir()
    with pytest.raises(DataError, match=r"maybe: holds no recordings; put aif, .*, wav files there"):
        read_audio_folder(tmp_path / "gap", RAW)
    classes(tmp_path / "parts" / "train")
    classes(tmp_path / "parts" / "test", names=("no", "what"))
    with pytest.raises(DataError, match="holds classes that train/ lacks: what"):
        read_audio_folder(tmp_path / "parts", RAW)


def test_bands_of_a_waveform_cannot_be_hidden(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="augment=spec_augment: hides bands of features, which a waveform lacks"):
        audio_folder(path=tmp_path, features="waveform", augment="spec_augment")
