"""What could keep runs from being trained and recorded here, looked at before they are."""

from initlab.doctor.examine import examine
from initlab.doctor.line import Line

__all__ = ["Line", "examine"]
