"""Closing scores of a run: the test part, the confusion matrix, texts of the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from initlab import report
from initlab.network.state import preserve_state
from initlab.run.prepare import Prepared
from initlab.spec import Experiment
from initlab.train import Checkpoints, evaluate

#: largest number of classes for which a confusion matrix is recorded
_CLASSES = 200


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Scores of the test part, the confusion matrix, and texts that the task itself produces (generated samples)."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def closing_scores(experiment: Experiment, prepared: Prepared, checkpoints: Checkpoints) -> Ending:
    """Evaluate the test part with the best weights (or the last, by `trainer.test_with`); restores the last weights."""
    settings, task, splits = experiment.trainer, experiment.task, prepared.splits
    last = {k: v.detach().clone() for k, v in prepared.model.state_dict().items()}
    if settings.test_with == "best":
        checkpoints.load_best(prepared.model)
    by_class = splits.baseline.accuracy is not None and splits.test.y.dim() == 1 and splits.io.classes <= _CLASSES
    score = evaluate(
        prepared.model,
        task,
        splits,
        splits.test,
        layout=prepared.layout,
        precision=settings.precision,
        limit=settings.batch_size if settings.fast_dev_run else None,
        confusion=by_class,
    )
    with preserve_state(prepared.model.eval()):
        texts = task.closing(prepared.model, splits, seed=experiment.seed)
    prepared.model.load_state_dict(last)
    metrics = {f"test/{k}": v for k, v in score.scores(task).items()}
    if score.finite:
        metrics["test/loss"] = score.loss
    if score.confusion:
        metrics.update({f"test/recall/{k}": v for k, v in report.recall(score.confusion, splits.class_names).items()})
    return Ending(metrics=metrics, confusion=score.confusion, texts=texts)
