"""Making room: what may go by the rules of `conf/gc`, and taking it away."""

from initlab.operations.gc.candidates import Going, Rules, found, take_away

__all__ = ["Going", "Rules", "found", "take_away"]
