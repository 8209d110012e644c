"""A trained network in MLflow's own format, on request only: the export is slow and its format uses pickle."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from initlab.tracking.null import NullSink
from initlab.tracking.sink import RunSink

if TYPE_CHECKING:
    from torch import Tensor, nn


def log_model(sink: RunSink | NullSink, model: nn.Module, example: Tensor) -> None:
    """Keep `model` as artifact folder ``model`` of the run; `mlflow.pytorch.load_model("runs:/ID/model")` reads it.

    Args:
        sink: of the run.
        model: the network; saved from the CPU.
        example: one input (1, ...), whose shape becomes the signature's.
    """
    import mlflow.pytorch
    from mlflow.models import infer_signature

    model.eval()
    inputs: Any = example.detach().cpu().numpy()
    outputs: Any = model(example).detach().cpu().numpy()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        signature = infer_signature(inputs, outputs)
        mlflow.pytorch.save_model(model, folder, signature=signature, serialization_format="pickle")
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            relative = path.parent.relative_to(folder).as_posix()
            sink.artifact(path, "model" if relative == "." else f"model/{relative}")
