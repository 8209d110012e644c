"""Thresholds of the diagnostic rules, each with its source."""

from __future__ import annotations

import math

# Mean-field theory finds networks trainable up to a depth of about 6 ξ (Schoenholz et al., ICLR 2017); there the
# squared gradient has changed by e^±6 between first and last layer, and its norm by e^±3.
GRADIENT_RATIO_WARN = math.exp(-3)
GRADIENT_RATIO_FAIL = 1e-3
# a signal whose standard deviation fell by three orders of magnitude is rounding noise in bf16 and hard to read in fp32
SIGNAL_RATIO_FAIL = 1e-3
# more than half of the units on the flat parts: Glorot & Bengio, AISTATS 2010, section 3, saw training stall there
SATURATED_WARN = 0.5
# Karpathy's notes for Stanford's CS231n name 40 % dead as what too high a rate does; a layer that is all dead makes the
# network constant (Lu, Shin, Su & Karniadakis, 2019); a tenth is ordinary after He's initialisation and worth a note
DEAD_NOTE, DEAD_WARN, DEAD_FAIL = 0.1, 0.4, 0.9
# before training: symmetric weights without biases leave each unit on for half of the inputs, and where all inputs are
# alike half of the units for all of them; three quarters are beyond what chance makes of 36 units (three deviations)
BORN_DEAD = 0.75
# more than half of a gate's values below 0.1 while the sequence runs: the cell forgets at once (Karpathy, Johnson &
# Fei-Fei, 2015, section 4.2, call values beyond 0.1 and 0.9 saturated)
CLOSED_WARN = 0.5
# mean cosine of two tokens behind the last block: above 0.95 tokens cannot be told apart (docs/transformers.md has the
# post-norm networks that were trained on both sides of it)
RANK_COLLAPSED = 0.95
# a quarter of the heads below a tenth of the largest entropy (Zhai et al., ICML 2023, give no number; ours)
COLLAPSED_HEADS = 0.25
# bf16 keeps 8 bits: what a branch adds to a stream a thousand times as large is mostly rounded away
STREAM_GROWTH = 1e3
# nats above ln V before training: the schemes in use begin within 0.5 of it, tied to the embedding or not
LOUD_START = 0.5
# ‖ΔW‖/‖W‖ near 1e-3 is the customary heuristic (Karpathy, 2015); two decades below or above tell of a wrong rate
UPDATE_SMALL, UPDATE_USUAL, UPDATE_LARGE = 1e-5, 1e-3, 1e-1
# transformers that train well begin with more: Adam's first update is the rate itself in each entry, 0.05 of weights of
# deviation 0.02 at the customary 0.001, and 0.008 to 0.05 in the healthy ones of docs/explain.md
UPDATE_USUAL_OF_TRANSFORMERS = 1e-2
# decay alone, with no gradient, would have shrunk the weights to 1/e by then; what is left is what decay left
DECAYED = math.exp(-1)
# a hundred updates of the usual size move a weight by a tenth of its norm: with fewer it is still what it was drawn as
HARDLY_MOVED = 0.1
# fewer updates than the probes look at one by one: nothing can be said of training
FEW_STEPS = 10
# learned fraction from which on a finding is a remark: it cost less than a tenth of what can be learned
LEARNED_WELL = 0.9
# learned fraction from which on a network whose gradient does not reach the beginning of a sequence has found a way all
# the same: gates learn to remember, and near steps can be enough (docs/sequences.md)
LEARNED_ENOUGH = 0.5
# initialisers assume inputs of mean square 1; within a factor of 20 lie pixels in [0, 1], which train
# as well; beyond, the first layer's signal is 4 times off (LeCun et al., 1998, section 4.3)
INPUT_SQUARE_LOW, INPUT_SQUARE_HIGH = 1 / 20, 20.0
# a classifier that knows nothing has loss ln C; far above it the head's scale is too large
INITIAL_LOSS_FACTOR = 3.0
# accuracy within three standard errors of always guessing the commonest class
CHANCE_SIGMAS = 3.0
# where answers are not right or wrong: a loss within 3 % of the best constant answer's
CHANCE_LOSS = 0.97
