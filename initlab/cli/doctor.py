"""`python -m initlab doctor`: checks libraries, device, disk, data and store, and says how to repair each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab.core.error_line import escape_control_characters
from initlab.operations.doctor import examine

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments


def doctor_command(config: DictConfig, _arguments: Arguments) -> int:
    """Print a line for each check. Returns 1 where one of them found a problem."""
    settings = configuration.tracking_settings(config)
    counts: Counter[str] = Counter()
    for line in examine(settings, Path.cwd(), schedules=Path("conf") / "schedule"):
        counts[line.level] += 1
        print(escape_control_characters(f"{line.level:<8} {line.subject:<10} {line.found}"), flush=True)
        if line.do:
            print(escape_control_characters(f"{'':<19} → {line.do}"))
    print(f"{counts['problem']} problems, {counts['warning']} warnings")
    return 1 if counts["problem"] else 0
