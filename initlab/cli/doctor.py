"""`python -m initlab doctor`: checks libraries, device, disk, data and store, and says how to repair each."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab.cli.json_output import is_asked, print_json
from initlab.core.error_line import escape_control_characters
from initlab.operations.doctor import Line, examine

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def doctor_command(config: DictConfig, arguments: Arguments) -> int:
    """Print a line for each check. Returns 1 where one of them found a problem."""
    as_json = is_asked(arguments)
    lines: list[Line] = []
    settings = configuration.tracking_settings(config)
    counts: Counter[str] = Counter()
    for line in examine(settings, Path.cwd(), schedules=Path("conf") / "schedule"):
        counts[line.level] += 1
        lines.append(line)
        if as_json:
            continue
        print(escape_control_characters(f"{line.level:<8} {line.subject:<10} {line.found}"), flush=True)
        if line.do:
            print(escape_control_characters(f"{'':<19} → {line.do}"))
    if as_json:
        numbers = {"problems": counts["problem"], "warnings": counts["warning"]}
        print_json("doctor", {**numbers, "checks": [asdict(line) for line in lines]})
    else:
        print(f"{counts['problem']} problems, {counts['warning']} warnings")
    return 1 if counts["problem"] else 0
