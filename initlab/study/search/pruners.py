"""Pruners: Optuna's, which compare arms, and `diagnostic`, which stops an arm that cannot learn any more."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from initlab.errors import ConfigError, one_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

NAMES = ("none", "median", "hyperband", "wilcoxon", "diagnostic")
#: level of Wilcoxon's test, the default of Optuna's pruner
WILCOXON_P = 0.1
#: number of arms that end before the median pruner starts; Optuna's default
MEDIAN_STARTUP = 5
#: the best third of the arms at a rung continues: η = 3 of Li et al., Hyperband, JMLR 2018
REDUCTION = 3

# ---------------------------------------------------------------- the diagnostic pruner
#: an accuracy at most this far above that of the best constant answer is chance: three standard errors at 2,000 answers
#: of 10 classes, 3 √(0.1 · 0.9 / 2000)
AT_CHANCE = 0.02
#: a deep network may stay on a plateau at first and train well afterwards (Saxe et al., ICLR 2014)
EPOCHS_OF_GRACE = 1
#: norm of the whole gradient: over 10,000 weights its elements are 1e-8, the ε of Adam (Kingma & Ba, ICLR 2015), and a
#: step of SGD at rate 0.01 is below the spacing of float32 near 1, 1.2e-7
GRADIENT_GONE = 1e-6
#: the same for the gradient at the first hidden layer against the last; a run is called vanishing from 1e-3
RATIO_GONE = 1e-6
#: Adam divides the gradient by its size, down to its ε: networks with a ratio of 2e-9 still left their plateau, as
#: late as in the third epoch; none below 1e-10 did, where elements of the first layer are 1e-5 ε (docs/studies.md)
BEYOND_RESCUE, EPOCHS_OF_RESCUE = 1e-10, 4
#: a layer whose units are all dead makes the network constant (Lu, Shin, Su & Karniadakis, 2019)
ALL_DEAD = 0.99
_LOSSES = ("train/loss", "val/loss")


def pruner(name: str, *, epochs: int = 0, replicas: int = 1, objectives: int = 1) -> BasePruner:
    """Create a pruner. ``none`` and ``diagnostic`` never prune by comparison; for the latter see `doomed`.

    Args:
        name: as in `NAMES`.
        epochs: of an arm, the maximum resource of hyperband; 0 takes it from the first arm that ends.
        replicas: seeds of an arm, which wilcoxon compares.
        objectives: number of objectives; Optuna prunes by one only.

    Raises:
        ConfigError: an unknown name, or a pruner that could never act.
    """
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner

    if name not in NAMES:
        raise ConfigError("study.pruner", name, one_of(NAMES, name))
    if name in ("none", "diagnostic"):
        return NopPruner()
    if objectives > 1:
        raise ConfigError("study.pruner", name, "compares arms by one metric; with several, use none or diagnostic")
    if name == "wilcoxon":
        least = fewest_seeds(WILCOXON_P)
        if replicas < least:
            text = f"pruner=wilcoxon compares seeds and needs at least {least} at p = {WILCOXON_P}"
            raise ConfigError("replicas", replicas, text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls it experimental, since 3.6
            return WilcoxonPruner(p_threshold=WILCOXON_P)
    if epochs == 1:
        raise ConfigError("trainer.epochs", epochs, f"pruner={name} compares arms after each epoch; give 2 or more")
    if name == "median":
        return MedianPruner(n_startup_trials=MEDIAN_STARTUP)
    return HyperbandPruner(min_resource=1, max_resource=epochs or "auto", reduction_factor=REDUCTION)


def fewest_seeds(p: float) -> int:
    """Minimum number of pairs with which a one-sided Wilcoxon signed-rank test can fall below `p`.

    Its smallest p-value, where all n differences have the same sign, is 2^-n (Wilcoxon, 1945).
    """
    return math.floor(math.log2(1 / p)) + 1


def doomed(
    metrics: Mapping[str, float], outlook_verdict: str | None, epoch: int, chance: float | None, *, adaptive: bool
) -> str | None:
    """Reason why training this run further is useless, None where it may still learn.

    Args:
        metrics: the latest value of each key, NaN for one that was not finite.
        outlook_verdict: the verdict of the outlook before training; None where there was none.
        epoch: number of completed epochs.
        chance: accuracy of the best answer that is the same for every input; None where answers are not right or wrong.
        adaptive: whether the optimiser's step is independent of the gradient's scale, as for Adam.
    """
    for key in _LOSSES:
        if not math.isfinite(metrics.get(key, 0.0)):
            return f"{key} is not finite"
    accuracy = metrics.get("val/accuracy")
    if chance is None or accuracy is None or epoch < EPOCHS_OF_GRACE or accuracy > chance + AT_CHANCE:
        return None
    where = f"at chance after {epoch} epoch{'s' if epoch != 1 else ''} (accuracy {accuracy:.3f})"
    norm, ratio = metrics.get("diag/grad_norm", math.inf), metrics.get("diag/grad_ratio", math.inf)
    dead = metrics.get("diag/dead_max", 0.0)
    rescued = adaptive and epoch < EPOCHS_OF_RESCUE and ratio > BEYOND_RESCUE and norm > GRADIENT_GONE
    if rescued and dead <= ALL_DEAD:
        return None
    if outlook_verdict == "untrainable":
        return f"{where}, as predicted before the first step"
    if norm < GRADIENT_GONE:
        return f"{where}, and the gradient has vanished (norm {norm:.1e})"
    if ratio < RATIO_GONE:
        return f"{where}, and the gradient vanishes on its way to the first layer ({ratio:.1e} of the last one's)"
    if dead > ALL_DEAD:
        return f"{where}, and a layer is dead ({100 * dead:.0f} % of its units)"
    return None
