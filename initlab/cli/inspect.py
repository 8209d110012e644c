"""`python -m initlab inspect`: predicted and measured signal and gradient by layer at initialisation, no training."""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab import config as configuration
from initlab import report, tracking
from initlab.cli.console import next_line, place
from initlab.cli.inspect_alternatives import Advice, advise, compose_changed, what_trains
from initlab.cli.inspect_stream import block_lines, border_sentences
from initlab.cli.inspect_table import layer_lines, short
from initlab.core.error_line import print_notice
from initlab.errors import ConfigError
from initlab.report.note import format_outlook as outlook_sentence
from initlab.report.note import shell_line
from initlab.run.inspect import Inspection, inspect, note, record
from initlab.run.record import header, opening_files
from initlab.spec import Experiment, Record, RunStatus

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments

_MARK = {"trainable": ("+", "32"), "marginal": ("!", "33"), "untrainable": ("x", "31")}


def inspect_command(config: DictConfig, _arguments: Arguments) -> int:
    """Inspect what `config` says, or every cell of `inspect.sweep`. Always 0: an untrainable network is an answer."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items() if v is not None}
    overrides = [str(o) for o in hydra.overrides.task]
    experiment = configuration.experiment(config, choices=choices, overrides=overrides)
    if experiment.inspect.sweep:
        return _sweep(experiment)
    if experiment.tracking.enabled:
        tracking.resolve_uri(experiment.tracking, Path.cwd())  # a bad address is told before anything is loaded
        where, origin = tracking.resolve_experiment(experiment.tracking, workdir=Path.cwd())
        experiment = replace(experiment, tracking=where)
        if origin:
            print_notice(f"tracking: {origin}")
        tracking.preload(experiment.tracking, Path.cwd())
    found = inspect(experiment, experiment.inspect)
    _show(found)
    advice = advise(found)
    for line in advice.lines:
        print(f"    {line}")
    run_id, uri, told = record(found, workdir=Path.cwd(), todo=_todo(found, advice))
    if told:
        print(told)
    elif experiment.tracking.enabled:
        page = f"python -m initlab report inspect={run_id[:8]}"
        print(f"Run {run_id} (kind inspect) is in {place(uri)}; its page: {page}")
    print(f"Next: {advice.next}")
    return 0


def _todo(found: Inspection, advice: Advice) -> list[tuple[str, str]]:
    """What the page says to do next: (command, reason)."""
    if found.outlook.verdict == "trainable":
        return [(advice.next, "Train it")]
    why = advice.lines[0].removeprefix("try ") if advice.lines else "What was tried instead is not better"
    return [(advice.next, why[:1].upper() + why[1:])]


# ------------------------------------------------------------------ one network
def _show(found: Inspection) -> None:
    prepared, outlook = found.prepared, found.outlook
    print(
        f"{found.experiment.name}: {prepared.splits.provenance.name}, {prepared.parameters:,} parameters,"
        f" {len(found.seen.layers)} hidden layers, inspected in {found.seconds:.1f} s without training"
    )
    for sentence in prepared.initialised.notes:
        print(f"  {sentence}")
    print("\n".join(layer_lines(found)))
    if found.stream is not None:
        print("\n".join(block_lines(found.stream)))
    print(_summary(found))
    for sentence in found.advice:
        print(f"  {sentence}")
    if found.prediction.out_of_scope:
        print(f"  not covered by the theory, and measured instead: {', '.join(found.prediction.out_of_scope)}")
    mark, colour = _MARK[outlook.verdict]
    shown = f"\x1b[{colour}m{mark}\x1b[0m" if sys.stdout.isatty() else mark
    print(f"{shown} {outlook_sentence(outlook)}")


def _summary(found: Inspection) -> str:
    p, end = found.prediction, next((s for s in found.spectra if s.site == ""), None)
    parts = [f"loss {found.seen.loss:.3f}"]
    if not math.isnan(p.trainable_depth):
        depth = "∞" if math.isinf(p.trainable_depth) else f"{p.trainable_depth:.0f}"
        parts.append(f"trainable to about {depth} layers (6ξ), this network has {p.depth}")
    if 0.3 < p.log_q_sd < 3:  # of first order in 1/width: more means nothing
        parts.append(f"finite width spreads ln q by ±{p.log_q_sd:.2f}")
    if p.born_dead > 0.01:
        parts.append(f"a ReLU layer is born dead with probability {p.born_dead:.2g}")
    if end is not None and not math.isnan(end.isometry):
        parts.append(f"Jacobian first→last: mean s² {end.mean_square:.3g}, condition {end.condition:.3g}")
    if not math.isnan(found.ntk_condition):
        parts.append(f"tangent kernel condition {found.ntk_condition:.3g}")
    if not math.isnan(found.gradient_quotient):
        parts.append(f"gradient quotient {found.gradient_quotient:.3g}")
    return "; ".join(parts)


# ------------------------------------------------------------------ a grid
def _sweep(experiment: Experiment) -> int:
    """Inspect every combination of `inspect.sweep`, show them as a table and keep them as one run with a heat map."""
    axes = experiment.inspect.sweep or {}
    for key, values in axes.items():
        if not values:
            raise ConfigError(f"inspect.sweep.{key}", "[]", "must list at least one value")
    quick = replace(experiment.inspect, sweep=None, jacobian=False, ntk_examples=0, gradient_quotient=False)
    base = [o for o in experiment.overrides if not o.startswith("inspect.sweep")]
    cells: list[dict[str, Any]] = []
    first: Inspection | None = None
    begun = time.perf_counter()
    for combination in itertools.product(*axes.values()):
        cell: dict[str, Any] = dict(zip(axes, combination, strict=True))
        decided = compose_changed(base, cell)  # a slip of the keyboard ends the sweep
        try:
            found = inspect(decided, quick)
        except ConfigError as error:
            # a combination that does not exist (an activation without a critical point) is a hole in the grid
            cells.append({**cell, "verdict": "refused", "score": math.nan, "reason": str(error)})
            continue
        first = first or found
        cells.append(
            {
                **cell,
                "verdict": found.outlook.verdict,
                "score": found.outlook.score,
                "loss": found.seen.loss,
                "log10_gradient": found.seen.layers[0].log10_gradient if found.seen.layers else math.nan,
                "trainable_depth": found.prediction.trainable_depth,
                **_collapse(found),
                "reason": found.outlook.reasons[0],
            }
        )
    if first is None:
        raise ConfigError(
            "inspect.sweep", dict(axes), f"every combination was refused; the first: {cells[0]['reason']}"
        )
    head = [*axes, "verdict", "score", "6ξ", "log10 grad² first/last", "why"]
    rows = [
        [
            *(str(c[k]) for k in axes),
            c["verdict"],
            short(c["score"], 2),
            short(c.get("trainable_depth"), 0),
            short(c.get("log10_gradient"), 2),
            textwrap.shorten(str(c["reason"]), 110),
        ]
        for c in cells
    ]
    print(f"{len(cells)} combinations inspected in {time.perf_counter() - begun:.1f} s without training")
    _print_table(head, rows)
    for sentence in border_sentences(cells, tuple(axes)):
        print(f"  {sentence}")
    run_id, uri, told = _record_sweep(experiment, first, cells)
    if told:
        print(told)
    elif experiment.tracking.enabled:
        print(
            f"Run {run_id} (kind inspect) is in {place(uri)}; its page: python -m initlab report inspect={run_id[:8]}"
        )
    best = max((c for c in cells if not math.isnan(c["score"])), key=lambda c: float(c["score"]))
    if best["verdict"] == "untrainable":
        print("no combination is likely to train")
        print(f"Next: {what_trains(replace(experiment, overrides=tuple(base)), axes)}")
    else:
        print(f"Next: {next_line(experiment, *(f'{k}={best[k]}' for k in axes), drop=('inspect.',))}")
    return 0


def _collapse(found: Inspection) -> dict[str, float]:
    """Predicted cosine of the last block and least entropy, of a transformer that theory covers."""
    forecast = found.stream.forecast if found.stream is not None else None
    if forecast is None or not forecast.blocks[-1].claimed:
        return {}
    entropies = [b.entropy_ratio for b in forecast.blocks if not math.isnan(b.entropy_ratio)]
    return {"token_cosine": forecast.blocks[-1].cosine, "attention_entropy": min(entropies, default=math.nan)}


def _record_sweep(experiment: Experiment, first: Inspection, cells: list[dict[str, Any]]) -> tuple[str, str, str]:
    prepared = first.prepared
    head = header(experiment, prepared, kind="inspect")
    head = replace(head, name=f"inspect-sweep-{head.name}")
    sink = tracking.start(
        head, experiment.tracking, workdir=Path.cwd(), files=opening_files(experiment, prepared), checkpoints=False
    )
    status: RunStatus = "failed"
    try:
        counts = {v: float(sum(c["verdict"] == v for c in cells)) for v in ("trainable", "marginal", "untrainable")}
        metrics = {f"inspect/{k}": v for k, v in counts.items()}
        sink.write(Record(serial=0, step=0, epoch=0.0, time_ms=time.time_ns() // 1_000_000, metrics=metrics))
        sink.tag(
            {
                "initlab.verdict": ", ".join(f"{int(n)} {k}" for k, n in counts.items()),
                "mlflow.note.content": note(first),
            }
        )
        if experiment.tracking.enabled:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                plain = [
                    {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in c.items()}
                    for c in cells
                ]
                (folder / "sweep.json").write_text(json.dumps(plain, indent=1))
                sink.artifact(folder / "sweep.json")
                axes = tuple(experiment.inspect.sweep or ())
                for path, folder_of in report.write_sweep(
                    cells, axes, folder, name=head.name, sentences=border_sentences(cells, axes),
                    again=shell_line(experiment.overrides, "python -m initlab inspect"),
                ):  # fmt: skip
                    sink.artifact(path, folder_of)
        status = "finished"
    finally:
        told = sink.close(status)
    return sink.run_id, sink.uri, told


# ------------------------------------------------------------------ text
def _print_table(head: list[str], rows: list[list[str]]) -> None:
    """A table fitted to the terminal; elsewhere plain lines with two spaces between columns."""
    left = {0, *(i for i, name in enumerate(head) if name in ("verdict", "why"))}
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for i, name in enumerate(head):
            table.add_column(name, justify="left" if i in left else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print(
            "  ".join(
                cell.ljust(w) if i in left else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
