"""The mean field of each activation of a network at the scale that it is initialised with, and what that says."""

from __future__ import annotations

import math
from statistics import mean

from initlab.run.prepare import Prepared
from initlab.spec import Activation, LayerPrediction, Prediction
from initlab.theory import MeanField, critical_point, meanfield, stable_critical_point


def mean_fields(prepared: Prepared, prediction: Prediction) -> tuple[tuple[Activation, MeanField], ...]:
    """The mean field of each activation that feeds hidden layers outside of residual branches.

    At the (σ_w, σ_b) that the initialiser means, else at the mean of the layers as drawn.
    """
    rows: dict[str, tuple[Activation, list[LayerPrediction]]] = {}
    by_name = {s.name: s for s in prepared.sites}
    for row in prediction.layers[1:]:
        site = by_name[row.site]
        activation = prepared.context.before(site)
        if activation is not None and activation.moments is None and site.branch is None and row.sigma_w2 > 0:
            rows.setdefault(activation.name, (activation, []))[1].append(row)
    if math.isnan(prediction.trainable_depth):
        return ()  # shortcuts or norms: no single map is repeated
    found: list[tuple[Activation, MeanField]] = []
    for activation, layers in rows.values():
        meant = prepared.initialised.initializer.sigmas
        if meant is not None:
            sigma_w, sigma_b = meant(activation)
        else:
            sigma_w, sigma_b = (math.sqrt(mean(getattr(r, k) for r in layers)) for k in ("sigma_w2", "sigma_b2"))
        # the last layer's q tells on which side of an unstable fixed point the signal went
        last = layers[-1].q
        start = last if 1e-8 < last < 1e8 else 1.0
        found.append((activation, meanfield(activation, sigma_w=sigma_w, sigma_b=sigma_b, start=start)))
    return tuple(found)


def scale_advice(fields: tuple[tuple[Activation, MeanField], ...]) -> tuple[str, ...]:
    """What the activation's own fixed points say about the scale that was chosen, and which critical point to take."""
    found: list[str] = []
    for activation, field in fields:
        at = f"{activation.name} at σ_w = {field.sigma_w:.4g}, σ_b = {field.sigma_b:.3g}"
        found.append(
            f"{at}: {field.phase}, q* = {field.q_star:.5g}, χ₁ = {field.chi_1:.5g}, χ_q = {field.chi_q:.4g},"
            f" c* = {field.c_star:.4g}, ξ_c = {field.xi_c:.4g}, ξ_q = {field.xi_q:.4g}"
        )
        unstable = [p for p in field.fixed_points if not p.stable]
        stable = stable_critical_point(activation)
        if unstable:
            near = min(unstable, key=lambda p: abs(math.log(p.q)))
            found.append(
                f"the fixed point q* = {near.q:.4g} of {activation.name} is unstable (χ_q = {near.chi_q:.4g} > 1):"
                " the signal leaves it with depth"
            )
            if stable is not None:
                found.append(
                    f"try init=edge_of_chaos: stable critical point σ_w = {stable.sigma_w:.6g},"
                    f" σ_b = {stable.sigma_b:g} (q* = {stable.q_star:.4g}, χ_q = {stable.chi_q:.4g})"
                )
        elif field.phase != "critical":
            point = critical_point(activation, field.sigma_b) if field.sigma_b > 0 else critical_point(activation)
            if point is None:
                found.append(f"{activation.name} has no critical point: no scale keeps the gradient in a deep network")
            elif point.stable:
                found.append(f"{activation.name} is critical at σ_w = {point.sigma_w:.6g}, σ_b = {point.sigma_b:g}")
    return tuple(found)
