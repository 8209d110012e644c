"""Command-line entry point: `python -m initlab [COMMAND] [overrides]`. The commands are in `table.py`.

Heavy libraries are imported by the command that needs them: `--help` must answer before torch would have loaded.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from initlab.cli.arguments import Command, parse
from initlab.cli.table import COMMANDS
from initlab.core.error_line import print_error, print_notice
from initlab.core.exit import run_and_exit
from initlab.core.hidden import take_hidden
from initlab.errors import InitlabError


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 fine, 1 a run failed or diverged, 2 bad input."""
    arguments = [*(sys.argv[1:] if argv is None else argv), *take_hidden()]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # names of files may hold what the terminal's encoding has not
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")
    try:
        return _dispatch(arguments)
    except InitlabError as error:
        return print_error(error, error.exit_code)
    except KeyboardInterrupt:
        print("initlab: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # the reader of our output (head, less) has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from initlab.config.hydra_errors import translate

        command = arguments[0] if arguments[:1] and arguments[0] in COMMANDS else ""
        ours = translate(error, arguments[1:] if command else arguments, command=command or "train")
        if ours is not None:
            return print_error(ours, ours.exit_code, cause=error)
        return print_error(error, 1)


def _dispatch(typed: list[str]) -> int:
    from initlab.cli import completion
    from initlab.cli import help as help_pages

    named = bool(typed) and typed[0][:1] not in ("-", "+", "~") and "=" not in typed[0]
    if named and typed[0] not in COMMANDS:
        lower = typed[0].lower()
        if lower not in COMMANDS:
            from initlab.cli.corrections import unknown_command

            raise unknown_command(typed, COMMANDS)
        print_notice(f"{typed[0]} is read as {lower}")
        typed = [lower, *typed[1:]]
    command, rest = (COMMANDS[typed[0]], typed[1:]) if named else (COMMANDS["train"], typed)
    if "--version" in rest:
        from initlab.core.version import __version__

        print(f"initlab {__version__}")
        return 0
    if completion.is_asked(rest):
        return completion.answer(rest, COMMANDS)
    if command.name == "help":
        return help_pages.print_help(rest, COMMANDS)
    if "--help" in rest or "-h" in rest:
        return help_pages.print_help([command.name] if named else [], COMMANDS)
    from initlab.cli.corrections import correct

    options = help_pages.options_of(command)
    arguments = parse(command, correct(command, rest, options, COMMANDS), options)
    if not command.composes:
        return _load(command)(arguments)
    from initlab.cli.compose import compose_and_run

    return compose_and_run(arguments.overrides, lambda config: _load(command)(config, arguments))


def _load(command: Command) -> Callable[..., int]:
    module, _, function = command.target.partition(":")
    return getattr(import_module(module), function)


def entry() -> NoReturn:
    """The console script `initlab`."""
    run_and_exit(main)
