"""Networks of other people go through the whole tool: described, initialised, inspected and predicted rightly.

What is expected is computed here, by hooks on the modules and Monte Carlo, not with the functions under test.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab.network.inputs import arguments, main_output
from initlab.spec import Prediction
from tests.network.zoo import written as w
from tests.network.zoo.others import OTHERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def normal(*shape: int) -> Tensor:
    return torch.empty(*shape).normal_(generator=torch.Generator().manual_seed(1))


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(1))


Case = tuple[Callable[[], nn.Module], Any]
WRITTEN: dict[str, Case] = {
    "gpt": (w.GPT, (integers(96, 8, 12),)),
    "gpt without fused attention": (lambda: w.GPT(fused=False), (integers(96, 8, 12),)),
    "gpt of squared relu": (lambda: w.GPT(act=nn.ReLU()), (integers(96, 8, 12),)),
    "llama": (w.Llama, integers(96, 8, 12)),
    "gemma": (lambda: w.Llama(norm=w.Gemma), integers(96, 8, 12)),
    "vit": (w.ViT, normal(16, 3, 16, 16)),
    "resnet": (w.CifarResNet, normal(16, 3, 16, 16)),
    "u-net": (w.UNet, normal(4, 3, 32, 32)),
    "generator": (w.Generator, normal(16, 32)),
    "discriminator": (w.Discriminator, normal(16, 3, 16, 16)),
    "denoiser": (w.TimeUNet, (normal(8, 3, 16, 16), torch.arange(8))),
    "experts": (w.Experts, normal(32, 16)),
    "field of sines": (w.Field, normal(64, 2)),
    "siamese": (w.Siamese, (normal(32, 24), -normal(32, 24))),
    "tagger": (w.Tagger, integers(40, 16, 9)),
    "low-rank adapters": (w.Adapted, normal(32, 32)),
    "weight standardisation": (w.Standardised, normal(16, 3, 16, 16)),
    "equalised learning rate": (w.Mapping, normal(32, 32)),
    "squeeze and excitation": (w.Attentive, normal(16, 3, 16, 16)),
    "actor and critic": (w.ActorCritic, normal(32, 8)),
    "weight norm": (w.WeightNormed, normal(16, 4, 20)),
}
ALL: dict[str, Case] = WRITTEN | OTHERS
#: networks whose pass alone takes seconds
LARGE = ("torchvision/retinanet", "torchvision/swin", "timm/nfnet", "timm/mixer")


def built(name: str) -> tuple[nn.Module, Any]:
    make, inputs = ALL[name]
    torch.manual_seed(0)
    return make(), inputs


def run(model: nn.Module, inputs: Any) -> Any:
    args, kwargs = arguments(model, inputs)
    return model(*args, **kwargs)


# ------------------------------------------------------------------ what each parameter is
def second_moment(module: nn.Module) -> float:
    """E[φ²] of an activation module on N(0, 1), by a fine sum."""
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        values = copy.deepcopy(module).double()(z.clone())
    return float((values.square() * density).sum() * (z[1] - z[0]))


_NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
_ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Hardswish, nn.ReLU6, nn.ELU)


def fed_directly(model: nn.Module, inputs: Any) -> dict[str, float]:
    """Weight → E[x²] of what an activation or norm module hands it directly, seen by hooks on the modules."""
    made: dict[int, tuple[nn.Module, Tensor, int]] = {}
    found: dict[str, float] = {}
    handles = []

    def leave(module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            made[id(output)] = (module, output, output._version)

    def enter(name: str) -> Any:
        def hook(_module: nn.Module, args: Any) -> None:
            source = made.get(id(args[0])) if args and isinstance(args[0], Tensor) else None
            if source is None or args[0]._version != source[2]:  # changed in place since
                return
            if type(source[0]) in _ACTIVATIONS:
                found.setdefault(f"{name}.weight", second_moment(source[0]))
            elif isinstance(source[0], _NORMS) and not hasattr(source[0], "act"):
                found.setdefault(f"{name}.weight", 1.0)

        return hook

    for name, module in model.named_modules():
        if type(module) in (*_ACTIVATIONS, nn.Linear, nn.Conv2d, nn.Conv1d) or isinstance(module, _NORMS):
            handles.append(module.register_forward_hook(leave))
        if type(module) in (nn.Linear, nn.Conv2d, nn.Conv1d):
            handles.append(module.register_forward_pre_hook(enter(name)))
    was = [(m, getattr(m, "inplace", None)) for m in model.modules() if getattr(m, "inplace", False) is True]
    for module, _ in was:
        module.inplace = False  # type: ignore[assignment]
    with torch.no_grad():
        run(model.eval(), inputs)
    for module, _ in was:
        module.inplace = True  # type: ignore[assignment]
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_is_drawn_by_its_use(name: str) -> None:
    model, inputs = built(name)
    before = {n: b.clone() for n, b in model.named_buffers()}
    done = initlab.initialize(model, "he", example=inputs)
    sites = {s.name: s for s in initlab.describe(model, inputs)}
    named = dict(model.named_parameters())
    assert set(sites) == set(named) == set(done.rules)
    assert not [s for s in sites.values() if s.kind == "free" and not s.unused]
    assert all(bool(torch.isfinite(p).all()) for p in named.values())
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules() if type(m) is nn.Linear)
    checked = 0
    for weight, second in fed_directly(model, inputs).items():
        p, site = named.get(weight), sites.get(weight)
        if p is None or site is None or site.tied or done.rules[weight] != "he":
            continue
        fan_in = p[0].numel()
        spread = 0.1 + 4 * math.sqrt(2 / p.numel())  # 10 %, four standard errors of a variance
        assert float(p.detach().square().mean()) * fan_in == pytest.approx(1 / second, rel=spread), weight
        checked += 1
    if name in (
        "torchvision/mobilenet_v2",
        "torchvision/shufflenet",
        "torchvision/efficientnet",
        "smp/unet",
        "transformers/bert",
    ):
        assert checked > 2, "the check by hooks saw nothing"


#: network → pattern of a weight → (fan_in, fan_in · E[W²]) by hand
BY_HAND: dict[str, dict[str, tuple[int, float]]] = {
    "gpt": {"wte.weight": (64, 1.0), "blocks.1.attn.c_attn.weight": (64, 1.0), "blocks.2.c_proj.weight": (256, 2.351)},
    "gemma": {"layers.1.w2.weight": (160, 2.811), "layers.1.w1.weight": (64, 1.0), "tok.weight": (1, 1.0)},
    "vit": {"qkv.1": (64, 1.0), "down.0.weight": (128, 2.352), "patch.weight": (48, 1.0)},
    "resnet": {"blocks.1.conv2.weight": (288, 2.0), "linear.weight": (64, 2.0)},
    # half of the channels are ReLU's, half come from a transposed convolution: E[x²] = ¾
    "u-net": {"u2.0.weight": (1728, 4 / 3), "up1.weight": (96, 2.0), "out.weight": (48, 2.0)},
    "experts": {"w1": (48, 2.533), "w2": (96, 2.0), "router.weight": (48, 2.533)},
    "field of sines": {"net.2.weight": (128, 2.0)},  # sin(30 h) is uniform in phase: E = ½
    "siamese": {"b.weight": (64, 1.551)},
    "low-rank adapters": {"head.weight": (64, 2.0)},
    "discriminator": {"c2.weight": (512, 1.923), "fc.weight": (1024, 1.923)},
    "actor and critic": {"pi.weight": (64, 2.533), "v.weight": (64, 2.533)},
    "squeeze and excitation": {"up.weight": (8, 2.0), "head.weight": (64, 3.11)},
}


@pytest.mark.parametrize("name", BY_HAND)
def test_fans_and_gains_by_hand(name: str) -> None:
    model, inputs = built(name)
    squares: dict[str, list[float]] = {}
    sites = {s.name: s for s in initlab.describe(model, inputs)}
    named = dict(model.named_parameters())
    for seed in range(8):
        initlab.initialize(model, "he", example=inputs, seed=seed)
        for weight in BY_HAND[name]:
            squares.setdefault(weight, []).append(float(named[weight].detach().square().mean()))
    for weight, (fan_in, expected) in BY_HAND[name].items():
        assert sites[weight].fan_in == fan_in, weight
        error = 4 * math.sqrt(2 / (8 * named[weight].numel()))
        assert fan_in * statistics.mean(squares[weight]) == pytest.approx(expected, rel=0.02 + error), weight


def test_what_is_not_drawn_is_said() -> None:
    model, inputs = built("low-rank adapters")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    done = initlab.initialize(model, "he", example=inputs)
    kept = {n for n, p in model.named_parameters() if torch.equal(p, before[n]) and p.dim() > 1}
    assert kept == {"one.base.weight", "two.base.weight", "one.B", "two.B"}
    assert any("frozen" in n and "one.base.weight" in n for n in done.notes)
    assert any("zero-initialised" in n and "one.B" in n for n in done.notes)
    done = initlab.initialize(model, "he", example=inputs, frozen=True)
    assert done.rules["one.base.weight"] == "he" and not any("frozen" in n for n in done.notes)
    model, inputs = built("gpt")
    assert any("tied" in n for n in initlab.initialize(model, "he", example=inputs).notes)


def test_the_weight_that_is_used_has_the_law() -> None:
    """Weight norm of both makes, and a constant multiplier: what counts is the product."""
    model, inputs = built("weight norm")
    initlab.initialize(model, "he", example=inputs)
    run(model, inputs)
    for layer, fan_in in ((model.a, 12), (model.b, 96)):
        used = layer.weight.detach()  # type: ignore[union-attr, operator]
        assert float(used.square().mean()) * fan_in == pytest.approx(2, rel=0.15)
    assert bool((model.a.weight_g > 0).all())  # type: ignore[operator]
    model, inputs = built("equalised learning rate")
    initlab.initialize(model, "orthogonal", example=inputs)
    layer = model.layers[1]  # type: ignore[index]
    used = (layer.weight * layer.scale).detach()
    assert torch.allclose(used @ used.T, torch.eye(64) * initlab.gain(lambda x: F.leaky_relu(x, 0.2)) ** 2, atol=1e-4)
    model, inputs = built("gemma")
    initlab.initialize(model, "he", example=inputs)
    assert not any(bool(m.weight.any()) for m in model.modules() if isinstance(m, w.Gemma)), "1 + w is 1"


# ------------------------------------------------------------------ the loss before training
#: networks that give no scores of classes: a number, a distance, boxes
OTHER_OUTPUTS = ("field of sines", "siamese", "torchvision/retinanet")
CLASSIFIERS = [n for n in ALL if n not in (*OTHER_OUTPUTS, *LARGE)]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_loss_before_training_is_that_of_guessing(name: str) -> None:
    model, inputs = built(name)
    for init in ("he", "xavier", "orthogonal", "auto"):
        with torch.no_grad():
            logits = main_output(run(model.eval(), inputs))
        assert logits is not None
        classes = logits.shape[-1]
        target = integers(classes, *logits.shape[:-1])

        def loss(output: Any, y: Tensor, classes: int = classes) -> Tensor:
            scores = main_output(output)
            assert scores is not None
            return F.cross_entropy(scores.reshape(-1, classes), y.flatten())

        done = initlab.initialize(model, init, data=[(inputs, target)], loss=loss)
        scores = main_output(run(model.train(), inputs))
        assert scores is not None
        # the mean over all targets, which the few of a batch scatter around
        start = float((scores.logsumexp(-1) - scores.mean(-1)).mean().detach())
        said = any("root mean square" in n for n in done.notes)
        assert start < math.log(classes) + 0.7 or said, (init, start)
        assert init != "auto" or start < math.log(classes) + 0.9, start


# ------------------------------------------------------------------ what theory says of them
@pytest.mark.parametrize("name", [n for n in ALL if n not in LARGE])
def test_advice_is_given_and_can_be_taken(name: str) -> None:
    model, inputs = built(name)
    initlab.initialize(model, "xavier", example=inputs)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    advice = initlab.advise(model, (inputs, None), loss=lambda o, _: main_output(o).float().square().mean())  # type: ignore[union-attr]
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert advice.knows != bool(initlab.predict(model, inputs).out_of_scope)
    initlab.initialize(
        model, advice.init, data=[(inputs, None)], loss=lambda o, _: main_output(o).float().square().mean()
    )  # type: ignore[union-attr]
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


@pytest.mark.parametrize("name", [n for n in ALL if n not in LARGE])
def test_the_prediction_is_what_is_measured(name: str) -> None:
    """q within a factor 1.5 and gradient² within 2 of the median over 5 draws, wherever nothing is out of scope."""
    model, inputs = built(name)
    said: list[Prediction] = []
    seen: list[Any] = []
    for seed in range(5):
        initlab.initialize(model, "he", example=inputs, seed=seed)
        said.append(initlab.predict(model, inputs))
        if said[0].out_of_scope:
            break
        seen.append(
            initlab.inspect(model, (inputs, None), loss=lambda o, _: main_output(o).float().square().mean()).seen
        )  # type: ignore[union-attr]
    if said[0].out_of_scope:
        found = initlab.inspect(
            model,
            (inputs, None),
            loss=lambda o, _: main_output(o).float().square().mean(),  # type: ignore[union-attr]
        )
        if found.verdict == "trainable":  # theory of layers does not cover it, and that of transformers does
            assert found.stream is not None and found.stream.unknown == ()
            for row in found.stream.rows():
                assert 1 / 1.5 < row["predicted_mean_square"] / row["measured_mean_square"] < 1.5, row
                assert abs(row["predicted_cosine"] - row["measured_cosine"]) < 0.15, row  # of one draw
        return
    assert all(p.layers for p in said)
    for i, row in enumerate(said[0].layers):
        measured = [next(r for r in s.layers if r.site == row.site) for s in seen]
        q = statistics.median(p.layers[i].q for p in said) / statistics.median(m.q for m in measured)
        assert 1 / 1.5 < q < 1.5, f"{row.site}: predicted over measured mean square {q:.2f}"
        steps = [p.layers[i].log10_gradient - m.log10_gradient for p, m in zip(said, measured, strict=True)]
        if not any(map(math.isnan, steps)):
            assert abs(statistics.median(steps)) < math.log10(2), f"{row.site}: gradient² off by 10^{steps}"
