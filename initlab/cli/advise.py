"""`python -m initlab advise`: recommends an initialisation and an activation for the composed task and model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab import config as configuration
from initlab import tracking
from initlab.activations import parse_activation
from initlab.advice import Advice, Option, Past, decide, evaluate_options, past_runs, unpredicted_parts
from initlab.advice.page import FILE, page
from initlab.cli.folders import output_folder, write_page
from initlab.cli.json_output import is_asked, print_json
from initlab.diagnosis.remedies import architecture_changes
from initlab.errors import ConfigError
from initlab.models.own import OwnNetwork
from initlab.report.note import replace_overrides, shell_line
from initlab.report.table import align_columns
from initlab.run import process
from initlab.run.prepare import Prepared, prepare
from initlab.tracking.store.location import sqlite_file

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments
    from initlab.spec import Experiment

#: activations that are looked at where none was given, after the customary one of the model
_ACTIVATIONS = ("relu", "gelu", "silu", "elu", "selu", "tanh")
#: options that are shown
_ROWS = 16


def advise_command(config: DictConfig, arguments: Arguments) -> int:
    """Look at the candidates, at like runs, and say what to take. 0 also where nothing is known: that is an answer."""
    from hydra.core.hydra_config import HydraConfig

    as_json, out = is_asked(arguments), output_folder(arguments)
    hydra = HydraConfig.get()
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items() if v is not None}
    overrides = [str(o) for o in hydra.overrides.task]
    experiment = configuration.experiment(config, choices=choices, overrides=overrides)
    typed = choices.get("activation", "default") != "default"
    past, taken = _past(experiment)
    with process.settings(experiment):
        prepared = prepare(experiment)
        silent = unpredicted_parts(prepared.sites)
        options = options_of(experiment, prepared, typed=typed, silent=silent)
    advice = decide(options, past, silent=silent, composed=experiment.activation.name, taken=taken)
    command = shell_line(replace_overrides(overrides, advice.overrides))
    to_know = _to_know(advice, overrides)
    outlook = advice.options[0].outlook
    hopeless = outlook is not None and outlook.verdict == "untrainable" and not silent
    changes = [" ".join(r.overrides) for r in architecture_changes(experiment.params)] if hopeless else []
    following = command if advice.knows else to_know
    file = None
    if out is not None:
        name = f"{prepared.splits.provenance.name}, {experiment.params.get('model')}"
        again = shell_line(overrides, "python -m initlab advise")
        why = "Train the recommended combination" if advice.knows else "Find out with a study"
        text = page(
            advice, name=name, todo=[(following, why)], again=again,
            changes=(changes or ["fewer layers"]) if hopeless else [],
        )  # fmt: skip
        file = write_page(out, FILE, text)
    if as_json:
        network = {
            "data": prepared.splits.provenance.name,
            "model": experiment.params.get("model"),
            "parameters": prepared.parameters,
        }
        print_json("advise", {**network, **as_fields(advice), "next": following})
        return 0
    print(
        f"{prepared.splits.provenance.name}, {experiment.params.get('model')}, {prepared.parameters:,} parameters:"
        f" looked at {len(options)} candidates" + (f", and at {taken}" if taken else "; no like runs in the store")
    )
    if advice.knows:
        print(f"Take: {command}")
        print(f"Expected: {advice.expected}")
    else:
        print(f"initlab does not know: {advice.reason}")
        print(f"Customary, without evidence here: {command}")
    print(f"Confidence: {advice.confidence}" + (f", because {advice.reason}" if advice.knows else ""))
    _table(advice)
    if hopeless:
        print(
            f"No initialisation makes it likely to train. Change the network: {' or '.join(changes) or 'fewer layers'}"
        )
    if file is not None:
        print(f"written to {file}")
    print(f"Next: {following}")
    return 0


def _to_know(advice: Advice, overrides: list[str]) -> str:
    """The study that would tell, where nothing is known."""
    inits = ",".join(o.init for o in advice.options if o.outlook is not None)
    return shell_line(replace_overrides(overrides, (f"init={inits}", "replicas=3")), "python -m initlab -m")


def as_fields(advice: Advice) -> dict[str, Any]:
    """The fields of `advise --json`; the schema is in docs/commands.md."""
    rows: list[dict[str, Any]] = []
    for option in advice.options:
        past = advice.past.get((option.init, option.activation))
        rows.append(
            {
                "init": option.init,
                "activation": option.activation,
                "outlook": option.outlook.verdict if option.outlook else None,
                "probability": option.outlook.score if option.outlook and option.outlook.calibrated else None,
                "risk": option.risk,
                "refused": option.refused or None,
                "like_runs": past.runs if past else 0,
                "trained": past.trained if past else None,
            }
        )
    return {
        "knows": advice.knows,
        "init": advice.init,
        "activation": advice.activation,
        "overrides": list(advice.overrides),
        "expected": advice.expected,
        "confidence": advice.confidence,
        "reason": advice.reason,
        "options": rows,
    }


def _progress(text: str) -> None:
    """Show on a terminal what is looked at; an empty text clears the line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def options_of(experiment: Experiment, prepared: Prepared, *, typed: bool, silent: str) -> tuple[Option, ...]:
    """Candidates of the composed activation first, then of the others where none was typed.

    Where the prediction is silent on the network there is nothing that would tell activations apart.
    """
    own = experiment.activation.name
    model = experiment.model
    fixed = isinstance(model, OwnNetwork) and model.activation_key is None
    others = [] if typed or silent or fixed else [name for name in _ACTIVATIONS if name != own]
    _progress(f"looking at the initialisations with {own} (1 of {len(others) + 1})")
    found = list(_of(experiment, prepared))
    for number, name in enumerate(others, 2):
        _progress(f"looking at the initialisations with {name} ({number} of {len(others) + 1})")
        builder = model.with_activation() if isinstance(model, OwnNetwork) else model
        other = replace(experiment, activation=parse_activation(name), model=builder)
        found += _of(other, prepare(other, splits=prepared.splits))
    _progress("")
    return tuple(found)


