"""`python -m initlab transfer`: whether the best learning rate of a narrow network is that of a wide one."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.cli.folders import output_folder, write_page
from initlab.cli.inspect_alternatives import compose_changed
from initlab.cli.json_output import is_asked, print_json
from initlab.cli.sizes import Sizes, base_of, one_number, say_progress, sizes_of, typed_experiment
from initlab.core.error_line import print_notice
from initlab.core.signals import interruptible
from initlab.core.version import __version__
from initlab.errors import ConfigError
from initlab.report.note import shell_line
from initlab.run.narrator import Silent
from initlab.run.train import run
from initlab.scaling import Grid, judge_transfer
from initlab.scaling.page import transfer_page
from initlab.spec import Experiment

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments
    from initlab.run.prepare import Prepared

PAGE, FIGURE = "transfer.html", "transfer.svg"
#: losses that were measured, of any transfer of this directory: a line each
KEPT = Path(".initlab/transfer.jsonl")
#: powers of two around optimizer.lr where no rates were typed
_AROUND = range(-3, 4)


def transfer_command(config: DictConfig, arguments: Arguments) -> int:
    """Train the grid of sizes, learning rates and seeds. Returns 0, or 1 where it was stopped."""
    as_json, out = is_asked(arguments), output_folder(arguments)
    experiment, overrides = typed_experiment(config)
    sizes = sizes_of(experiment, arguments)
    lrs = learning_rates(arguments.given.get("lrs", ""), experiment)
    seeds = one_number("seeds", arguments.given.get("seeds", "3"))
    steps = one_number("steps", arguments.given.get("steps", "500"))
    begun = time.perf_counter()
    cells = _compose(experiment, sizes, lrs, steps)
    chosen = tuple(range(experiment.seed, experiment.seed + seeds))
    try:
        with interruptible():
            losses, notes, reused = _train(cells, sizes, lrs, chosen)
    except KeyboardInterrupt:
        say_progress("")
        print_notice(f"interrupted; the runs that ended are kept in {KEPT}: the same command goes on with the others")
        return 1
    grid = Grid(
        axis=sizes.axis, sizes=sizes.values, lrs=lrs, seeds=chosen,
        losses=tuple(tuple(tuple(losses[n, lr, s] for s in chosen) for lr in lrs) for n in sizes.values),
    )  # fmt: skip
    found = judge_transfer(grid, notes)
    listed = f"{sizes.axis}s={','.join(map(str, sizes.values))}"
    line = shell_line([*base_of(experiment), listed], "python -m initlab coordcheck")
    todo = [(line, "See which activations move more or less with the size")]
    name = f"{experiment.params.get('data')}, {experiment.params.get('model')}, init={experiment.params.get('init')}"
    files: list[str] = []
    if out is not None:
        typed = [f"{k}={v}" for k, v in arguments.given.items() if k not in ("out", "json")]
        again = shell_line([*overrides, *typed], "python -m initlab transfer")
        page = transfer_page(found, name=name, todo=todo, again=again)
        files = [str(write_page(out, PAGE, page)), str(write_page(out, FIGURE, found.plot().standalone(name)))]
    if as_json:
        print_json("transfer", {**found.as_fields(), "steps": steps, "files": files, "next": todo[0][0]})
        return 0
    total = len(losses)
    again_words = f" ({reused} of them were measured before, {KEPT})" if reused else ""
    print(
        f"{name}: {sizes.key} x optimizer.lr, {seeds} seeds, {steps} updates, {total} runs{again_words}, in"
        f" {time.perf_counter() - begun:.0f} s"
    )
    print(f"{grid.metric}, mean over the seeds, by learning rate; * is the lowest of a {sizes.axis}:")
    print("\n".join(found.lines()))
    for line in (found.sentence(), found.base_sentence(), found.loss_sentence()):
        print(line[:1].upper() + line[1:])
    for note in notes:
        print(f"  {note}")
    for file in files:
        print(f"written to {file}")
    print(f"Next: {todo[0][0]}")
    return 0


def learning_rates(text: str, experiment: Experiment) -> tuple[float, ...]:
    """The rates of ``2^-10..2^-5`` (each power of two), of a list, or a factor of 8 to both sides of optimizer.lr.

    Raises:
        ConfigError: it is none of these, or a single rate.
    """
    if not text:
        own = experiment.params.get("optimizer.lr")
        if not isinstance(own, (int, float)) or own <= 0:
            raise ConfigError("lrs", None, "must be given, such as 2^-10..2^-5: the optimizer has no lr to start from")
        return tuple(float(own) * 2.0**k for k in _AROUND)
    ends = re.fullmatch(r"\s*2\^(-?\d+)\s*\.\.\s*2\^(-?\d+)\s*", text)
    if ends:
        low, high = sorted((int(ends[1]), int(ends[2])))
        found = [2.0**k for k in range(low, high + 1)]
    else:
        found = [_rate(word, text) for word in re.split(r"[,\s]+", text.strip("[]() ")) if word]
    if len(set(found)) < 2:
        raise ConfigError("lrs", text, "must name two rates or more, such as 2^-10..2^-5 or 0.001,0.003,0.01")
    return tuple(sorted(set(found)))


# ------------------------------------------------------------------ pieces
def _rate(word: str, text: str) -> float:
    power = re.fullmatch(r"2\^(-?\d+(?:\.\d+)?)", word)
    try:
        value = 2.0 ** float(power[1]) if power else float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ConfigError("lrs", text, f"{word} is no rate above 0; write 2^-10..2^-5 or 0.001,0.003,0.01")
    return value


def _compose(
    experiment: Experiment, sizes: Sizes, lrs: tuple[float, ...], steps: int
) -> dict[tuple[int, float], Experiment]:
    """The experiment of each size and rate: without records, probes and checkpoints, of `steps` updates."""
    if experiment.trainer.until is not None:
        text = "transfer trains every run for as many updates, which steps= says; leave the target out"
        raise ConfigError("trainer.until", experiment.trainer.until, text)
    base = list(base_of(experiment))
    fixed: dict[str, object] = {"tracking": "none", "trainer.max_steps": steps, "trainer.epochs": 1_000_000}
    found: dict[tuple[int, float], Experiment] = {}
    for size in sizes.values:
        for lr in lrs:
            made = compose_changed(base, {**fixed, sizes.key: size, "optimizer.lr": lr})
            found[size, lr] = replace(
                made, probes=replace(made.probes, enabled=False), trainer=replace(made.trainer, checkpoint=False)
            )
    return found


class _Listener(Silent):
    """Keeps the notes of the initialiser."""

    notes: tuple[str, ...] = ()

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        del experiment, run_id, folder
        self.notes = prepared.initialised.notes


def _train(
    cells: Mapping[tuple[int, float], Experiment], sizes: Sizes, lrs: tuple[float, ...], seeds: tuple[int, ...]
) -> tuple[dict[tuple[int, float, int], float], tuple[str, ...], int]:
    """Final losses by size, rate and seed; notes of the initialiser at the largest size; how many were known."""
    known = _read()
    found: dict[tuple[int, float, int], float] = {}
    notes: tuple[str, ...] = ()
    reused, total = 0, len(cells) * len(seeds)
    begun = time.perf_counter()
    for size in sizes.values:
        for lr in lrs:
            for seed in seeds:
                experiment = replace(cells[size, lr], seed=seed)
                key = f"{__version__}/{experiment.arm}/{seed}"
                if key in known:
                    found[size, lr, seed] = known[key]
                    reused += 1
                    continue
                done = len(found) - reused
                left = (time.perf_counter() - begun) / done * (total - len(found)) if done else math.nan
                rest = f", about {left / 60:.0f} min left" if math.isfinite(left) and left > 90 else ""
                say_progress(f"run {len(found) + 1} of {total}: {sizes.axis} {size}, lr {lr:.3g}, seed {seed}{rest}")
                listener = _Listener()
                result = run(experiment, narrator=listener)
                notes = listener.notes
                loss = result.metrics.get("val/loss", math.inf)
                found[size, lr, seed] = loss if result.status != "diverged" and math.isfinite(loss) else math.inf
                _keep(key, found[size, lr, seed])
    say_progress("")
    return found, notes, reused


def _read() -> dict[str, float]:
    """Losses by key; lines that were not written to their end are passed over."""
    found: dict[str, float] = {}
    if KEPT.exists():
        for line in KEPT.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                found[str(row["key"])] = math.inf if row["loss"] is None else float(row["loss"])
            except (ValueError, KeyError, TypeError):
                continue
    return found


def _keep(key: str, loss: float) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "loss": loss if math.isfinite(loss) else None}) + "\n")
