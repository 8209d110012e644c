"""Passwords are in no file that is shared, and names from outside are text in every page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from initlab.core.error_line import escape_control_characters
from initlab.core.redact import redact_passwords
from tests.cli.driver import initlab
from tests.tracking.tracking_cases import free_port

pytestmark = pytest.mark.process

SECRET = "S3cr.et-of:nobody"
TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=1")
HOSTILE = "<script>alert('x')</script>"


def holding(folder: Path, secret: str) -> dict[str, int]:
    """Files that hold `secret`, with their permissions."""
    found = (f for f in folder.rglob("*") if f.is_file() and secret.encode() in f.read_bytes())
    return {f.name: f.stat().st_mode & 0o777 for f in found}


@pytest.mark.parametrize("where", ["typed", "environment"])
def test_a_password_stays_where_it_is_needed_and_with_its_owner(workdir: Path, where: str) -> None:
    uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
    typed = [f"tracking.uri={uri}", f"study.storage=postgresql://lab:{SECRET}@127.0.0.1:9/x"]
    extra = {} if where == "typed" else {"MLFLOW_TRACKING_URI": uri}
    done = initlab(*TINY, "tracking.drain_seconds=1", *(typed if where == "typed" else []), cwd=workdir, **extra)
    assert "training goes on" in done.stdout + done.stderr or "wait" in done.stdout, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(workdir.rglob("report.html")) and list(workdir.rglob("config.yaml"))
    # what is to be sent later names the server that it is for, for its owner's eyes alone
    assert holding(workdir, SECRET) in ({}, {"header.json": 0o600})


def test_a_study_keeps_the_password_for_its_workers_alone(workdir: Path) -> None:
    uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
    done = initlab(
        "-m", *TINY, "probes=none", "init=he,xavier", f"tracking.uri={uri}", "tracking.drain_seconds=1", cwd=workdir
    )
    assert SECRET not in done.stdout + done.stderr
    modes = holding(workdir, SECRET)
    assert set(modes.values()) <= {0o600}, modes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://lab:a@b:c@host/x", "postgresql://lab:***@host/x"),
        ("see http://u:p@h:5000/x and https://v:q@i", "see http://u:***@h:5000/x and https://v:***@i"),
        ("postgresql://host/x?user=a&password=b&c=d", "postgresql://host/x?user=a&password=***&c=d"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert redact_passwords(text) == shown


class Elements(HTMLParser):
    """The elements of a page, and the attributes that would run something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [(tag, key) for key, value in attrs if key.startswith("on") or "javascript:" in (value or "")]


def test_names_from_outside_are_text_in_every_page(workdir: Path) -> None:
    folder = workdir / "im"
    for number, name in enumerate(("<img src=x onerror=alert(1)>", "<b>bold", "plain")):
        (folder / name).mkdir(parents=True)
        for k in range(8):
            pixels = np.full((8, 8), 80 * number + k, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"<i>{k}.png")
    run = (
        "data=image_folder", f"data.path={folder}", "data.size=8", "model=mlp", "model.width=8", "trainer.epochs=1",
        f'tracking.run_name="{HOSTILE}"', f'+tracking.tags={{note: "{HOSTILE}"}}',
    )  # fmt: skip
    done = initlab("-m", *run, "init=he,xavier", "replicas=2", "study.name=pages", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    compared = initlab("compare", "study=pages", f"out={workdir / 'out'}", cwd=workdir)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    single = initlab(*run, cwd=workdir)
    assert single.returncode == 0, single.stdout + single.stderr
    pages = [p for p in workdir.rglob("*.html") if "mlruns" in p.parts or "out" in p.parts]
    assert {p.name for p in pages} >= {"report.html", "comparison.html"}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert HOSTILE not in text and "<img src=x" not in text and "<b>bold" not in text, page
        found = Elements()
        found.feed(text)
        assert not found.handlers and "script" not in found.names and {"svg", "table"} <= found.names, page
    assert any("&lt;script&gt;" in p.read_text(encoding="utf-8") for p in pages)


def test_a_terminal_is_told_nothing_that_it_would_obey(workdir: Path) -> None:
    assert escape_control_characters("a\x1b[2Jb\0c\u202ed é 漢") == r"a\x1b[2Jb\x00c\x202ed é 漢"
    done = initlab("data=\x1b]0;owned\x07", cwd=workdir)
    assert done.returncode == 2 and "\x1b" not in done.stderr and r"\x1b" in done.stderr


def test_a_folder_of_a_stranger_does_not_reach_hydra(workdir: Path) -> None:
    (workdir / "theirs" / "experiment").mkdir(parents=True)
    (workdir / "theirs" / "experiment" / "good.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    evil: {_target_: os.system, command: touch canary}\n"
    )
    done = initlab("hydra.searchpath=[file://theirs]", "+experiment=good", cwd=workdir)
    assert done.returncode == 2 and "experiment/good.yaml=hydra" in done.stderr, done.stderr
    by_folder = initlab("--config-dir", "theirs", "+experiment=good", cwd=workdir)
    assert by_folder.returncode == 2 and "command line" in by_folder.stderr
    assert [p.name for p in workdir.iterdir()] == ["theirs"]