def _of(experiment: Experiment, prepared: Prepared) -> tuple[Option, ...]:
    return evaluate_options(
        prepared.model,
        prepared.sites,
        prepared.context,
        activation=experiment.activation.name,
        seed=experiment.seed,
        untrained_loss=prepared.splits.baseline.untrained,
    )


def _past(experiment: Experiment) -> tuple[dict[tuple[str, str], Past], str]:
    """Like runs of the store; none where there is no store yet, or none is wanted."""
    settings, workdir = experiment.tracking, Path.cwd()
    if not settings.enabled:
        return {}, ""
    file = sqlite_file(tracking.resolve_uri(settings, workdir))
    if file is not None and not file.exists():
        return {}, ""
    found = tracking.read_runs(settings, workdir=workdir)
    return past_runs(found.runs, experiment.params)


def _table(advice: Advice) -> None:
    head = ["init", "activation", "outlook", "probability", "like runs", "trained", "score"]
    rows: list[list[str]] = []
    for option in [o for o in advice.options if o.outlook is not None][:_ROWS]:
        past = advice.past.get((option.init, option.activation))
        rows.append(
            [
                option.init,
                option.activation,
                option.outlook.verdict if option.outlook else "",
                f"{option.outlook.score:.2f}" if option.outlook and option.outlook.calibrated else "",
                str(past.runs) if past else "0",
                str(past.trained) if past else "",
                past.words() if past and past.scores else "",
            ]
        )
    print("\n".join(align_columns(head, rows, left=(0, 1, 2))))
    refused = [f"{o.init} with {o.activation} ({o.refused})" for o in advice.options if o.refused]
    if refused:
        print(f"Not for this network: {'; '.join(refused)}")
    if not any(o.outlook is not None for o in advice.options):
        raise ConfigError("model", None, "no initialisation of the catalogue fits this network")
