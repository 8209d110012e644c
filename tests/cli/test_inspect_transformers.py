"""`inspect` of transformers as a person types it: the stream by block, and a sweep with the border of collapse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.driver import initlab
from tests.cli.test_inspect import only_run

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("inspect transformers")]

TEXT = ("task=text", "data=python_topics", "model=gpt", "init=lecun", "model.width=32", "examples=32")
QUICK = ("ntk_examples=0", "jacobian=false", "gradient_quotient=false")


def test_a_decoder_block_by_block(tmp_path: Path) -> None:
    done = initlab("inspect", *TEXT, "model.depth=3", "inspect.ntk_examples=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("block "))
    assert lines[head].split()[:4] == ["block", "rms", "cosine", "entropy"]
    blocks = lines[head + 1 : head + 5]
    assert [b.split()[0] for b in blocks] == ["start", *(f"transformer.h.{i}" for i in range(3))]
    for block in blocks:
        predicted, measured = (float(x) for x in block.split()[1].split("/"))
        assert predicted == pytest.approx(measured, rel=0.2)
    assert max(len(line) for line in lines[head : head + 10]) <= 100
    assert "collapse predicted" not in done.stdout
    _, place = only_run(tmp_path)
    kept = json.loads((place / "inspect.json").read_text())["stream"]
    assert len(kept["blocks"]) == 4
    assert kept["unknown"] == []
    assert (place / "figures" / "token_stream.svg").exists()
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "Stream of tokens by block" in page
    assert "transformer.h.2" in page


def test_a_sweep_shows_the_border_of_collapse(tmp_path: Path) -> None:
    sweep = "sweep={model.attention_scale: [0.1, 60], model.branch_scale: [0.1, 4]}"
    done = initlab("inspect", *TEXT, "model.depth=6", "model.norm_at=post", "activation=relu", sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^  (rank collapse|saturated attention) predicted at (.*)$", done.stdout, re.MULTILINE)
    assert ("saturated attention", "model.attention_scale=60, model.branch_scale=0.1, 4") in said
    assert ("rank collapse", "model.attention_scale=0.1, model.branch_scale=4") in said
    _, place = only_run(tmp_path)
    cells = json.loads((place / "sweep.json").read_text())
    assert [c["attention_entropy"] < 0.1 for c in cells] == [False, False, True, True]
    figure = (place / "figures" / "collapse.svg").read_text(encoding="utf-8")
    assert 'class="border"' in figure
    assert "Predicted collapse" in (place / "report.html").read_text(encoding="utf-8")


def test_other_networks_have_no_blocks(tmp_path: Path) -> None:
    done = initlab(
        "inspect", "data=digits", "model=mlp", "model.depth=2", *(f"inspect.{q}" for q in QUICK), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "block " not in done.stdout
