"""MLflow's own UI on a store of ours: what a person sees of a run, of a study, and of runs side by side."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.browser.chromium import browser, errors, picture, requested
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.tracking.tracking_cases import free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]
Site = tuple[str, str, Any, list[Any], Any, Path]
TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2")
#: what MLflow's page complains of by itself: a store without users has no current one, and it watches its own size
ITS_OWN = ("mlflow/users/current", "ResizeObserver loop")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Address of the UI, id of the experiment, the study's own run, its children, a single run, and the folder."""
    folder = tmp_path_factory.mktemp("ui")
    grid = ("init=he,xavier", "activation=relu,tanh", "tracking.report=true")
    done = initlab("-m", *TINY, *grid, cwd=folder, timeout=200)
    assert done.returncode == 0, done.stderr
    done = initlab(*TINY, "model.depth=12", "init=he", cwd=folder, timeout=200)
    assert done.returncode == 0 and "In MLflow:" not in done.stdout, "no server shows it yet"
    port = free_port()
    with (folder / "ui.log").open("wb") as log:
        server = Forked(
            [sys.executable, "-m", "initlab", "ui", f"port={port}"], cwd=folder, env=environment(),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: answers(f"{address}/health"), 90)
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = next(e for e in client.search_experiments() if e.name == "initlab")
        runs = client.search_runs([experiment.experiment_id], max_results=100)
        # the first line is the address of these runs
        page = f"{address}/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=initlab "
        assert page in (folder / "ui.log").read_text()
        (parent,) = (r for r in runs if r.data.tags["initlab.kind"] == "study")
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId")]
        (single,) = (r for r in runs if r is not parent and r not in children)
        yield address, str(experiment.experiment_id), parent, children, single, folder
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait(20)
        # the whole tree has ended
        assert not answers(f"{address}/health")


