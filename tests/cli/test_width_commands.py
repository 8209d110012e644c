"""`coordcheck` and `transfer` as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.driver import initlab

pytestmark = pytest.mark.process

MLP = ("data=digits", "model=mlp", "model.depth=3")
NARROW = ("widths=32,64,128,256",)


def test_the_standard_parametrisation_fails(tmp_path: Path) -> None:
    done = initlab("coordcheck", *MLP, "init=he", "out=found", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert re.match(
        r"digits, mlp, init=he: model\.width=64,128,256,512, 3 seeds, 4 steps of adam, lr 0\.0039", lines[0]
    )
    assert re.search(
        r"^layers\.1 .* \+\d\.\d\d ± \d\.\d\d .* fail: moves more and more with the width$", done.stdout, re.M
    )
    assert "fail: " in done.stdout and "do not move alike over widths 64 to 512" in done.stdout
    assert lines[-1] == (
        "Next: python -m initlab coordcheck data=digits model=mlp model.depth=3 init=mup widths=64,128,256,512"
    )
    page = (tmp_path / "found" / "coordcheck.html").read_text(encoding="utf-8")
    assert "coordinate check over the width" in page and "<svg" in page and "<script" not in page
    assert (tmp_path / "found" / "coordcheck.svg").read_text(encoding="utf-8").startswith("<svg")
    assert not (tmp_path / "mlflow.db").exists()


def test_mup_passes_as_json(tmp_path: Path) -> None:
    done = initlab("coordcheck", *MLP, *NARROW, "init=mup", "init.head=zero", "seeds=5", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["command"] == "coordcheck" and found["verdict"] == "pass", found["sentence"]
    assert found["sizes"] == [32, 64, 128, 256] and found["key"] == "model.width" and len(found["seeds"]) == 5
    assert all(abs(a["slope"]) <= 0.15 and len(a["moved"]) == 4 for a in found["activations"])
    assert found["next"].startswith("python -m initlab transfer ")


@pytest.mark.parametrize(("typed", "told"), [
    (("coordcheck", *MLP, "widths=64"), "widths=64: must name two sizes or more"),
    (("coordcheck", *MLP, "widths=64,wide"), "widths=64,wide: must be whole numbers above 0"),
    (("coordcheck", *MLP, "widths=32,64", "depths=2,4"), "depths=2,4: goes without widths="),
    (("coordcheck", "data=digits", "model=cnn"), "model=cnn: has no key for its width with a usual name"),
    (("coordcheck", *MLP, "key=width"), "key=width: must be a key of the model, such as model.width"),
    (("coordcheck", *MLP, "steps=0"), "steps=0: must be a whole number above 0"),
    (("transfer", *MLP, "lrs=0.1"), "lrs=0.1: must name two rates or more"),
    (("transfer", *MLP, "lrs=2^-3,fast"), "fast is no rate above 0"),
    (("coordcheck", "data=digits", "model=vit", "init=completep", "depths=2,4"), "model.branch_scale=completep"),
])  # fmt: skip
def test_mistakes_are_named(typed: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = initlab(*typed, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(in_features: int, num_classes: int, d_model: int = 32) -> nn.Module:\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, d_model), nn.Tanh(),\n"
        "                         nn.Linear(d_model, d_model), nn.Tanh(), nn.Linear(d_model, num_classes))\n"
    )
    typed = ("data=digits", "model._target_=mine.net", "widths=32,128,512", "init=mup", "init.head=zero")
    done = initlab("coordcheck", *typed, cwd=tmp_path)
    assert "model.d_model=32,128,512" in done.stdout, done.stderr
    assert done.returncode == 0 and re.search(r"^1 .*pass", done.stdout, re.M), done.stdout


# ------------------------------------------------------------------ transfer
GRID = (*MLP, "widths=32,512", "lrs=2^-11..2^-4", "steps=150", "seeds=2", "lr_schedule=linear")


def test_the_standard_optimum_moves_and_that_of_mup_stays(tmp_path: Path) -> None:
    shifts: dict[str, dict[str, object]] = {}
    for init in ("he", "mup"):
        more = ("init.base_width=32",) if init == "mup" else ()
        done = initlab("transfer", *GRID, f"init={init}", *more, "--json", cwd=tmp_path, timeout=500)
        assert done.returncode == 0, done.stderr
        shifts[init] = json.loads(done.stdout)
    standard, mup = shifts["he"], shifts["mup"]
    assert isinstance(standard["shift_log2"], float) and isinstance(mup["shift_log2"], float)
    assert standard["shift_log2"] < -1.5 and standard["verdict"] != "stays", standard["sentence"]
    assert standard["shift_log2"] < mup["shift_log2"] - 1 and mup["verdict"] != "moves", mup["sentence"]
    assert standard["losses"][0] == mup["losses"][0]  # type: ignore[index]  # at the base width the two are one
    kept = (tmp_path / ".initlab" / "transfer.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 2 * 2 * 8 * 2

    # the same again, in words: nothing is trained twice
    again = initlab("transfer", *GRID, "init=he", "out=found", cwd=tmp_path)
    assert "32 runs (32 of them were measured before, .initlab/transfer.jsonl)" in again.stdout, again.stderr
    assert re.search(r"^(The best learning rate moves by -|Not known whether the best)", again.stdout, re.M)
    assert "Best validation loss by width: 32: " in again.stdout
    assert "At the best rate of width 32, 2^-" in again.stdout
    page = (tmp_path / "found" / "transfer.html").read_text(encoding="utf-8")
    assert "learning rate over the width" in page and "<svg" in page
