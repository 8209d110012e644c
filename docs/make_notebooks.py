"""Runs the notebooks from top to bottom and writes them with their outputs, small enough for a code host to show.

python docs/make_notebooks.py [PART OF A NAME]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
#: figures of a size that a page shows without shrinking them
_FIGURES = "%config InlineBackend.rc = {'figure.dpi': 72, 'savefig.dpi': 72}"


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if wanted in path.stem:
            write(path)
            print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def write(path: Path) -> None:
    """Execute a notebook in an empty folder and store it with what it shows."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        run(notebook, Path(folder))
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := keep(output)) is not None]
    nbformat.write(notebook, path)


def run(notebook: Any, folder: Path) -> None:
    """Execute `notebook` in `folder`; a cell that raises ends it."""
    setting = nbformat.v4.new_code_cell(_FIGURES)
    notebook.cells.insert(0, setting)
    try:
        NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    finally:
        notebook.cells.remove(setting)
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def keep(output: Any) -> Any:
    """An output as it is stored: no warnings of libraries, pictures without the text beside them."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    picture = next((kind for kind in ("image/png", "image/svg+xml") if kind in data), None)
    if picture is not None:
        output.data = {picture: data[picture]}
    elif set(data) == {"text/plain"} and data["text/plain"].startswith(("<Figure", "[<", "<matplotlib")):
        return None
    output.metadata = {}
    return output


if __name__ == "__main__":
    main()
