"""Random numbers of stacked members: each draws from its own state of torch's generator, as a run on its own does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Draws:
    """The state of torch's generator for each member of a stack.

    Args:
        states: as of `torch.get_rng_state`, one a member.
    """

    def __init__(self, states: Sequence[Tensor]) -> None:
        self.states = list(states)

    @contextmanager
    def of(self, member: int) -> Generator[None]:
        """While open, torch's global generator is that of `member`; what it draws is kept in its state."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self.states[member])
        try:
            yield
        finally:
            self.states[member] = torch.get_rng_state()
            torch.set_rng_state(outside)
