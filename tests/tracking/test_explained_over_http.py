"""A run that a server keeps is found, explained and followed from a directory that knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab import tracking
from initlab.advice import explain
from initlab.errors import UnknownNameError
from initlab.run.train import run
from tests.cases import experiment
from tests.tracking.tracking_cases import Server

pytestmark = pytest.mark.process


def test_from_a_server(server: Server, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    ill = experiment(
        "data=digits", "model=mlp", "model.width=32", "init=zeros", "trainer.epochs=3", "trainer.checkpoint=false",
        "tracking.report=false", f"tracking.uri={server.uri}", "tracking.experiment=explained",
    )  # fmt: skip
    result = run(ill, workdir=here)
    told = explain.read_recorded(tracking.find_run(result.run_id[:8], ill.tracking, workdir=elsewhere))
    found = explain.explain_run(told.evidence)
    assert found.cause is not None and found.cause.name == "symmetric_units"
    (attempt,) = explain.try_remedies(told, found, ill.tracking, workdir=elsewhere)
    assert attempt.verdict == "helped"
    after = tracking.find_run(attempt.run_id, ill.tracking, workdir=here)
    assert after.experiment == "explained" and after.tags["initlab.follows"] == result.run_id
    with pytest.raises(UnknownNameError, match=result.run_id):
        tracking.find_run("0" * 32, ill.tracking, workdir=elsewhere)
