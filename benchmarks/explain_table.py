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

from initlab import config, tracking
from initlab.advice import explain
from initlab.advice.explain.story import learned_fraction, trains
from initlab.run.train import run

os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Case:
    """A configuration; the finding that must be named as its cause, empty for a healthy one."""

    overrides: str
    cause: str = ""


DEEP = "model=mlp model.width=100"
BROKEN = {
    "zero weights": Case("model=mlp init=zeros trainer.epochs=3", "symmetric_units"),
    "constant weights, tanh": Case("model=mlp init=constant activation=tanh trainer.epochs=3", "symmetric_units"),
    "N(0, 1), sigmoid": Case(
        f"{DEEP} model.depth=10 activation=sigmoid init=normal init.std=1 optimizer=sgd trainer.epochs=4", "saturated"
    ),
    "N(0, 0.01²), ReLU, depth 30": Case(
        f"{DEEP} model.depth=30 init=normal init.std=0.01 trainer.epochs=4", "vanishing"
    ),
    "He, tanh, depth 100": Case(
        f"{DEEP} model.depth=100 init=he activation=tanh optimizer=sgd trainer.epochs=4", "exploding"
    ),
    "lr 10": Case("model=mlp optimizer=sgd optimizer.lr=10 trainer.epochs=3", "updates_too_large"),
    "lr 1e-7": Case("model=mlp optimizer.lr=1e-7 trainer.epochs=3", "updates_too_small"),
    "ReLU, bias -5": Case("model=mlp model.depth=3 init=he init.bias=-5 trainer.epochs=3", "born_dead"),
    "N(0, 1), ReLU, depth 20": Case(f"{DEEP} model.depth=20 init=normal init.std=1 trainer.epochs=3", "exploding"),
    "30 residual branches, no norm, He": Case(
        f"{DEEP} model.depth=61 model.residual=true model.branch_depth=2 init=he optimizer=sgd trainer.epochs=3",
        "unscaled_branches",
    ),
    "weight decay 100": Case(
        "model=mlp optimizer=adamw optimizer.weight_decay=100 trainer.epochs=6", "decayed_weights"
    ),
    "N(0, 0.3²), ReLU RNN, text": Case(
        "task=text model=rnn activation=relu init=normal init.std=0.3 trainer.max_steps=300", "exploding"
    ),
}
#: held out at first, and then the reason why three rules were mended (docs/explain.md)
CHECKED = {
    "He (= LeCun), SELU, depth 40, lr 0.01": Case(
        f"{DEEP} model.depth=40 init=he activation=selu optimizer=sgd trainer.epochs=4", "diverged"
    ),
    "Xavier, sigmoid, depth 20": Case(
        f"{DEEP} model.depth=20 init=xavier activation=sigmoid optimizer=sgd trainer.epochs=4", "vanishing"
    ),
    "speech, SGD, lr 1e-6": Case("task=speech optimizer=sgd optimizer.lr=1e-6 trainer.epochs=3", "updates_too_small"),
    "text, LSTM, zeros": Case("task=text init=zeros trainer.max_steps=200 model.hidden_size=64", "symmetric_units"),
    "ResNet-56, no norm, He": Case(
        "model=resnet model.depth=56 model.width=4 model.norm=none init=he optimizer=sgd trainer.epochs=1",
        "unscaled_branches",
    ),
    "tanh, RMSprop, lr 3": Case(
        "model=mlp activation=tanh init=xavier optimizer=rmsprop optimizer.lr=3 trainer.epochs=3", "updates_too_large"
    ),
}
#: not looked at while the rules and their bounds were made
HELD_OUT = {
    "orthogonal gain 0.5, tanh, depth 20": Case(
        f"{DEEP} model.depth=20 init=orthogonal init.gain=0.5 activation=tanh optimizer=sgd trainer.epochs=4",
        "vanishing",
    ),
    "speech, constant weights": Case("task=speech init=constant init.value=0.05 trainer.epochs=3", "symmetric_units"),
    "Adam, lr 3, tanh, depth 5": Case(
        f"{DEEP} model.depth=5 init=xavier activation=tanh optimizer.lr=3 trainer.epochs=3", "updates_too_large"
    ),
    "N(0, 1), GELU convnet": Case(
        "model=convnet model.depth=8 model.width=16 activation=gelu init=normal init.std=1 trainer.epochs=2",
        "exploding",
    ),
    "gradient clipped to 1e-6": Case(
        "model=mlp optimizer=sgd trainer.clip_grad_norm=1e-6 trainer.epochs=3", "updates_too_small"
    ),
    "sigmoid, bias 12": Case(
        f"{DEEP} model.depth=3 activation=sigmoid init=xavier init.bias=12 trainer.epochs=3", "born_dead"
    ),
}
HEALTHY = {
    "image, CNN, ReLU, He": Case("trainer.epochs=2"),
    "image, MLP, ReLU, He": Case("model=mlp trainer.epochs=3"),
    "image, MLP depth 30, ReLU, He": Case(f"{DEEP} model.depth=30 optimizer=sgd trainer.epochs=8"),
    "image, MLP depth 20, tanh, Xavier": Case(
        f"{DEEP} model.depth=20 init=xavier activation=tanh trainer.epochs=4"
    ),
    "image, MLP depth 16, SELU, LeCun": Case(
        f"{DEEP} model.depth=16 init=lecun activation=selu optimizer=sgd trainer.epochs=5"
    ),
    "image, MLP depth 12, GELU, LSUV": Case(
        f"{DEEP} model.depth=12 init=lsuv activation=gelu optimizer=sgd trainer.epochs=5"
    ),
    "image, MLP, sigmoid, Xavier": Case("model=mlp activation=sigmoid init=xavier trainer.epochs=6"),
    "image, 10 residual branches, scaled": Case(
        f"{DEEP} model.depth=21 model.residual=true model.branch_depth=2 init=residual_scaled trainer.epochs=4"
    ),
    "image, ResNet-20 with norms, He": Case("model=resnet model.width=4 init=he trainer.epochs=2"),
    "speech, CNN, ReLU, He": Case("task=speech trainer.epochs=5"),
    "text, LSTM, forget bias 1": Case("task=text model.hidden_size=64 init=recurrent trainer.max_steps=300"),
    "adding problem, LSTM": Case(
        "task=synthetic model.hidden_size=64 init=recurrent data.length=50 trainer.max_steps=1200"
    ),
}  # fmt: skip
#: not looked at while the rules and their bounds were made
HEALTHY_TOO = {
    "speech, TDNN, ReLU, He": Case("task=speech model=tdnn trainer.epochs=3"),
    "speech, CRNN": Case("task=speech model=crnn init=recurrent trainer.epochs=4"),
    "text, GRU": Case("task=text model=gru model.hidden_size=64 init=recurrent trainer.max_steps=300"),
    "digits, MLP depth 4, SiLU, AdamW": Case(
        "data=digits model=mlp model.depth=4 activation=silu optimizer=adamw trainer.epochs=10"
    ),
    "digits, softmax regression from zeros": Case(
        "data=digits model=linear init=zeros optimizer.lr=0.01 trainer.epochs=20"
    ),
    "digits, convnet with batch norms": Case(
        "data=digits model=convnet model.depth=6 model.width=16 model.norm=batch trainer.epochs=4"
    ),
    "image, MLP depth 50, ReLU, orthogonal, clipped": Case(
        f"{DEEP} model.depth=50 init=orthogonal optimizer=sgd trainer.clip_grad_norm=1.0 trainer.epochs=8"
    ),
}
TABLES: Mapping[str, Mapping[str, Case]] = {
    "broken": BROKEN,
    "checked": CHECKED,
    "held out": HELD_OUT,
    "healthy": HEALTHY,
    "healthy, held out": HEALTHY_TOO,
}


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
    overrides = [*case.overrides.split(), "tracking.report=false", "trainer.checkpoint=false"]
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
