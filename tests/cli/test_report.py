"""`report` writes the page of a run or a study, and says what has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.driver import initlab

pytestmark = pytest.mark.process

SMALL = ("data=digits", "model=mlp", "model.width=8", "trainer.max_steps=3", "probes.histograms=false")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and a study of two arms."""
    folder = tmp_path_factory.mktemp("report")
    for words in (SMALL, ("-m", *SMALL, "init=he,xavier", "study.name=two")):
        done = initlab(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("words", "name", "inside"),
    [((), "digits-mlp", "Verdict"), (("run=last",), "digits-mlp", "Verdict"), (("study=tw",), "two", "init=xavier")],
    ids=["nothing named", "run", "study"],
)
def test_the_page_is_written(store: Path, words: tuple[str, ...], name: str, inside: str) -> None:
    done = initlab("report", *words, "out=pages", cwd=store)
    assert done.returncode == 0, done.stderr
    first, following = done.stdout.splitlines()
    file = Path(first.removeprefix("written to "))
    assert file.is_file() and file.parent.name.startswith(name) and inside in file.read_text(encoding="utf-8")
    assert following.startswith("Next: python -m initlab explain ")


def test_without_a_folder_it_is_among_initlab_s_own_files(store: Path) -> None:
    done = initlab("report", cwd=store)
    assert Path(done.stdout.splitlines()[0].removeprefix("written to ")).is_relative_to(store / ".initlab" / "reports")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run=nothing",), "no such run"), (("study=nothing",), "study=nothing"), (("open=perhaps",), "true or false"),
        (("run=last", "study=two"), "one run or one study"), (("tracking=none",), "leave out tracking=none"),
        (("out=mlflow.db",), "is a file"),
    ],
)  # fmt: skip
def test_mistakes(store: Path, words: tuple[str, ...], said: str) -> None:
    done = initlab("report", *words, cwd=store)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2
    assert not done.stdout


def test_a_run_without_a_page_is_told(store: Path, tmp_path: Path) -> None:
    done = initlab(*SMALL, "tracking.report=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = initlab("report", "run=last", cwd=tmp_path)
    assert done.returncode == 2 and "has no page" in done.stderr and "explain run=" in done.stderr
    assert not list((tmp_path / ".initlab" / "reports").iterdir())
