"""Addresses of MLflow's pages, and the view of an experiment with its columns."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from mlflow import MlflowClient

from initlab.tracking.store import links
from initlab.tracking.store.client import connect
from tests.tracking.tracking_cases import free_port


def test_a_new_experiment_has_the_view(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment = connect(uri, workdir=tmp_path).experiment("mine")
    tags = MlflowClient(uri).get_experiment(experiment).tags
    view = json.loads(tags[links.VIEW_TAG])
    state = json.loads(view["state"])
    assert view["name"].startswith("initlab") and view["createdAt"] == view["updatedAt"] > 0
    assert state["selectedColumns"] == list(links.COLUMNS) and state["columnOrder"][2:] == list(links.COLUMNS)
    assert links.runs_page("http://h:1", experiment, tags).endswith(f"/{experiment}/runs?viewStateShareKey=initlab")
    assert links.runs_page("http://me:secret@h:1", "7", {}) == "http://me:***@h:1/#/experiments/7/runs"


def test_a_run_is_linked_where_something_shows_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert links.served_at("http://h:1", tmp_path) == "http://h:1"
    assert links.served_at(uri, tmp_path) == "", "nobody serves it"
    port = free_port()
    links.note_ui(uri, tmp_path, port)
    assert links.served_at(uri, tmp_path) == "", "it was killed, and left its note"
    with socket.create_server(("127.0.0.1", port)):
        assert links.served_at(uri, tmp_path) == f"http://127.0.0.1:{port}"
        assert links.served_at("sqlite:////elsewhere.db", tmp_path) == ""
    links.forget_ui(tmp_path)
    assert not (tmp_path / ".initlab" / "ui.json").exists()
    assert links.run_page("http://h:1", "7", "r", "report.html") == (
        "http://h:1/#/experiments/7/runs/r/artifacts/report.html"
    )
