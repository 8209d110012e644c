"""`python -m initlab explain`: why a run or a study went as it went, what to try, and whether it helps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.advice import explain
from initlab.cli.console import Console
from initlab.config import Asked
from initlab.errors import ConfigError
from initlab.report.note import replace_overrides, shell_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def explain_command(config: DictConfig, asked: Asked) -> int:
    """Explain, and try where asked. 0 also where nothing helped: that is an answer."""
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to read without a store; leave out tracking=none")
    if asked.study:
        from initlab.advice.explain.study import explain_study

        for line in explain_study(asked.study, settings, workdir=Path.cwd()):
            print(line)
        return 0
    told = explain.recorded(tracking.find_run(asked.run, settings, workdir=Path.cwd()))
    found = explain.story(told.evidence)
    typed = configuration.typed_before(told.config)
    commands = [shell_line(replace_overrides(typed, r.overrides)) for r in found.remedies]
    for line in explain.lines(told, found, commands):
        print(line)
    if not asked.attempt:
        if commands:
            print(f"Or let initlab try it: python -m initlab explain run={told.run.run_id} --try")
        return 0
    if not commands:
        print("There is nothing to try.")
        return 0
    print()
    consoles: list[Console] = []

    def narrator() -> Console:
        consoles.append(Console())
        return consoles[-1]

    try:
        tried = list(explain.attempts(told, found, settings, workdir=Path.cwd(), narrator=narrator))
    finally:
        for console in consoles:
            console.close()
    print()
    for line in explain.try_lines(tried, told.evidence):
        print(line)
    helped = next((t for t in tried if t.verdict == "helped"), None)
    if helped is not None:
        print(f"Next: {shell_line(replace_overrides(typed, helped.remedy.overrides))}")
    return 0
