"""Interleaved repetitions of several variants, and their table: medians, ranges, and ratios within each repetition."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.processes import Cost

#: what one repetition measures of a variant
Measure = Callable[[], Cost]


@dataclass
class Result:
    """A benchmark: variant → its cost in each repetition. The first variant is what the ratios are against."""

    name: str
    title: str
    repetitions: int
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def ratios(self, variant: str, against: str, quantity: str) -> list[float]:
        pairs = zip(self.costs[variant], self.costs[against], strict=True)
        return [getattr(a, quantity) / getattr(b, quantity) for a, b in pairs]

    def markdown(self) -> str:
        first = next(iter(self.costs))
        lines = [
            f"### {self.title}", "",
            f"| | CPU s | × {first} | wall s | × {first} | peak MiB |", "|---|---|---|---|---|---|",
        ]  # fmt: skip
        for variant, costs in self.costs.items():
            cells = [_spread([c.cpu for c in costs], "{:.2f}"), _spread(self.ratios(variant, first, "cpu"), "{:.2f}")]
            cells += [
                _spread([c.wall for c in costs], "{:.2f}"),
                _spread(self.ratios(variant, first, "wall"), "{:.2f}"),
            ]
            memory = statistics.median(c.memory for c in costs)
            lines.append(f"| {variant} | {' | '.join(cells)} | {f'{memory:.0f}' if memory else '–'} |")
        return "\n".join([*lines, "", *(f"{n}\n" for n in self.notes)])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self) | {"machine": machine()}, indent=1) + "\n")
        text = f"{machine()}; {self.repetitions} interleaved repetitions: median [smallest … largest].\n"
        (folder / f"{self.name}.md").write_text(f"{self.markdown()}\n{text}", encoding="utf-8")


def interleave(name: str, title: str, variants: Mapping[str, Measure], repetitions: int, *notes: str) -> Result:
    """Measure every variant once in turn, `repetitions` times, after a round that does not count."""
    found = Result(name, title, repetitions, {v: [] for v in variants}, notes)
    for repetition in range(repetitions + 1):
        for variant, measure in variants.items():
            cost = measure()
            print(f"  {repetition}/{repetitions} {variant}: {cost.cpu:.2f} s CPU, {cost.wall:.2f} s", file=sys.stderr)
            if repetition:
                found.costs[variant].append(cost)
    return found


def machine() -> str:
    """The machine, in a line."""
    import torch

    cpu = next(
        (line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")), platform.processor()
    )
    threads = os.environ.get("OMP_NUM_THREADS") or str(torch.get_num_threads())
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{cpu}, {os.cpu_count()} cores, {threads} thread(s), {software}"


def _cpu_info() -> Sequence[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()


def _spread(values: Sequence[float], form: str) -> str:
    middle, low, high = (form.format(v) for v in (statistics.median(values), min(values), max(values)))
    return f"{middle} [{low} … {high}]"
