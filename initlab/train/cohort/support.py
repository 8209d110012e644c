"""Which runs can train in a cohort, and which of them in the same one. What a stack does not know trains alone."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from torch import nn

from initlab.models.linear import Linear
from initlab.models.mlp import MLP
from initlab.models.pieces import BranchScale
from initlab.network.sites import weights
from initlab.spec import StackedTask
from initlab.train.cohort.activations import kind_of
from initlab.train.cohort.optimizers import ELEMENTWISE
from initlab.train.optimizers import parameter_groups
from initlab.train.run import Run

_NORMS = (nn.BatchNorm1d, nn.LayerNorm, nn.Identity)


def why_alone(run: Run) -> str:
    """Why a run cannot train in a cohort; empty where it can. Draws no numbers and changes nothing."""
    reasons = {
        # random numbers of a GPU are not swapped between members yet
        "device": run.splits.train.y.device.type != "cpu",
        "trainer.precision": run.settings.precision != "fp32",
        "trainer.compile": run.settings.compile,
        "trainer.fast_dev_run": run.settings.fast_dev_run,
        "several processes": not run.ranks.is_single,
        "data are one long sequence": run.splits.streams,
        "outputs for every step": run.splits.io.per_step or run.splits.train.y.dim() != 1,
        "init with learning rates of its own": run.lr_scale is not None,
        "probes.extra": run.observer is not None and run.observer.has_extra,
        "recurrent layers": run.recurrent is not None,
        "no validation part": len(run.splits.val) == 0,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    return _of_task(run.task) or _of_model(run.model) or _of_sites(run) or _of_optimizer(run)


def cohort_key(run: Run) -> Hashable:
    """Equal for runs that can train in one cohort, of those that need not train alone."""
    model, splits, probes = run.model, run.splits, run.observer
    shapes = tuple((n, tuple(p.shape)) for n, p in model.named_parameters() if not n.startswith("activations."))
    modules = tuple(
        (n, type(m).__name__, m.extra_repr()) for n, m in model.named_modules() if not n.startswith("activations.")
    )
    sites = tuple((s.name, s.activation, s.layer, s.role) for s in weights(run.sites))
    parts = tuple((tuple(p.x.shape), p.x.dtype, tuple(p.y.shape)) for p in (splits.train, splits.val))
    return (
        type(model), getattr(model, "branch_depth", 0), shapes, modules, sites, parts, splits.io,
        splits.augment is None, replace(run.settings, channels_last=False, eval_batch_size="auto"),
        run.layout.eval_batch, repr(run.task),
        None if probes is None else probes.settings, run.dead is None, str(splits.train.y.device),
        _position(run),
    )  # fmt: skip


def _position(run: Run) -> tuple[int, int, int]:
    """Where a run that goes on is in its training: its cohort is there too."""
    state = run.checkpoints.peek()
    return (0, 0, 0) if state is None else (state.step, state.epoch, state.batch)


def _of_task(task: object) -> str:
    """A task whose class changed the loss, and not that of several networks, does not have the same one."""
    if not isinstance(task, StackedTask):
        return f"task {type(task).__name__}"
    for one, several in (("loss", "member_losses"), ("correct", "member_correct")):
        owners = [next(c for c in type(task).__mro__ if name in vars(c)) for name in (one, several)]
        if owners[0] is not owners[1]:
            return f"task {type(task).__name__}"
    return ""


def _of_model(model: nn.Module) -> str:
    if type(model) not in (MLP, Linear):
        return f"model {type(model).__name__}"
    if any(not p.requires_grad for p in model.parameters()):
        return "parameters that are not trained"
    if len(list(model.named_parameters())) != len(list(model.named_parameters(remove_duplicate=False))):
        return "shared parameters"
    for name, module in model.named_modules():
        if _has_hooks(module):
            return f"hooks at {name or 'the model'}"
        if not _is_known(name, module):
            return f"layer {name}: {type(module).__name__}"
    return ""


def _is_known(name: str, module: nn.Module) -> bool:
    part = name.partition(".")[0]
    if name in ("", "layers", "norms", "scales", "activations", "dropouts"):
        return True
    if part in ("layers", "head"):
        return type(module) is nn.Linear
    if part == "norms":
        return type(module) in _NORMS and not _is_unusual(module)
    if part == "scales":
        return type(module) in (BranchScale, nn.Identity)
    return part == "activations" and name.count(".") == 1 and kind_of(module) is not None


def _is_unusual(norm: nn.Module) -> bool:
    """A norm without parameters or running statistics, or with a momentum that changes."""
    if isinstance(norm, nn.BatchNorm1d):
        return not norm.affine or norm.momentum is None or norm.running_mean is None
    return isinstance(norm, nn.LayerNorm) and len(list(norm.parameters())) < 2


def _has_hooks(module: nn.Module) -> bool:
    return any(vars(module)[f"_{moment}_hooks"] for moment in ("forward", "forward_pre", "backward", "backward_pre"))


def _of_sites(run: Run) -> str:
    modules = dict(run.model.named_modules())
    for site in weights(run.sites):
        known = site.activation in modules if site.activation is not None else site.layer in modules
        if site.reading is not None or not known:
            return f"what follows {site.name}"
    return ""


def _of_optimizer(run: Run) -> str:
    optimizer = run.optimizer(parameter_groups(run.model, run.sites, run.lr_scale))
    return "" if type(optimizer) in ELEMENTWISE else f"optimizer {type(optimizer).__name__}"
