"""`python -m initlab explain`: explains the result of a run or a study, and can train the suggested remedies."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initlab import config as configuration
from initlab import tracking
from initlab.advice import explain
from initlab.advice.explain import page
from initlab.cli.console import Console
from initlab.cli.folders import output_folder, write_page
from initlab.cli.json_output import is_asked, print_json
from initlab.errors import ConfigError
from initlab.report.note import replace_overrides, shell_line
from initlab.report.stored import NEEDED, read_data

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.advice.explain.recorded import Recorded
    from initlab.advice.explain.story import Explanation
    from initlab.cli.arguments import Arguments
    from initlab.report.data import ReportData
    from initlab.spec import TrackingSettings


def explain_command(config: DictConfig, arguments: Arguments) -> int:
    """Explain a run or a study; with --try, train what the remedies say. 0 also where nothing helped.

    Raises:
        ConfigError: where neither or both of a run and a study are named.
    """
    run, study, attempt = _named(arguments)
    as_json = is_asked(arguments)
    if as_json and attempt:
        raise ConfigError("json", "true", "explains and trains nothing; leave out --try")
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to read without a store; leave out tracking=none")
    out = output_folder(arguments)
    if study:
        return _explain_study(study, settings, as_json=as_json, out=out)
    told = explain.read_recorded(tracking.find_run(run, settings, workdir=Path.cwd()))
    found = explain.explain_run(told.evidence)
    typed = configuration.original_overrides(told.config)
    watched = told.run.tags.get("initlab.watch") == "true"  # somebody's own loop: there is no command to repeat
    commands = [
        in_own_code(r.overrides, r.why) if watched else shell_line(replace_overrides(typed, r.overrides))
        for r in found.remedies
    ]
    file = None if out is None else write_page(out, page.FILE, page.run_page(told, found, commands, data=_data(told)))
    if as_json:
        print_json("explain", _as_fields(told, found, commands))
        return 0
    for line in explain.format_explanation(told, found, commands):
        print(line)
    if link := told.run.link(Path.cwd()):
        print(f"In MLflow: {link}")
    if file is not None:
        print(f"written to {file}")
    if watched and attempt:
        raise ConfigError(
            "try", "true", "run was recorded by initlab.watch in a loop of its own, which only you can repeat"
        )
    if attempt and commands:
        return _try(told, found, settings, typed)
    if attempt:
        print("There is nothing to try.")
    elif commands and not watched:
        print(f"Or let initlab try it: python -m initlab explain run={told.run.run_id} --try")
    else:
        print(f"Next: python -m initlab report run={told.run.run_id}   (the same as a page, with figures)")
    return 0


def _try(told: Recorded, found: Explanation, settings: TrackingSettings, typed: list[str]) -> int:
    """Train what the remedies say, and print which of them helped."""
    print()
    consoles: list[Console] = []

    def narrator() -> Console:
        consoles.append(Console())
        return consoles[-1]

    try:
        tried = list(explain.try_remedies(told, found, settings, workdir=Path.cwd(), narrator=narrator))
    finally:
        for console in consoles:
            console.close()
    print()
    for line in explain.format_attempts(tried, told.evidence):
        print(line)
    helped = next((t for t in tried if t.verdict == "helped"), None)
    if helped is not None:
        print(f"Next: {shell_line(replace_overrides(typed, helped.remedy.overrides))}")
    return 0


def _data(told: Recorded) -> ReportData | None:
    """What the run's own page is drawn from, where it was kept."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return read_data(Path(scratch)) if told.run.fetch(NEEDED, Path(scratch)) == list(NEEDED) else None
        except (ValueError, KeyError, TypeError):
            return None  # of another version of initlab: the page then has no figures


def _explain_study(asked: str, settings: TrackingSettings, *, as_json: bool, out: Path | None) -> int:
    from initlab.advice.explain.study import explain_study

    study = tracking.find_studies([asked], settings, workdir=Path.cwd())[0]
    lines = explain_study(study, settings, workdir=Path.cwd())
    following = f"python -m initlab compare study={study}"
    file = None if out is None else write_page(out, page.FILE, page.study_page(study, lines, following=following))
    if as_json:
        print_json("explain", {"study": study, "lines": lines, "next": following})
        return 0
    for line in lines:
        print(line)
    if file is not None:
        print(f"written to {file}")
    print(f"Next: {following}")
    return 0


def _as_fields(told: Recorded, found: Explanation, commands: list[str]) -> dict[str, Any]:
    """The fields of the answer about a run; its schema is in docs/commands.md."""
    return {
        "run": told.run.run_id,
        "name": told.run.name,
        "status": told.status,
        "outcome": found.outcome if found.cause is not None else "well",
        "cause": None if found.cause is None else asdict(found.cause),
        "others": [asdict(f) for f in found.others],
        "remedies": [
            {"overrides": list(r.overrides), "why": r.why, "command": c}
            for r, c in zip(found.remedies, commands, strict=True)
        ],
        "predicted": told.outlook or None,
        "next": commands[0] if commands else None,
    }


def in_own_code(overrides: tuple[str, ...], why: str) -> str:
    """A remedy for one's own loop: the call that draws the initialisation, else what to do in words."""
    init = next((o.removeprefix("init=") for o in overrides if o.startswith("init=")), "")
    return f"initlab.initialize(model, {init!r}, data=[(inputs, targets)])" if init else why


def _named(arguments: Arguments) -> tuple[str, str, bool]:
    """The run or the study, one of them empty, and whether to try remedies."""
    given = arguments.given
    run, study, attempt = given.get("run", ""), given.get("study", ""), given.get("try", "false").lower()
    if attempt not in ("true", "false"):
        raise ConfigError("try", attempt, "must be true or false")
    if bool(run) == bool(study):
        expected = "explain takes run=ID (or run=last), study=NAME, --try, and tracking.uri=..."
        raise ConfigError("run", run or None, f"name one run or one study: {expected}")
    if study and attempt == "true":
        raise ConfigError("try", "true", "tries a remedy of one run; name it: run=ID")
    return run, study, attempt == "true"
