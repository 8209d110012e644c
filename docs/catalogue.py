"""What was measured of an entry of the catalogue (docs/catalogue.json, by measure_catalogue.py)."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "catalogue.json"


@cache
def held() -> dict[str, Any]:
    """All that was measured, by what was chosen (``init=he``)."""
    return json.loads(_FILE.read_text(encoding="utf-8"))


def measured_of(chosen: str) -> dict[str, dict[str, float]]:
    """What was beside it (``activation=relu``) → figures; empty where it was not measured on the plain network."""
    found = held().get(chosen, {})
    return found.get("results", {}) if found.get("network", "").startswith("MLP") else {}


def figure_text(value: float | None) -> str:
    """Three digits, or a dash where there is nothing."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}" if value < 1000 else f"{value:.1e}"


def measured_lines(chosen: str) -> list[str]:
    """The section of a page: the network, and its score beside what it was trained with."""
    found = held().get(chosen, {})
    if not found:
        return []
    lines = ["", "## Measured", ""]
    if "refused" in found:
        return [
            *lines,
            f"Not measured: all networks of this comparison are refused. {found['refused'].splitlines()[0]}",
        ]
    lines += [
        f"{found['network']}; ten epochs of Adam, mean of three seeds. Nothing was tuned for this table, but",
        "the model behind the probability was fitted on other runs of such data"
        " ([how often it is right](../predictor.md)).",
        "",
        "| with | test accuracy | test loss | probability said before training |",
        "|---|---|---|---|",
    ]
    for beside, figures in found["results"].items():
        cells = (figure_text(figures.get(k)) for k in ("test/accuracy", "test/loss", "predicted"))
        lines.append(f"| `{beside}` | {' | '.join(cells)} |")
    return lines
