"""Trains the cells of a grid in processes of their own, one line of JSON each; goes on where it was stopped."""

from __future__ import annotations

import json
import multiprocessing as mp
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def read(file: Path) -> list[Cell]:
    """The rows so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def train_cells(
    file: Path, cells: Sequence[Cell], one: Callable[[Cell], Cell], *, keys: Sequence[str], workers: int
) -> None:
    """Append a row to `file` for each of `cells` that has none yet; `keys` tell cells apart."""
    done = {tuple(row[k] for k in keys) for row in read(file)}
    todo = [c for c in cells if tuple(c[k] for k in keys) not in done]
    print(f"{len(done)} cells done, {len(todo)} to go", flush=True)
    with mp.get_context("spawn").Pool(workers) as pool, file.open("a") as out:
        for i, row in enumerate(pool.imap_unordered(one, todo)):
            out.write(json.dumps(row) + "\n")
            out.flush()
            if i % 20 == 0:
                print(f"{i} of {len(todo)}: {', '.join(str(row[k]) for k in keys)}", flush=True)