@pytest.fixture(scope="module")
def chrome() -> Any:
    with browser() as found:
        yield found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait(holds: Callable[[], Any], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


def text(chrome: Any) -> str:
    return str(chrome.execute_script("return document.body.innerText"))


def opened(chrome: Any, address: str, path: str, *parts: str) -> None:
    """Open a page of the UI and wait until all `parts` stand on it; nothing is asked of anybody else."""
    chrome.get("about:blank")
    errors(chrome)
    requested(chrome)
    chrome.get(f"{address}/#{path}")
    wait(lambda: all(p in text(chrome) for p in parts))
    assert [e for e in errors(chrome) if not any(own in e for own in ITS_OWN)] == []
    assert [u for u in requested(chrome) if not u.startswith((address, "about:"))] == []


def test_a_run_shows_its_note_its_figures_and_its_report(site: Site, chrome: Any, tmp_path: Path) -> None:
    address, experiment, _, runs, *_ = site
    run = f"/experiments/{experiment}/runs/{runs[0].info.run_id}"
    opened(chrome, address, run, "updates in", "initlab.verdict", "val/accuracy", "optimizer.lr", "digits")
    picture(chrome, tmp_path / "run.png")
    opened(chrome, address, f"{run}/artifacts/report.html", "report.html")
    wait(lambda: chrome.find_elements("css selector", "iframe"))
    chrome.switch_to.frame(chrome.find_element("css selector", "iframe"))
    wait(lambda: "What was seen" in text(chrome))
    assert chrome.execute_script("return document.querySelectorAll('svg.chart').length") >= 4
    chrome.switch_to.default_content()


def test_a_study_shows_its_leaderboard_and_its_children(site: Site, chrome: Any, tmp_path: Path) -> None:
    address, experiment, parent, runs, *_ = site
    opened(chrome, address, f"/experiments/{experiment}/runs/{parent.info.run_id}", "best init=", "study/best")
    assert all(r.data.tags["mlflow.parentRunId"] == parent.info.run_id for r in runs)
    opened(chrome, address, f"/experiments/{experiment}/runs", parent.info.run_name, f"{len(runs) + 2} matching runs")
    picture(chrome, tmp_path / "runs.png")


def test_runs_side_by_side_are_drawn_by_what_differs(site: Site, chrome: Any, tmp_path: Path) -> None:
    address, experiment, _, runs, *_ = site
    ids = json.dumps([r.info.run_id for r in runs], separators=(",", ":"))
    path = f"/compare-runs?runs={ids}&experiments=[%22{experiment}%22]"
    # the parameters that differ, and no others, are the axes
    plots = ("Parallel Coordinates Plot", "Box Plot")
    opened(chrome, address, path, f"Comparing {len(runs)} Runs", *plots, "init", "activation")
    drawn = "return [...document.querySelectorAll('svg text')].map(t => t.textContent).join(' ')"
    wait(lambda: all(key in str(chrome.execute_script(drawn)) for key in ("init", "activation")))
    picture(chrome, tmp_path / "compare.png")


def test_the_table_of_runs_shows_scores_then_the_verdict_then_the_choices(
    site: Site, chrome: Any, tmp_path: Path
) -> None:
    address, _, parent, _, single, folder = site
    chrome.set_window_size(1900, 900)
    page = (folder / "ui.log").read_text().partition(f"{address}/#")[2].partition(" ")[0]
    opened(chrome, address, page, "Training runs", single.info.run_name, parent.info.run_name, "test/accuracy")
    headings = chrome.execute_script(
        "return [...document.querySelectorAll('[role=columnheader]')]"
        ".sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
        ".map(h => h.innerText.trim()).filter(t => t)"
    )
    wanted = [
        "Run Name", "test/accuracy", "val/accuracy", "val/loss", "study/best", "initlab.verdict", "init", "activation",
    ]  # fmt: skip
    # a pinned column stands there twice
    assert list(dict.fromkeys(h for h in headings if h in wanted)) == wanted
    shown = text(chrome)
    assert single.data.tags["initlab.verdict"] in shown and "he-relu-mlp-digits-s0" in shown
    picture(chrome, tmp_path / "table.png")


def test_metrics_begin_with_scores_and_have_layers_in_their_order(site: Site, chrome: Any, tmp_path: Path) -> None:
    address, experiment, _, _, single, _ = site
    run = f"/experiments/{experiment}/runs/{single.info.run_id}"
    opened(chrome, address, f"{run}/model-metrics", "watch/grad_norm", "test/accuracy")
    lines = [line.strip() for line in text(chrome).splitlines()]
    sections = [
        s for s in lines if s in ("test", "train", "val", "watch/diag", "watch/grad_norm", "watch/update_ratio")
    ]
    assert list(dict.fromkeys(sections)) == [
        "test", "train", "val", "watch/diag", "watch/grad_norm", "watch/update_ratio",
    ]  # fmt: skip
    stored = sorted(k for k in single.data.metrics if k.startswith("watch/grad_norm/layers"))
    assert stored == [f"watch/grad_norm/layers.{i:02}.weight" for i in range(12)]
    opened(chrome, address, f"{run}/system-metrics", "cpu_utilization_percentage", "process_memory_megabytes")
    picture(chrome, tmp_path / "system.png")


def test_a_run_says_where_it_is_seen_while_the_ui_runs(site: Site, chrome: Any) -> None:
    address, experiment, *_, folder = site
    done = initlab(*TINY, "init=orthogonal", cwd=folder, timeout=200)
    (link,) = (line.removeprefix("In MLflow: ") for line in done.stdout.splitlines() if line.startswith("In MLflow: "))
    run = link.rpartition("/")[2]
    assert link == f"{address}/#/experiments/{experiment}/runs/{run}"
    opened(chrome, address, link.partition("#")[2], "orthogonal-relu-mlp-digits-s0")
    assert f"{link}/artifacts/report.html" in done.stdout
    for typed in (("explain", f"run={run[:8]}"), ("ui", f"run={run[:8]}")):
        assert link in initlab(*typed, cwd=folder, timeout=100).stdout, typed
    assert f"In MLflow: {address} " in initlab("list", cwd=folder).stdout
