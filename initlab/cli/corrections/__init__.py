"""Typing mistakes on the command line: what is meant is answered before Hydra composes anything.

`correct` returns the words with what is certain (upper and lower case) put right, and says so; everything else is an
error that begins with what to type. It reads the names of files and keys in `conf/`, and composes nothing.
"""

from initlab.cli.corrections.commands import unknown_command
from initlab.cli.corrections.correct import correct

__all__ = ["correct", "unknown_command"]
