"""A study of several workers on the server of a team: PostgreSQL and accounts, judged through the REST API alone."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import initlab
from tests.deploy.stack import Stack
from tests.study.study_cases import TINY

pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("stack")]

INITS, ACTIVATIONS, SEEDS = ("he", "xavier", "lecun"), ("relu", "tanh"), 2


def _value(pairs: list[dict[str, Any]], key: str) -> str:
    return next(str(p["value"]) for p in pairs if p["key"] == key)


def test_twelve_runs_by_three_workers(stack: Stack, workdir: Path) -> None:
    done = initlab(
        "-m", *TINY, f"init={','.join(INITS)}", f"activation={','.join(ACTIVATIONS)}", f"replicas={SEEDS}",
        "study.name=team", "study.workers=3", f"study.storage={stack.optuna}", cwd=workdir, timeout=240,
        **stack.environ(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 complete" in done.stdout

    # nothing of it is on this machine: no store, and no record that waits
    assert not (workdir / "mlflow.db").exists() and not (workdir / ".initlab" / "studies.db").exists()
    spool = workdir / ".initlab" / "spool"
    assert not spool.exists() or list(spool.iterdir()) == []

    runs = stack.runs("tags.`initlab.study` = 'team'")
    (parent,) = (r for r in runs if _value(r["data"]["tags"], "initlab.kind") == "study")
    children = [r for r in runs if r is not parent]
    assert Counter(r["info"]["status"] for r in runs) == {"FINISHED": 13}
    asked = Counter(
        (*(_value(r["data"]["params"], key) for key in ("init", "activation")), _value(r["data"]["tags"], "seed"))
        for r in children
    )
    assert asked == Counter(product(INITS, ACTIVATIONS, map(str, range(SEEDS))))

    for run in children:
        run_id = run["info"]["run_id"]
        assert _value(run["data"]["tags"], "mlflow.parentRunId") == parent["info"]["run_id"]
        # every record arrived, each point once
        code, found = stack.ask(f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=val/accuracy")
        assert code == 200
        assert [m["step"] for m in found["metrics"]] == sorted({m["step"] for m in found["metrics"]})
        assert len(found["metrics"]) == 3  # before the first epoch and after each of two
        assert 0 <= found["metrics"][-1]["value"] <= 1
        # artifacts are there, through the server
        code, found = stack.ask(f"/api/2.0/mlflow/artifacts/list?run_id={run_id}")
        assert code == 200
        assert {"config.yaml", "environment.json"} <= {f["path"] for f in found["files"]}
        code, text = stack.ask(f"/get-artifact?run_uuid={run_id}&path=config.yaml")
        assert code == 200 and "width: 16" in text
    code, found = stack.ask(f"/api/2.0/mlflow/artifacts/list?run_id={parent['info']['run_id']}")
    assert code == 200 and {"leaderboard.csv", "report.html", "space.json"} <= {f["path"] for f in found["files"]}

    # whoever has no account sees none of it, and the artifacts are where the server keeps them
    assert stack.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, password="wrong")[0] == 401
    assert list((stack.home / "artifacts").rglob("leaderboard.csv"))

    # a second look from elsewhere: the study is compared from a folder that knows nothing of it
    elsewhere = workdir.parent / "elsewhere"
    elsewhere.mkdir()
    compared = initlab("compare", "study=team", cwd=elsewhere, **stack.environ())
    assert compared.returncode == 0, compared.stderr
    assert "he" in compared.stdout and "tanh" in compared.stdout
