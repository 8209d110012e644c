"""Rules for the setting: scale of the inputs, activation before the loss, copied layers, a loud tied embedding."""

from __future__ import annotations

from initlab.diagnosis.remedies_transformers import quieter_head
from initlab.diagnosis.rules.bounds import INPUT_SQUARE_HIGH, INPUT_SQUARE_LOW
from initlab.diagnosis.rules.evidence import Evidence
from initlab.diagnosis.rules.outcome import has_not_learned
from initlab.spec import Finding


def describe_inputs(square: float | None) -> str:
    """A sentence on inputs whose mean square is far from 1; empty where it is not, or where they are not numbers."""
    if square is None or INPUT_SQUARE_LOW <= square <= INPUT_SQUARE_HIGH:
        return ""
    return (
        f"the inputs' mean square is {square:.3g}; initialisers assume about 1: subtract the mean and divide"
        " by the standard deviation of the training part"
    )


def describe_output_cut(activation: str) -> str:
    """A sentence on an `activation` directly before the loss; empty where there is none."""
    if not activation:
        return ""
    return (
        f"{activation} stands directly before the loss: answers below zero are cut off and get no gradient; remove it"
    )


def inputs_not_standardised(e: Evidence) -> Finding | None:
    """Inputs whose mean square is far from 1, which is what initialisers assume."""
    text = describe_inputs(e.input_square)
    if not text:
        return None
    return _warning(
        "inputs_not_standardised",
        text,
        "inputs of mean 0 and variance 1 (LeCun, Bottou, Orr & Müller, 1998, section 4.3)",
    )


def output_cut_off(e: Evidence) -> Finding | None:
    """An activation such as ReLU directly before the loss: negative answers are cut off."""
    if not e.output_cut:
        return None
    return _warning(
        "output_cut_off",
        describe_output_cut(e.output_cut),
        "a softmax or a linear output takes numbers of either sign (Goodfellow et al., 2016, section 6.2.2)",
    )


def identical_layers(e: Evidence) -> Finding | None:
    """Layers that were copies of one another before training, as deep copies of one layer are."""
    if not e.equal_layers:
        return None
    return _warning(
        "identical_layers",
        "before training " + "; ".join(e.equal_layers),
        "theory and initialisers assume that layers are drawn independently (Poole et al., NeurIPS 2016)",
    )


def loud_embedding(e: Evidence) -> Finding | None:
    """A matrix that is embedding and head at once, with the scale of an embedding: the first logits are too large."""
    if not e.loud_tables:
        return None
    return Finding(
        name="loud_embedding",
        severity="failure" if has_not_learned(e) else "warning",
        evidence="before training " + "; ".join(e.loud_tables),
        source="a tied matrix is drawn for logits: N(0, 0.02²) in GPT-2 (Radford et al., 2019)",
        remedies=quieter_head(e.params),
    )


def _warning(name: str, evidence: str, source: str) -> Finding:
    return Finding(name=name, severity="warning", evidence=evidence, source=source)
