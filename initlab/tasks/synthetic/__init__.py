"""Synthetic sequence tasks that measure how many steps a network can remember."""

from initlab.tasks.synthetic.addition import adding
from initlab.tasks.synthetic.copying import copy_memory
from initlab.tasks.synthetic.pixels import sequential_mnist
from initlab.tasks.synthetic.task import SyntheticData, SyntheticTask

__all__ = ["SyntheticData", "SyntheticTask", "adding", "copy_memory", "sequential_mnist"]
