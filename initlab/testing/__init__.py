"""Contract tests for initialisers, activations, models, tasks and probes, to inherit in a pytest suite of your own.

Each class here tests one kind of thing by the rules that initlab's own catalogue keeps. Inherit it in a class whose
name begins with ``Test``, name the factory, and pytest runs every check. pytest must be installed.

Example:
    >>> from initlab.inits import he
    >>> from initlab.testing import InitializerCases
    >>> class TestHe(InitializerCases):
    ...     factory = staticmethod(he)
    >>> TestHe().test_it_is_for_something()
"""

from initlab.testing.activation import ActivationCases
from initlab.testing.initializer import InitializerCases
from initlab.testing.model import ModelCases
from initlab.testing.networks import NETWORKS, NetworkCase
from initlab.testing.probe import ProbeCases
from initlab.testing.task import TaskCases

__all__ = [
    "NETWORKS",
    "ActivationCases",
    "InitializerCases",
    "ModelCases",
    "NetworkCase",
    "ProbeCases",
    "TaskCases",
]
