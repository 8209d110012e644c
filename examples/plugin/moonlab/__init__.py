"""An example of a plug-in for initlab: one initialiser, activation, model, task and probe."""

from moonlab.activations import sinlu
from moonlab.inits import kumar
from moonlab.models import dense_mlp
from moonlab.probes import sparseness
from moonlab.tasks import MoonsTask, moons

__all__ = ["MoonsTask", "dense_mlp", "kumar", "moons", "sinlu", "sparseness"]
