"""What mean-field theory says of a network before it is trained. Pure mathematics in float64."""

from initlab.theory.gains import GainKind, gain
from initlab.theory.quadrature import Moments, gaussian_mean, moments

__all__ = ["GainKind", "Moments", "gain", "gaussian_mean", "moments"]
