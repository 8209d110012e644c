"""Composes the configuration of a command with Hydra and passes it on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from initlab.cli.arguments import flags_last
from initlab.core.error_line import print_error

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_and_run(overrides: Sequence[str], act: Callable[[DictConfig], int | None]) -> int:
    """Let Hydra compose (or answer --cfg, --info, ...) and hand the configuration to `act`; its highest exit code."""
    from initlab.config import check_folders, quote_formulas
    from initlab.config.hydra_app import run_hydra
    from initlab.config.own_targets import allow_new_keys, trust_typed_targets

    overrides = allow_new_keys(trust_typed_targets(overrides))
    check_folders(list(overrides))
    codes: list[int] = []
    errors: list[Exception] = []

    def task(config: DictConfig) -> None:
        try:
            codes.append(act(config) or 0)
        except Exception as error:
            # kept from Hydra, which would add a line of its own, and end a sweep at its first failure
            errors.append(error)

    sys.argv = ["initlab", *flags_last(quote_formulas(overrides))]
    codes.append(run_hydra(sys.argv[1:], task))
    if errors:
        for error in errors[:-1]:
            print_error(error, 1)
        raise errors[-1]
    return max(codes, default=0)
