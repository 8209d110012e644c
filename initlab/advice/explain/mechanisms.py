"""Mechanism of each finding: in plain words, as a rule with its bounds, and in theory."""

from __future__ import annotations

from dataclasses import dataclass

from initlab.diagnosis.rules import bounds
from initlab.network.findings import LOUD


@dataclass(frozen=True)
class Mechanism:
    """One kind of finding.

    Attributes:
        because: continues "It did not train because".
        rule: the compared value and its bound.
        theory: the theoretical reason.
    """

    because: str
    rule: str
    theory: str


MECHANISMS: dict[str, Mechanism] = {
    "symmetric_units": Mechanism(
        "all units of a layer are copies of one another",
        "the units of a hidden layer are the same, bit for bit, after training",
        "units that begin alike get the same gradient and stay alike: however wide, the layer is one unit. Only random"
        " weights tell them apart; biases need not be random",
    ),
    "inputs_not_standardised": Mechanism(
        "the inputs are not standardised",
        f"the inputs' mean square is below {bounds.INPUT_SQUARE_LOW:g} or above {bounds.INPUT_SQUARE_HIGH:g}",
        "the first layer's pre-activation has variance σ_w² E[x²]: initialisers set σ_w² for E[x²] = 1",
    ),
    "output_cut_off": Mechanism(
        "an activation cuts off half of the answers directly before the loss",
        "the last weight's output passes an activation that is constant below zero",
        "an answer below zero is the same as zero to the loss, and φ' = 0 there: no gradient corrects it",
    ),
    "identical_layers": Mechanism(
        "layers are copies of one another",
        "two or more weights held the same numbers, bit for bit, before training",
        "a deep copy copies the numbers too: layers that begin alike are not independent draws, and their changes of"
        " the signal add up instead of averaging out",
    ),
    "loud_embedding": Mechanism(
        "the matrix that is embedding and head at once is too large for a head",
        f"sqrt(d E[w²]) of a tied matrix is above {LOUD:g} before training",
        "a state of mean square 1 and d entries gives logits of mean square d E[w²]: the loss begins at about"
        " ln V + d E[w²]/2 instead of ln V",
    ),
    "born_dead": Mechanism(
        "units are off for every example from the start, so that no gradient can turn them on",
        f"more than {bounds.BORN_DEAD:.0%} of a layer's units have a slope below 0.1 % of its maximum for all examples"
        " before the first update, although the layer receives a signal",
        "the pre-activation is Wx + b with |b| far above the standard deviation of Wx: all of it lies on the flat side,"
        " where φ' = 0, and ∂loss/∂W is a multiple of φ'",
    ),
    "vanishing": Mechanism(
        "signal and gradient vanish with depth",
        f"the gradient at the first hidden layer is below e^-3 = {bounds.GRADIENT_RATIO_WARN:.2f} of that at the last"
        f" (failure below {bounds.GRADIENT_RATIO_FAIL:g}), or the signal falls below {bounds.SIGNAL_RATIO_FAIL:g}",
        "each layer multiplies the squared gradient by χ = σ_w² E[φ'²]; below 1 it shrinks as χ^depth (ordered phase),"
        " and more than about 6ξ = 6/|ln χ| layers do not train",
    ),
    "unscaled_branches": Mechanism(
        "residual branches without a norm add up: every sum doubles the signal",
        f"the signal's standard deviation grows more than e^3 = {1 / bounds.GRADIENT_RATIO_WARN:.0f}-fold over the"
        " branches, and no norm stands between",
        "x + f(x) with Var f = Var x gives 2^L after L branches; branches whose last layer is scaled with L^-1/2 give"
        " (1 + 1/L)^L < e",
    ),
    "saturated_attention": Mechanism(
        "most heads look at a single token from the start",
        f"more than {bounds.COLLAPSED_HEADS:.0%} of the heads have less than a tenth of the largest entropy over the"
        " tokens that they see, at initialisation",
        "logits q·k·scale of deviation s give a softmax over n keys the entropy ln n - s²/2 for small s; far beyond"
        " s = √(2 ln n) one key takes all the weight, and ∂softmax/∂logit = p(1 - p) is 0 there",
    ),
    "rank_collapse": Mechanism(
        "the tokens of a sequence become one and the same with depth",
        f"the mean cosine of two tokens behind the last block is above {bounds.RANK_COLLAPSED:g} at initialisation, and"
        " nothing was learned",
        "attention that looks everywhere alike replaces each token by their mean; only the shortcut keeps them apart,"
        " and a norm behind the sum shrinks the shortcut in every block, so that 1 - cosine falls as a power of depth",
    ),
    "post_norm_without_warmup": Mechanism(
        "a post-norm transformer got large first updates",
        "norms stand behind the sums, there is no warm-up, and nothing was learned",
        "behind a norm the gradient does not shrink with the depth, so that the first updates of all blocks together"
        " move the output by far more than one block would",
    ),
    "growing_stream": Mechanism(
        "the stream of tokens grows from block to block",
        f"its root mean square grows more than {bounds.STREAM_GROWTH:g}-fold at the start; nothing was learned",
        "each branch adds its variance to the stream, x + f(x); what early blocks sent is then a small part of what the"
        " head reads, and half precision rounds later branches away",
    ),
    "high_start_loss": Mechanism(
        "the first answers are sure and wrong: the head is too large",
        f"the loss before training is more than {2 * bounds.LOUD_START:g} nats above that of knowing nothing, and"
        " nothing was learned",
        "logits of deviation s begin at about ln V + s²/2; the first updates do nothing but shrink them",
    ),
    "entropy_collapse": Mechanism(
        "heads narrowed to a single token while nothing was learned",
        f"more than {bounds.COLLAPSED_HEADS:.0%} of the heads look at one token at the end, fewer did at the start",
        "the norm of W_q W_kᵀ grew faster than the loss could use it; a softmax that has chosen passes no gradient",
    ),
    "exploding": Mechanism(
        "signal or gradient explode with depth (or time)",
        f"the gradient grows more than e^3 = {1 / bounds.GRADIENT_RATIO_WARN:.0f}-fold towards the input or back in"
        f" time, or the loss before training is above {bounds.INITIAL_LOSS_FACTOR:g} times that of knowing nothing",
        "χ = σ_w² E[φ'²] above 1 (chaotic phase): the squared gradient grows as χ^depth, and similar inputs are sent to"
        " unrelated outputs",
    ),
    "saturated": Mechanism(
        "units lie on the flat parts of the activation from the start",
        f"more than {bounds.SATURATED_WARN:.0%} of a layer has a slope below 5 % of its maximum at initialisation",
        "the weights are too large for the activation: with q = σ_w² E[x²] far above 1, φ'(h) ≈ 0 for most h, and what"
        " is learned passes through φ'",
    ),
    "became_saturated": Mechanism(
        "training drove units onto the flat parts of the activation",
        f"more than {bounds.SATURATED_WARN:.0%} of a layer has a slope below 5 % of its maximum at the end",
        "steps that are too large carry weights to where φ'(h) ≈ 0, and there is no gradient that would lead back",
    ),
    "updates_too_large": Mechanism(
        "the learning rate is too high: an update moves a weight by as much as the weight itself",
        f"the first update is larger than its weight, or the first ten (or all) are above {bounds.UPDATE_LARGE:g} of it"
        " in the median",
        "an update is proportional to the rate; beyond 2/λ_max of the Hessian each step overshoots further than the"
        " last, and what the initialisation gave is gone after the first",
    ),
    "updates_too_small": Mechanism(
        "the weights hardly move: the learning rate (or what clipping leaves of the gradient) is too small",
        f"the median update is below {bounds.UPDATE_SMALL:g} of its weight",
        "n updates of relative size r move a weight by n·r of its norm at most",
    ),
    "decayed_weights": Mechanism(
        "weight decay pulls the weights to zero faster than the loss can hold them",
        f"the weights' norm fell below e^-1 = {bounds.DECAYED:.2f} of its first value under decay",
        "decay alone leaves (1 - ηλ)^n of a weight after n updates; where ηλn is above 1 what the loss does not renew"
        " is gone, and the signal with it",
    ),
    "few_updates": Mechanism(
        "there were too few updates",
        f"updates of proper size, which all together moved a weight by less than {bounds.HARDLY_MOVED:.0%}",
        "n updates of relative size r move a weight by n·r of its norm at most; larger batches make fewer",
    ),
    "states_saturated": Mechanism(
        "the hidden states lie on the flat parts of the activation over time",
        f"more than {bounds.SATURATED_WARN:.0%} of what states receive has a slope below 5 % of its maximum",
        "the gradient goes back in time through φ' at each step",
    ),
    "closed_gates": Mechanism(
        "the gates that keep the state are shut",
        f"more than {bounds.CLOSED_WARN:.0%} of a gate's values are below 0.1",
        "a state is multiplied by its gate at each step: τ = -1/ln f steps are remembered",
    ),
    "short_memory": Mechanism(
        "the gradient of a sequence's end does not reach its beginning",
        "the gradient through the recurrent layer falls below e^-3 within the sequence",
        "it is a product of one Jacobian a step, and shrinks with the largest singular value below 1",
    ),
    "dead_units": Mechanism(
        "units were switched off for all examples in training",
        f"more than {bounds.DEAD_WARN:.0%} of a layer's units are off for a whole pass (failure above"
        f" {bounds.DEAD_FAIL:.0%})",
        "one large step can push a unit's bias so far down that it is off for all inputs; it then gets no gradient",
    ),
    "diverged": Mechanism(
        "the loss left the numbers",
        "the training loss was not finite",
        "a step beyond 2/λ_max of the Hessian overshoots, and the next one further",
    ),
    "at_chance": Mechanism(
        "it answers as if it had not seen the input, and no rule found the reason",
        f"the validation score is within {bounds.CHANCE_SIGMAS:g} standard errors of guessing (a squared error: within"
        f" {1 - bounds.CHANCE_LOSS:.0%} of the best constant)",
        "",
    ),
}

UNKNOWN = Mechanism("of what the finding says", "", "")
