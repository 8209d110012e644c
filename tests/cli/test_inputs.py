"""What a person gets for typing a wrong thing: one clear line on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.driver import SMALL, initlab

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["init=hee"], ["init=hee", "did you mean he?"]),
        (["init.gain=-1"], ["init.gain=-1", "greater than 0"]),
        (["model.depth=0"], ["model.depth=0"]),
        (["model=mlp", "model.depth=0"], ["model.depth=0", "greater than 0"]),
        (["data.root=/nonexistent"], ["data.root=/nonexistent"]),
        (["data=mnist", "data.root=/nonexistent"], ["data.root=/nonexistent", "directory"]),
        (["data=npz", "data.path=notes.npz"], ["data.path", "notes.npz"]),
        (["data=npz", "data.path=absent.npz"], ["data.path", "absent.npz"]),
        (["data=image_folder", "data.path=pictures"], ["data.path", "broken.png"]),
        (["tracking.uri=ftp://nowhere"], ["tracking.uri=ftp://nowhere", "sqlite:///"]),
        (["trian"], ["trian", "no such command"]),
        (["data", "minst"], ["data=minst", "mnist"]),
        (["model=resnet", "data=npz", "data.path=flat.npz"], ["model", "images"]),
        (["data=fsdd_mfcc"], ["data=fsdd_mfcc", "task=speech"]),
        (["task=text", "model=mlp"], ["model=mlp", "tokens", "lstm"]),
        (["task=text", "data=text_file", "data.path=latin.txt"], ["data.path=latin.txt", "UTF-8", "offset 7"]),
        (["task=speech", "data=audio_folder", "data.path=pictures"], ["data.path", "recordings"]),
        (["task=speech", "model=m5"], ["model=m5", "data.features=waveform"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_one_clear_line_and_exit_code_2(workdir: Path, arguments: list[str], parts: list[str]) -> None:
    import numpy as np

    (workdir / "latin.txt").write_bytes(b"the caf\xe9 and the tea\n" * 100)
    (workdir / "notes.npz").write_text("these are notes, not arrays\n" * 10)
    np.savez(workdir / "flat.npz", x=np.random.default_rng(0).normal(size=(40, 7)), y=np.arange(40) % 2)
    for name in ("cats", "dogs"):
        (workdir / "pictures" / name).mkdir(parents=True)
        (workdir / "pictures" / name / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    before = {p for p in workdir.rglob("*") if "cache" not in p.parts}
    done = initlab(*arguments, cwd=workdir, XDG_CACHE_HOME=str(workdir / "cache"))
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("initlab: ")
    for part in parts:
        assert part in line
    assert {p for p in workdir.rglob("*") if "cache" not in p.parts} == before


def test_debug_shows_the_traceback(workdir: Path) -> None:
    done = initlab("init.gain=-1", cwd=workdir, INITLAB_DEBUG="1")
    assert "Traceback" in done.stderr and done.returncode != 0


@pytest.fixture
def tiny_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own; the parameter is its size."""
    place = tmp_path / "disk"
    place.mkdir()
    size = str(getattr(request, "param", "600k"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting needs privileges that are not there: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)  # the helper may be at its very end


def test_a_full_disk_for_the_store_keeps_every_record_in_the_spool(tiny_disk: Path, workdir: Path) -> None:
    done = initlab(*SMALL, f"tracking.uri=sqlite:///{tiny_disk}/mlflow.db", cwd=workdir)
    assert done.returncode == 1, done.stdout + done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("tracking: ")]
    assert "has no space left on its disk" in told and "python -m initlab sync" in told
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1
    assert list((workdir / ".initlab" / "spool").glob("*/records.jsonl"))


@pytest.mark.parametrize("tiny_disk", ["20m"], indirect=True)
def test_a_read_only_working_directory(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    done = initlab(*SMALL, cwd=tiny_disk)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tiny_disk) in line and "read-only" in line


def test_a_full_working_directory(tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(b"\0" * 600 * 1024)
    done = initlab(*SMALL, cwd=tiny_disk)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tiny_disk) in line


def test_without_tracking_nothing_is_written(workdir: Path) -> None:
    done = initlab(*SMALL, "tracking=none", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert list(workdir.iterdir()) == []
    assert done.stdout.splitlines()[-1].startswith("Next: python -m initlab ")
