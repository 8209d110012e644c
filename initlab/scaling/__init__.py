"""How a network changes with its width and depth: the coordinate check, and the transfer of learning rates."""

from initlab.scaling.coordinate_check import CoordinateCheck, check_coordinates
from initlab.scaling.movement import Movements, Subject, measure
from initlab.scaling.optimum import Grid
from initlab.scaling.slopes import ModuleSlope
from initlab.scaling.transfer import Transfer, judge_transfer

__all__ = [
    "CoordinateCheck",
    "Grid",
    "ModuleSlope",
    "Movements",
    "Subject",
    "Transfer",
    "check_coordinates",
    "judge_transfer",
    "measure",
]
