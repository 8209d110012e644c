"""Does `explain` name the right cause, does its remedy train, and is it silent where nothing is wrong?

    python benchmarks/explain_table.py                     all tables, as Markdown (docs/explain.md)
    python benchmarks/explain_table.py broken 'lr 10'      some rows of one

Every row is real training, recorded in a store of its own directory, read back and explained as the command does; the
remedies are real follow-up runs. One seed; a minute or so a table on two cores.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import explain_cases, explain_cases_transformers
from benchmarks.explain_cases import Case
from initlab import config, tracking
from initlab.advice import explain
from initlab.advice.explain.story import learned_fraction, trains
from initlab.run.train import run

os.environ.setdefault("OMP_NUM_THREADS", "1")

TABLES = {**explain_cases.TABLES, **explain_cases_transformers.TABLES}


@dataclass(frozen=True)
class Row:
    """What came of a case; `tried` are the remedies in their order, `after` is what the last of them learned."""

    name: str
    case: Case
    named: str
    alarms: tuple[str, ...]
    before: float
    tried: tuple[str, ...] = ()
    after: float = 0.0
    cured: bool = False

    @property
    def right(self) -> bool:
        return self.named == self.case.cause

    @property
    def first_cured(self) -> bool:
        return self.cured and len(self.tried) == 1


def explained(name: str, case: Case, workdir: Path, *, attempt: bool = True) -> Row:
    """Train the case, read it back, explain it, and try its remedies until one helps, at most three."""
    overrides = [*case.words, "tracking.report=false", "trainer.checkpoint=false"]
    experiment = config.experiment(config.compose(overrides), overrides=overrides)
    result = run(experiment, workdir=workdir)
    told = explain.read_recorded(tracking.find_run(result.run_id, experiment.tracking, workdir=workdir))
    found = explain.explain_run(told.evidence)
    alarms = tuple(
        f.name for f in (*((found.cause,) if found.cause else ()), *found.others) if f.severity != "note"
    )  # fmt: skip
    row = Row(name, case, found.cause.name if found.cause else "", alarms, learned_fraction(told.evidence))
    if not attempt or not case.cause:
        return row
    tried = list(explain.try_remedies(told, found, experiment.tracking, workdir=workdir))
    last = tried[-1].evidence if tried else None
    return Row(
        name, case, row.named, row.alarms, row.before, tuple(" ".join(t.remedy.overrides) for t in tried),
        learned_fraction(last) if last is not None else 0.0,
        last is not None and trains(last) and tried[-1].verdict == "helped",
    )  # fmt: skip


def rows(cases: Mapping[str, Case], only: Iterable[str] = ()) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as workdir:
        for name, case in cases.items():
            if not only or name in only:
                yield explained(name, case, Path(workdir))


def main(arguments: list[str]) -> None:
    """Print the tables, row by row as they are known."""
    which = arguments[:1] or list(TABLES)
    if which[0] not in TABLES:
        raise SystemExit(f"explain_table: {which[0]}: no table of that name; choose from {', '.join(TABLES)}")
    for table in which:
        cases = TABLES[table]
        if table.startswith("healthy"):
            print(f"| {table} | alarms | learned |\n|---|---|---|", flush=True)
        else:
            print(
                f"| {table} | cause named | right | learned | tried | learned then | cured |",
                "|---|---|---|---|---|---|---|",
                sep="\n",
            )
        done: list[Row] = []
        for row in rows(cases, arguments[1:]):
            done.append(row)
            if table.startswith("healthy"):
                cells = [row.name, ", ".join(row.alarms) or "none", f"{row.before:.2f}"]
            else:
                cells = [
                    row.name, row.named, "yes" if row.right else f"no ({row.case.cause})", f"{row.before:.2f}",
                    ", then ".join(f"`{t}`" for t in row.tried), f"{row.after:.2f}", "yes" if row.cured else "no",
                ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)
        if table.startswith("healthy"):
            print(f"\nNo alarm: {sum(not r.alarms for r in done)} of {len(done)}\n")
        else:
            print(
                f"\nRight cause: {sum(r.right for r in done)} of {len(done)}; cured: {sum(r.cured for r in done)}"
                f" (by the first remedy: {sum(r.first_cured for r in done)})\n"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
