"""What could keep runs from being trained and recorded here, looked at before they are."""

from initlab.operations.doctor.examine import examine
from initlab.operations.doctor.line import Line

__all__ = ["Line", "examine"]
