"""What a network's forward pass has to multiply with under μP, and sentences on what it lacks.

μP and CompleteP are rules for weights, rates *and* multipliers. An initialiser has the first two in its hand alone; a
multiplier that is missing is named.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.models.transformer.attention import Attention
from initlab.models.transformer.options import Options
from initlab.network.inputs import call, cloned, main_output
from initlab.network.state import preserve_state
from initlab.spec import InitContext, Site


def output_multiplier(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> float | None:
    """The constant between the head's product W·h and the network's output, measured on a batch; None if there is none.

    Without a batch, or a linear head, the attribute ``output_scale`` of networks of this project is taken.
    """
    head = next((s for s in sites if s.role == "head" and len(s.shape) == 2), None)
    own = getattr(model, "output_scale", None)
    stated = float(own) if isinstance(own, (int, float)) else None
    if head is None or context.batches is None or stated is not None:
        return stated
    return _measured(model, head, context.batches(0).inputs)


def _measured(model: nn.Module, head: Site, inputs: object) -> float | None:
    users = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight is model.get_parameter(head.name)]
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach())) for m in users]
    try:
        with torch.no_grad(), preserve_state(model):
            output = main_output(call(model.eval(), cloned(inputs)))
            if output is None or len(seen) != 1:
                return None
            product = F.linear(seen[0], model.get_parameter(head.name), users[0].bias)
    except Exception:  # of somebody's forward
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if product.shape != output.shape or not bool(product.any()):
        return None
    a, b = product.flatten().double(), output.detach().flatten().double()
    ratio = float((a * b).sum() / a.square().sum())
    return ratio if torch.allclose(b, ratio * a, rtol=1e-3, atol=1e-4 * float(b.abs().max())) else None


def missing_multipliers(
    model: nn.Module, sites: tuple[Site, ...], *, name: str, width: float, base_width: int, output: float | None,
    depth: float, alpha: float | None,
) -> tuple[str, ...]:  # fmt: skip
    """Sentences on multipliers that `name` needs in the forward pass and the network does not have.

    Args:
        name: of the initialiser.
        width: m.
        base_width: width at which m is 1.
        output: measured multiplier of the output; None where it is not known.
        depth: m_L.
        alpha: exponent of the branches' multiplier; None where `name` does not account for the depth.

    Raises:
        ConfigError: a network of this project whose branches have another multiplier than `alpha` asks for.
    """
    notes: list[str] = []
    ours = any(isinstance(m, Attention) for m in model.modules())
    tied = next((s for s in sites if s.tied), None)
    if width != 1 and tied is not None and not (output is not None and abs(output * width - 1) < 1e-3):
        cure = f"model.output_scale=mup model.base_width={base_width}" if ours else f"logits * {1 / width:.6g}"
        has = "" if output in (None, 1.0) else f" (it multiplies them by {output:.6g})"
        notes.append(
            f"{name}: {tied.name} is embedding and head, and the network does not multiply its logits by base_width/"
            f"width = {1 / width:.6g}{has}: their updates grow with the width. Add the multiplier ({cure}), or untie "
            f"the head{' (model.tied=false)' if ours else ''}"
        )
    elif width != 1 and output is not None and output != 1 and abs(output * width - 1) >= 1e-3:
        notes.append(
            f"{name}: the network multiplies its output by {output:.6g}, which is not base_width/width = "
            f"{1 / width:.6g}; it is taken for a constant that does not change with the width"
        )
    notes += _attention_notes(model, name=name, width=width)
    if alpha is not None:
        notes += _branch_notes(model, sites, name=name, depth=depth, alpha=alpha)
    return tuple(notes)


def _attention_notes(model: nn.Module, *, name: str, width: float) -> list[str]:
    heads = [m for m in model.modules() if isinstance(m, Attention)]
    if width == 1 or not heads or abs(heads[0].settings.scale * heads[0].head ** 0.5 - 1) > 1e-6:
        return []
    if heads[0].settings.qk_norm or heads[0].settings.by_width:
        return []
    return [
        f"{name}: attention divides by √d (model.attention_scale=sqrt). Where heads become wider with the network, "
        "their logits grow with the width in training; model.attention_scale=mup divides by d"
    ]


def _branch_notes(model: nn.Module, sites: tuple[Site, ...], *, name: str, depth: float, alpha: float) -> list[str]:
    wanted = depth**-alpha
    if not any(s.branch is not None for s in sites):
        raise ConfigError("init", name, "needs residual branches; this network has none: use init=mup")
    options = next((o for m in model.modules() if isinstance(o := getattr(m, "options", None), Options)), None)
    if options is not None:
        if abs(options.factor() / wanted - 1) > 1e-3:
            value = {1.0: "completep", 0.5: "depth_mup"}.get(alpha, f"{wanted:.6g}")
            base = round(options.depth / depth)
            raise ConfigError(
                "init", name,
                f"needs branches that are multiplied by (depth/base_depth)^-{alpha:g} = {wanted:.6g}, and "
                f"model.branch_scale={options.branch_scale} multiplies by {options.factor():.6g}; use "
                f"model.branch_scale={value} model.base_depth={base}",
            )  # fmt: skip
        return []
    if depth == 1:
        return []
    return [
        f"{name}: every residual branch must be multiplied by (depth/base_depth)^-{alpha:g} = {wanted:.6g} in the "
        "forward pass, x + multiplier * f(x), which an initialiser cannot add to this network"
    ]
