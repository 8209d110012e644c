"""The notebooks run from top to bottom, and are kept with the outputs that a reader on a code host sees."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]
#: a code host shows files of this size without asking
LARGEST = 200_000


def code(path: Path) -> list[Any]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def is_picture(output: Any) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def test_they_are_in_order() -> None:
    assert [p.stem[:2] for p in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_", "6_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_kept_with_its_outputs_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    cells = code(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    outputs = [o for c in cells for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = [o for o in outputs if is_picture(o)]
    printed = "".join(str(o.get("text", "")) for o in outputs)
    assert pictures and printed.strip()
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"\*\*How to read ", text)) >= len(pictures), "each figure is explained"
    # nothing of the machine that ran it
    assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_teaches_with_the_public_interface(path: Path) -> None:
    source = "\n".join(c.source for c in code(path))
    assert not re.findall(r"^\s*(?:from initlab|import initlab\.)\S*", source, flags=re.MULTILINE)
    assert "import initlab" in source or "python -m initlab" in source


@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    copy = shutil.copy(path, tmp_path / path.name)
    notebook = nbformat.read(copy, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(str(o.get("text", "")) for c in notebook.cells for o in c.get("outputs", ()))
    # a shell command that fails in a notebook stops nothing: what it says does
    assert "initlab:" not in printed, printed
    assert printed.strip()
    # as many pictures as it is kept with
    kept, drawn = (
        sum(is_picture(o) for c in cells for o in c.outputs)
        for cells in (code(path), [c for c in notebook.cells if c.cell_type == "code"])
    )
    assert kept == drawn
