"""The pictures of docs/mlflow.md: a small study, MLflow's UI on it, and a browser without a window.

    python docs/make_screenshots.py

Takes a minute; needs chromium and chromium-driver.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUDY = (
    "init=he,xavier,zeros", "activation=relu,tanh,sigmoid", "replicas=3", "data=digits", "model=mlp", "model.width=32",
    "model.depth=4", "trainer.epochs=5", "study.name=demo",
)  # fmt: skip
SINGLE = ("data=digits", "model=mlp", "model.width=32", "model.depth=12", "trainer.epochs=5")
PORT = 5117


def main() -> None:
    sys.path.insert(0, str(HERE.parent))
    from tests.browser.chromium import browser

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "initlab", "-m", *STUDY], cwd=folder, check=True)
        for single in ("init=he", "init=zeros"):
            subprocess.run([sys.executable, "-m", "initlab", single, *SINGLE], cwd=folder, check=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "initlab", "ui", f"port={PORT}"], cwd=folder, start_new_session=True
        )
        try:
            _until(lambda: _answers(f"http://127.0.0.1:{PORT}/health"))
            with browser() as chrome:
                chrome.set_window_size(1500, 950)
                for name, (path, there) in _pages(Path(folder)).items():
                    chrome.get("about:blank")
                    chrome.get(f"http://127.0.0.1:{PORT}/#{path}")
                    _until(lambda there=there: there in chrome.execute_script("return document.body.innerText"))
                    for button in chrome.find_elements("css selector", "[data-component-id$='chat_panel.close']"):
                        button.click()
                    time.sleep(3)  # charts are drawn some time after the page is there
                    chrome.save_screenshot(str(HERE / f"mlflow_{name}.png"))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


def _pages(folder: Path) -> dict[str, tuple[str, str]]:
    """Name → path of the page, and what stands on it when it is there."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = next(e for e in client.search_experiments() if e.name == "initlab").experiment_id
    runs = client.search_runs([experiment], max_results=100)
    parent = next(r for r in runs if r.data.tags["initlab.kind"] == "study")
    children = [r.info.run_id for r in runs if r.data.tags.get("mlflow.parentRunId")]
    single = next(r for r in runs if r.info.run_name == "he-relu-mlp-digits-s0")
    side_by_side = json.dumps(children, separators=(",", ":"))
    return {
        "runs": (f"/experiments/{experiment}/runs?viewStateShareKey=initlab", "he-relu-mlp-digits-s0"),
        "metrics": (f"/experiments/{experiment}/runs/{single.info.run_id}/model-metrics", "watch/grad_norm"),
        "study": (f"/experiments/{experiment}/runs/{parent.info.run_id}", "best init="),
        "report": (f"/experiments/{experiment}/runs/{parent.info.run_id}/artifacts/report.html", "Path:"),
        "compare": (f"/compare-runs?runs={side_by_side}&experiments=[%22{experiment}%22]", "Parallel Coordinates"),
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.3)


if __name__ == "__main__":
    main()
