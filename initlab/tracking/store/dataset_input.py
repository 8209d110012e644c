"""A data set as MLflow records it with a run."""

from __future__ import annotations

import json
from typing import Any

from initlab.core.text import storable
from initlab.spec import Provenance


def dataset_input(dataset: Provenance, *, profile: str) -> Any:
    """MLflow's `DatasetInput` for the data set that a run trains on.

    Args:
        dataset: name, source and checksum.
        profile: JSON with the sizes of its parts.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    remote = dataset.source.startswith("http")
    source = {"url" if remote else "uri": dataset.source, "licence": dataset.licence, "note": dataset.note}
    source = {key: storable(value) for key, value in source.items()}
    entity = Dataset(
        name=storable(dataset.name)[:500],
        digest=dataset.digest[:36],
        source_type="http" if remote else "local",
        source=json.dumps(source | {"digest": dataset.digest}),
        profile=profile,
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
