"""`python -m initlab server`: an MLflow server with accounts, on this machine."""

from __future__ import annotations

from pathlib import Path

from initlab.cli.arguments import Arguments
from initlab.operations.server.serve import serve
from initlab.operations.server.settings import parse_settings


def server_command(arguments: Arguments) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns the exit code."""
    return serve(parse_settings(arguments.given, Path.cwd()))
