"""Logs a trained network as an MLflow model, on request only: the export takes seconds."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from initlab.tracking.record.null import NullSink
from initlab.tracking.record.sink import RunSink
from initlab.tracking.store.quiet import silence_mlflow

if TYPE_CHECKING:
    from torch import Tensor, nn


def log_model(sink: RunSink | NullSink, model: nn.Module, example: Tensor) -> None:
    """Log `model` as artifact folder ``model`` of the run; `mlflow.pytorch.load_model("runs:/ID/model")` reads it.

    The format is torch's exported program (pt2), which needs no pickle. The model is left in eval mode.

    Args:
        sink: of the run.
        model: the network.
        example: two inputs (2, ...); with one, the export would treat the batch size as a constant.
    """
    import torch

    model.eval()
    with (
        TemporaryDirectory() as scratch,
        silence_mlflow(),
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        # the exporter and MLflow warn of things that neither the user nor initlab can change
        warnings.simplefilter("ignore")
        import mlflow.pytorch

        folder = Path(scratch) / "model"
        mlflow.pytorch.save_model(
            model,
            folder,
            input_example=example.detach().cpu().numpy(),
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}"],  # explicit: else MLflow runs pip
        )
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            relative = path.parent.relative_to(folder).as_posix()
            sink.artifact(path, "model" if relative == "." else f"model/{relative}")
