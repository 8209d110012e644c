"""`report` writes the page of a run or a study, and says what has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.driver import initlab

pytestmark = pytest.mark.process

SMALL = ("data=digits", "model=mlp", "model.width=8", "trainer.max_steps=3", "probes.histograms=false")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and a study of two arms."""
    folder = tmp_path_factory.mktemp("report")
    for words in (SMALL, ("inspect", "model=mlp", "model.width=8"), ("-m", *SMALL, "init=he,xavier", "study.name=two")):
        done = initlab(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("words", "name", "inside"),
    [
        ((), "xavier-s0", "What was seen"),
        (("run=last",), "xavier-s0", "What was seen"),
        (("study=tw",), "two", "init=xavier"),
        (("inspect=last",), "inspect-", "inspected before training"),
    ],
    ids=["nothing named", "run", "study", "inspection"],
)
def test_the_page_is_written(store: Path, words: tuple[str, ...], name: str, inside: str) -> None:
    done = initlab("report", *words, "out=pages", cwd=store)
    assert done.returncode == 0, done.stderr
    first, following = done.stdout.splitlines()
    file = Path(first.removeprefix("written to "))
    assert file.is_file() and file.parent.name.startswith(name) and inside in file.read_text(encoding="utf-8")
    # the advice is for the network that was inspected
    said = "advise model=mlp model.width=8 " if "inspect=last" in words else "explain "
    assert following.startswith(f"Next: python -m initlab {said}")


@pytest.mark.parametrize(
    ("words", "name", "inside"),
    [
        (("explain", "run=last"), "explain.html", "To repeat the run"),
        (("explain", "study=two"), "explain.html", "compare study=two"),
        (("advise", "model=mlp", "model.width=8", "activation=relu"), "advise.html", "To repeat this recommendation"),
    ],
    ids=["run", "study", "advice"],
)
def test_an_answer_is_also_a_page_where_a_folder_is_named(
    store: Path, tmp_path: Path, words: tuple[str, ...], name: str, inside: str
) -> None:
    done = initlab(*words, f"out={tmp_path}/new/pages", cwd=store)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "new" / "pages" / name
    assert f"written to {file}" in done.stdout.splitlines()
    text = file.read_text(encoding="utf-8")
    assert inside in text and "<script" not in text
    # what the page advises is what the terminal says
    last = done.stdout.splitlines()[-1].removeprefix("Next: ")
    assert last.startswith(("python -m initlab report", "Or let initlab try it")) or last in text


@pytest.mark.parametrize("words", [("explain", "run=last"), ("explain", "study=two"), ("advise", "model=mlp")])
def test_a_folder_that_cannot_be_written_is_told_before_the_answer(store: Path, words: tuple[str, ...]) -> None:
    done = initlab(*words, "out=mlflow.db/pages", cwd=store)
    assert done.returncode == 2 and "lies below a file" in done.stderr and not done.stdout


def test_without_a_folder_it_is_among_initlab_s_own_files(store: Path) -> None:
    done = initlab("report", cwd=store)
    assert Path(done.stdout.splitlines()[0].removeprefix("written to ")).is_relative_to(store / ".initlab" / "reports")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run=nothing",), "no such run"), (("study=nothing",), "study=nothing"), (("open=perhaps",), "true or false"),
        (("run=last", "study=two"), "one run, one study"), (("inspect=nothing",), "no such run"),
        (("tracking=none",), "leave out tracking=none"), (("out=mlflow.db",), "is a file"),
    ],
)  # fmt: skip
def test_mistakes(store: Path, words: tuple[str, ...], said: str) -> None:
    done = initlab("report", *words, cwd=store)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2
    assert not done.stdout


def test_a_run_without_a_page_gets_one_when_somebody_asks(store: Path, tmp_path: Path) -> None:
    done = initlab("list", "study=two", "--json", cwd=store)
    (member, _) = json.loads(done.stdout)["entries"]
    assert not list((store / "mlruns").rglob(f"{member['id']}/artifacts/report.html"))
    done = initlab("report", f"run={member['id']}", f"out={tmp_path}", cwd=store)
    assert done.returncode == 0, done.stderr
    text = Path(done.stdout.splitlines()[0].removeprefix("written to ")).read_text(encoding="utf-8")
    assert "What was seen" in text and "Loss and score" in text and "study" not in text.partition("<main>")[0]


def test_a_run_that_has_nothing_to_draw_from_is_told(store: Path, tmp_path: Path) -> None:
    done = initlab(*SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "report.json"):
        next((tmp_path / "mlruns").rglob(name)).unlink()
    done = initlab("report", "run=last", cwd=tmp_path)
    assert done.returncode == 2 and "has no page" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / ".initlab" / "reports").iterdir())
