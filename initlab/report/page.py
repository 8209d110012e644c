"""HTML report of one run, self-contained: verdict first, no script, no network, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from initlab.report.note import command, outlook, sentence
from initlab.spec import Experiment, RunResult, Splits

_TITLES = {
    "loss_curves": "Loss and score",
    "confusion": "Which class was taken for which, on the test part",
    "predicted_and_measured": "Before training: theory and measurement by layer",
    "gradient_norm": "Gradient norm by layer over time",
    "update_ratio": "Size of the updates by layer over time",
    "saturated": "Saturated share by layer over time",
    "dead": "Dead units by layer over time",
    "activation_std": "Activation standard deviation by layer over time",
    "gradient_by_lag": "How far back in time a gradient reaches",
    "hidden_states": "Hidden states over the steps of a sequence",
    "recurrence": "Recurrence over training",
    "weight_histograms": "Weights at initialisation and at the end",
    "activation_histograms": "Activations at initialisation and at the end",
    "linear_probes": "How much of the answer each layer holds",
    "path": "Loss on the way from the first weights to the last",
    "travelled": "How far the weights went",
    "first_filters": "Filters of the first layer",
    "activation_mixture": "What the mixed activations became",
    "activation_parameters": "Parameters of the learnable activations",
}


def page(experiment: Experiment, splits: Splits, result: RunResult, images: Mapping[str, bytes]) -> str:
    """The page as text. Everything that came from a configuration or a file name is escaped."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(autoescape=True, trim_blocks=True, loader=PackageLoader("initlab", "report"))
    template = environment.get_template("page.html.j2")
    remedies = {r.overrides for f in result.findings for r in f.remedies}
    return template.render(
        name=experiment.name,
        sentence=sentence(result),
        outlook=None if result.outlook is None else outlook(result.outlook),
        findings=result.findings,
        commands={o: command(experiment, *o) for o in remedies},
        metrics=sorted(result.metrics.items()),
        images=[(s, _TITLES.get(s, s), base64.b64encode(data).decode()) for s, data in images.items()],
        params=sorted((k, v) for k, v in experiment.params.items()),
        notes=splits.notes,
        texts=sorted(result.texts.items()),
        again=command(experiment),
    )
