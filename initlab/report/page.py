"""HTML report of one run, self-contained: verdict first, no script, no network, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from initlab.report.note import command, format_outlook, format_result
from initlab.spec import Experiment, RunResult, Splits

_TITLES = {
    "loss_curves": "Loss and score",
    "confusion": "Confusion matrix of the test part",
    "predicted_and_measured": "Predicted and measured signal and gradient by layer, before training",
    "gradient_norm": "Gradient norm by layer over time",
    "update_ratio": "Update ratio ‖ΔW‖ / ‖W‖ by layer over time",
    "saturated": "Share of saturated units by layer over time",
    "dead": "Dead units by layer over time",
    "activation_std": "Activation standard deviation by layer over time",
    "gradient_by_lag": "Gradient by time lag",
    "hidden_states": "Hidden states over the steps of a sequence",
    "recurrence": "Spectral radius, gradient reach and gates over training",
    "weight_histograms": "Weights at initialisation and at the end",
    "activation_histograms": "Activations at initialisation and at the end",
    "linear_probes": "Accuracy of linear probes by layer",
    "path": "Loss on the line from the initial to the final weights",
    "travelled": "Distance from the initial weights by layer",
    "first_filters": "Filters of the first layer",
    "activation_mixture": "Weights of the mixed activations over time",
    "activation_parameters": "Parameters of the learnable activations over time",
}


def page(experiment: Experiment, splits: Splits, result: RunResult, images: Mapping[str, bytes]) -> str:
    """The report as HTML. Everything that comes from a configuration or a file name is escaped."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(autoescape=True, trim_blocks=True, loader=PackageLoader("initlab", "report"))
    template = environment.get_template("page.html.j2")
    remedies = {r.overrides for f in result.findings for r in f.remedies}
    return template.render(
        name=experiment.name,
        sentence=format_result(result),
        outlook=None if result.outlook is None else format_outlook(result.outlook),
        findings=result.findings,
        commands={o: command(experiment, *o) for o in remedies},
        metrics=sorted(result.metrics.items()),
        images=[(s, _TITLES.get(s, s), base64.b64encode(data).decode()) for s, data in images.items()],
        params=sorted((k, v) for k, v in experiment.params.items()),
        notes=splits.notes,
        texts=sorted(result.texts.items()),
        again=command(experiment),
    )
