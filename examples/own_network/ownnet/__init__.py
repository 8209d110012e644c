"""A network, two initialisers and a task that know nothing of the command line."""

from ownnet.inits import init_weights, scaled_
from ownnet.network import Net
from ownnet.tasks import Rings

__all__ = ["Net", "Rings", "init_weights", "scaled_"]
