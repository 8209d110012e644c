"""Synthetic data: sequences that measure how many steps a network can remember, and regression."""

from initlab.tasks.synthetic.addition import adding
from initlab.tasks.synthetic.copying import copy_memory
from initlab.tasks.synthetic.picture import coordinates
from initlab.tasks.synthetic.pixels import sequential_mnist
from initlab.tasks.synthetic.random_network import teacher
from initlab.tasks.synthetic.task import SyntheticData, SyntheticTask
from initlab.tasks.synthetic.whitened import whitened_linear

__all__ = [
    "SyntheticData",
    "SyntheticTask",
    "adding",
    "coordinates",
    "copy_memory",
    "sequential_mnist",
    "teacher",
    "whitened_linear",
]
