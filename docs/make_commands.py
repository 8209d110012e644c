"""Writes docs/commands.md from the table of the command line.

    python docs/make_commands.py [--check]

With ``--check`` nothing is written; the exit code is 1 where a page differs from what the table says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from initlab.cli.arguments import Command
from initlab.cli.help import options_of
from initlab.cli.table import TABLE

ROOT = Path(__file__).parents[1]
TITLES = {"run": "Run", "look": "Look before and after", "study": "Study", "team": "Team", "upkeep": "Upkeep"}

NAMES = """\
## Names of runs and studies

Where a run or a study is named (`run=`, `resume=`, `study=`), `last` is the newest one, and the beginning of an id
(four characters or more) or of a study's name is enough. One that fits several is refused, and the message names them.

## JSON

`list`, `compare`, `explain`, `advise`, `coordcheck`, `transfer`, `papers` and `doctor` take `--json`;
[json.md](json.md) has the fields.
"""


def cell(text: str) -> str:
    """Text of a table cell."""
    return text.replace("|", "\\|")


def table() -> str:
    """The commands with one example each."""
    lines = ["| command | what it does | example |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {cell(c.help)} | `{cell(c.example)}` |" for c in TABLE]
    return "\n".join(lines)


def section(command: Command) -> list[str]:
    """One command: its help, options and example."""
    lines = [f"### {command.name}", "", f"{command.help[0].upper()}{command.help[1:]}.", ""]
    if command.details:
        lines += [*(f"{line}\n" for line in command.details.split("\n"))]
    if options := options_of(command):
        lines += ["| option | meaning | default |", "|---|---|---|"]
        lines += [f"| `{o.name}=` | {cell(o.help)} | {f'`{cell(o.default)}`' if o.default else ''} |" for o in options]
        lines.append("")
    return [*lines, "```", command.example, "```", ""]


def page() -> str:
    """The page of all commands."""
    lines = [
        "# Commands", "",
        "Every option is written `name=value`; `initlab COMMAND --help` prints the same. Commands that compose a",
        "configuration also take its groups and keys, such as `init=he model.depth=50` (`initlab help GROUP` lists the",
        "files of a group, `initlab help GROUP=NAME` the keys of a file). Words are defined in the",
        "[glossary](glossary.md).", "",
        table(), "",
    ]  # fmt: skip
    for group, title in TITLES.items():
        lines += [f"## {title}", ""]
        for command in (c for c in TABLE if c.group == group):
            lines += section(command)
    lines += [NAMES]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the pages, or with ``--check`` compare them. Returns the exit code."""
    pages = {ROOT / "docs" / "commands.md": page()}
    stale = [file for file, content in pages.items() if not file.exists() or file.read_text("utf-8") != content]
    if "--check" in sys.argv[1:]:
        for file in stale:
            print(f"{file.relative_to(ROOT)} is out of date: python docs/make_commands.py")
        return 1 if stale else 0
    for file, content in pages.items():
        file.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
