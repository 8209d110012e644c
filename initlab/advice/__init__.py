"""Recommends initialisation and activation for a network: predicted before training, and from similar recorded runs."""

from initlab.advice.advice import Advice, decide
from initlab.advice.options import Option, evaluate_options, unpredicted, unpredicted_parts
from initlab.advice.past import Past, past_runs

__all__ = ["Advice", "Option", "Past", "decide", "evaluate_options", "past_runs", "unpredicted", "unpredicted_parts"]
