"""A study has one answer: every place that shows it has the same numbers, order and words."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from initlab.study.results.figures.scales import better
from tests.cli.driver import initlab

STUDY = (
    "-m", "data=digits", "model=mlp", "model.depth=4", "model.width=24", "optimizer=sgd", "trainer.epochs=2",
    "tracking.report=false", "trainer.checkpoint=false", "study.name=one", "init=he,xavier,zeros", "replicas=3",
    "activation=relu,sigmoid",
)  # fmt: skip

#: what a line of a table says of an arm: its choices, mean, interval and place
Line = tuple[str, str, str, str, str]


def lines_of(text: str) -> list[Line]:
    """The arms of a table in order, whatever its columns are."""
    found: list[Line] = []
    for line in text.splitlines():
        init, activation = (
            re.search(r"(?<![=\w])(he|xavier|zeros)\b", line),
            re.search(r"(?<![=\w])(relu|sigmoid)\b", line),
        )
        numbers = re.search(r"(\d\.\d{4})(?:\W+\d\.\d{4})?\W+(\d\.\d{4} … \d\.\d{4})", line)
        place = re.search(r"\b(best|not distinguishable|worse)\b", line)
        if init and activation and numbers:
            told = place[1] if place else ""
            found.append((init[1], activation[1], numbers[1], numbers[2], told))
    return found


@pytest.mark.process
def test_six_places_tell_one_thing(tmp_path: Path) -> None:
    done = initlab(*STUDY, cwd=tmp_path, timeout=400, COLUMNS="160")
    assert done.returncode == 0, done.stderr
    shown = lines_of(done.stdout)
    assert len(shown) == 6 and {place for *_, place in shown} == {"best", "not distinguishable", "worse"}, done.stdout

    compared = initlab("compare", "study=one", "out=out", cwd=tmp_path, COLUMNS="160")
    assert compared.returncode == 0, compared.stderr
    assert lines_of(compared.stdout) == shown, compared.stdout
    (table,) = (tmp_path / "out").rglob("*.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(r["init"], r["activation"], f"{float(r['mean']):.4f}") for r in rows] == [line[:3] for line in shown]

    store = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiments = [e.experiment_id for e in store.search_experiments()]
    (parent,) = store.search_runs(experiments, "tags.`initlab.kind` = 'study'")
    note = parent.data.tags["mlflow.note.content"]
    assert lines_of(note) == shown, note

    (page,) = (tmp_path / "mlruns").rglob("report.html")
    cells = re.sub(r"\[(\d\.\d{4} … \d\.\d{4})\]", r"\1", page.read_text(encoding="utf-8"))
    in_page = [re.sub(r"<[^>]+>", " ", row) for row in re.findall(r"<tr.*?</tr>", cells, flags=re.DOTALL)]
    flat = "\n".join(" ".join(row.split()) for row in in_page)
    assert lines_of(flat) == shown, flat

    explained = initlab("explain", "study=one", cwd=tmp_path)
    assert explained.returncode == 0, explained.stderr
    head = next(line for line in explained.stdout.splitlines() if line.lower().startswith("best"))
    init, activation, mean, interval, _ = shown[0]
    assert all(part in head for part in (f"init={init}", f"activation={activation}", mean, *interval.split(" … "))), (
        head
    )
    close = [f"init={i} activation={a}" for i, a, _, _, place in shown if place == "not distinguishable"]
    assert [re.search(rf"{c}(;|$)", head) is not None for c in close] == [True] * len(close), head

    # while it ran: the lines of single arms have the same means
    told = dict(re.findall(r"init=(\w+ activation=\w+): val/accuracy (\d\.\d{4})", done.stdout))
    assert told == {f"{i} activation={a}": m for i, a, m, _, _ in shown}
    # brighter is better in the figures of both
    assert (better("maximize"), better("minimize")) == ("more", "less")
