"""Contract tests of an activation: its module, its parameters, its formula, its Gaussian moments."""

from __future__ import annotations

from initlab.testing.activation_formula import FormulaCases, MomentCases
from initlab.testing.activation_module import LearnableCases, ModuleCases


class ActivationCases(ModuleCases, LearnableCases, FormulaCases, MomentCases):
    """Tests that an activation keeps the contract of `initlab.spec.Activation`.

    Attributes:
        factory: called without arguments, returns the `Activation`.
        formula: φ in numpy, on arrays of float64, written from the definition and not from the code that is tested;
            None where φ is no function of one number.
        largest_slope: bound on the absolute value of φ'; None where there is none.
        slope_tolerance: absolute difference allowed between φ' by autograd and by central differences of `formula`.
        sees_positions: whether a unit's output depends on the other positions of an image or sequence.
        starts_flat: whether some parameter gets a gradient only after the others have moved.

    Example:
        >>> import numpy as np
        >>> from initlab import activations
        >>> from initlab.testing import ActivationCases
        >>> class TestSiLU(ActivationCases):
        ...     factory = staticmethod(activations.silu)
        ...     formula = staticmethod(lambda x: x / (1 + np.exp(-x)))
        ...     largest_slope = 1.1
        >>> TestSiLU().test_values_of_the_formula()
    """
