"""Mean-field theory of networks before training. Pure mathematics in float64."""

from initlab.theory.critical import (
    CriticalPoint,
    critical_point,
    critical_points,
    half_stable_point,
    stable_critical_point,
)
from initlab.theory.gains import GainKind, gain
from initlab.theory.meanfield import FixedPoint, MeanField, Trajectory, c_map, chi, meanfield, q_map, trajectory
from initlab.theory.predict import predict, scales
from initlab.theory.quadrature import Moments, gaussian_mean, moments, moments_of
from initlab.theory.shaping import dks, tat

__all__ = [
    "CriticalPoint",
    "FixedPoint",
    "GainKind",
    "MeanField",
    "Moments",
    "Trajectory",
    "c_map",
    "chi",
    "critical_point",
    "critical_points",
    "dks",
    "gain",
    "gaussian_mean",
    "half_stable_point",
    "meanfield",
    "moments",
    "moments_of",
    "predict",
    "q_map",
    "scales",
    "stable_critical_point",
    "tat",
    "trajectory",
]
