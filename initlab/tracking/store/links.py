"""Addresses of MLflow's pages: the runs with the columns that matter, one run, its report."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from initlab.tracking.store.location import is_server, mask_password

#: key of the saved view, and the experiment's tag that holds it; MLflow lists it under *Views*
VIEW = "initlab"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
#: columns of the view, in their order; MLflow's own table shows neither scores nor parameters
COLUMNS = (
    "metrics.`test/accuracy`", "metrics.`val/accuracy`", "metrics.`val/loss`", "metrics.`study/best`",
    "tags.`initlab.verdict`", "params.`init`", "params.`activation`", "params.`model`", "params.`data`",
)  # fmt: skip
#: always there, left of the others
_FIRST = ("attributes.`Run Name`", "runDateAndNestInfo")
_WIDTHS = {"attributes.`Run Name`": 230, "tags.`initlab.verdict`": 230}
#: note of the UI that serves the store of a directory
_NOTE = Path(".initlab") / "ui.json"


def view_tag() -> dict[str, str]:
    """The experiment's tag that holds the view: scores, verdict, init, activation as columns."""
    widths = {column: _WIDTHS.get(column, 105) for column in (*_FIRST, *COLUMNS)}
    state = {"selectedColumns": COLUMNS, "columnOrder": (*_FIRST, *COLUMNS), "columnWidths": widths}
    now = time.time_ns() // 1_000_000
    view = {"name": "initlab: scores and choices", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    return {VIEW_TAG: json.dumps(view)}


def runs_page(base: str, experiment_id: str, tags: Mapping[str, str]) -> str:
    """Address of the runs of an experiment, with initlab's view where the experiment has it."""
    page = f"{mask_password(base)}/#/experiments/{experiment_id}/runs"
    return f"{page}?viewStateShareKey={VIEW}" if VIEW_TAG in tags else page


def run_page(base: str, experiment_id: str, run_id: str, file: str = "") -> str:
    """Address of a run, or of the artifact `file` of it."""
    page = f"{mask_password(base)}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}/artifacts/{file}" if file else page


def served_at(uri: str, workdir: Path) -> str:
    """Address of a server that shows the store `uri`: the server itself, or the UI that runs on it; else empty."""
    if is_server(uri):
        return uri
    with suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads((workdir / _NOTE).read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
        with socket.create_connection(("127.0.0.1", int(note["port"])), timeout=0.5):
            return f"http://127.0.0.1:{int(note['port'])}" if note["uri"] == uri else ""
    return ""


def note_ui(uri: str, workdir: Path, port: int) -> None:
    """Note that this process serves the store on `port`, so that runs can say where they are seen."""
    with suppress(OSError):
        (workdir / _NOTE).parent.mkdir(parents=True, exist_ok=True)
        part = (workdir / _NOTE).with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"uri": uri, "port": port, "pid": os.getpid()}), encoding="utf-8")
        part.replace(workdir / _NOTE)


def forget_ui(workdir: Path) -> None:
    """Remove the note of this process."""
    with suppress(OSError, ValueError, KeyError):
        if json.loads((workdir / _NOTE).read_text(encoding="utf-8"))["pid"] == os.getpid():
            (workdir / _NOTE).unlink()
