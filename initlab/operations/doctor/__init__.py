"""Checks of the installation, the machine and the tracking store, before runs are trained: `initlab doctor`."""

from initlab.operations.doctor.examine import examine
from initlab.operations.doctor.line import Line

__all__ = ["Line", "examine"]
