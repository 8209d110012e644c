"""init=auto: takes what its own table says, for any network that it may be shown, and disturbs nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab import activations, inits
from initlab.advice.auto import MARGIN, auto, candidates
from initlab.errors import ConfigError, UnclaimedParameterError
from initlab.inits import Applied
from initlab.inits.streaming import deterministic_training_mode
from initlab.network.sites import describe
from initlab.run.prepare import Prepared, foresee, prepare
from initlab.spec import Batch, InitContext
from tests.cases import experiment, untracked
from tests.inits.networks import ONE_OF_EACH, Case

pytestmark = pytest.mark.slow

DATA = ("data=digits", "data.limit=400")
MLP = ("model=mlp", "model.width=40")
RESIDUAL = (*MLP, "model.depth=5", "model.residual=true", "model.branch_depth=2")
NETWORKS = {
    "mlp": MLP,
    "cnn": ("model=cnn",),
    "resnet without norms": ("model=resnet", "model.depth=8", "model.width=4", "model.norm=none"),
    "residual mlp with layer norms": (*RESIDUAL, "model.norm=layer"),
    "residual mlp": (*RESIDUAL, "model.norm=none"),
}


def prepared(*overrides: str) -> Prepared:
    return prepare(experiment(*DATA, *overrides))


#: without and with an optimiser
TITLES = ("auto: risk before training: ", "auto: probability that it trains: ")


def figures(notes: tuple[str, ...]) -> str:
    (row,) = [n for n in notes if n.startswith(TITLES)]
    return row


def table(notes: tuple[str, ...]) -> dict[str, float]:
    """Candidate → what it is compared by, as the notes say: the risk, or log10 of the odds that it does not train."""
    row = figures(notes)
    listed = re.sub("^auto: [a-z ]+: ", "", row).split("; not for this network")[0]
    pairs = [entry.rsplit(" ", 1) for entry in listed.split(", ")]
    values = {name: math.inf if text == "∞" else float(text) for name, text in pairs}
    return {n: odds_against(p) for n, p in values.items()} if row.startswith(TITLES[1]) else values


def odds_against(probability: float) -> float:
    return math.log10((1 - probability + 1e-9) / (probability + 1e-9))


def refused(notes: tuple[str, ...]) -> dict[str, str]:
    """Candidate → why it is not for the network."""
    _, _, rest = figures(notes).partition("; not for this network: ")
    return dict(re.findall(r"(?:^|; )(\w+) \((.*?)\)(?=; \w+ \(|$)", rest))


def by_the_rule(risks: dict[str, float], margin: float) -> str:
    """From the first on, a later candidate is taken where its figure is lower by more than the margin."""
    names = list(risks)
    best = names[0]
    for name in names[1:]:
        if risks[name] + margin < risks[best]:
            best = name
    return best


# ------------------------------------------------------------------ the choice
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_kind_of_network_through_the_configuration(network: tuple[str, ...]) -> None:
    p = prepared(*network, "init=auto")
    notes, risks = p.initialised.notes, table(p.initialised.notes)
    chosen = p.initialised.initializer
    assert all(bool(torch.isfinite(q).all()) for q in p.model.parameters())
    assert chosen.name == by_the_rule(risks, MARGIN) and chosen.plan is None
    assert set(p.initialised.rules) == {n for n, _ in p.model.named_parameters()}
    assert [n.split(":")[0] for n in notes[:3]] == ["auto"] * 3
    assert re.match(r"auto: \d+ weight layers with relu", notes[0])
    assert notes[2].startswith(f"auto: {chosen.name}, ")
    assert ("residual branches" in notes[0]) == (network[0] == "model=resnet" or "model.residual=true" in network)
    assert ("norms" in notes[0]) == ("model.norm=layer" in network)
    assert foresee(p).outlook.score > 0.5


@pytest.mark.parametrize(
    "network",
    [(*MLP, "model.depth=20"), (*MLP, "model.depth=20", "activation=gelu"), NETWORKS["resnet without norms"]],
    ids=["relu", "gelu", "resnet"],
)
def test_the_table_is_that_of_the_schemes_by_themselves(network: tuple[str, ...]) -> None:
    """Each scheme drawn into a network of its own, and looked at with what `inspect` looks with."""
    p = prepared(*network, "init=auto", "init.margin=0")
    told = table(p.initialised.notes)
    alone: dict[str, float] = {}
    for name in told:
        outlook = foresee(prepared(*network, f"init={name}")).outlook
        alone[name] = outlook.odds_against
        # the notes have three decimals of the probability
        assert 1 / (1 + 10 ** told[name]) == pytest.approx(outlook.score, abs=0.00051)
    assert p.initialised.initializer.name == min(alone, key=lambda n: alone[n])
    spread = max(alone.values()) - min(alone.values())
    for margin in (0.3 * spread, 1e9):
        chosen = prepared(*network, "init=auto", f"init.margin={margin}").initialised.initializer.name
        assert chosen == by_the_rule(alone, margin), margin
    assert by_the_rule(alone, 1e9) == next(iter(alone))


def test_where_none_is_likely_to_train_depth_decides() -> None:
    """Ten sigmoid layers with SGD: 340 updates train the critical point alone (docs/auto.md)."""
    p = prepared(*MLP, "model.depth=10", "activation=sigmoid", "optimizer=sgd", "optimizer.lr=0.01", "init=auto")
    odds = table(p.initialised.notes)
    assert min(odds.values()) > 0, "one is likely"
    assert p.initialised.initializer.name == "edge_of_chaos"
    assert p.initialised.notes[2].endswith("none is likely to train, so the risk decided")


def test_what_is_chosen_is_drawn_as_if_it_had_been_asked_for() -> None:
    network = (*MLP, "model.depth=30")
    p = prepared(*network, "init=auto", "init.head=false")
    other = prepared(*network, f"init={p.initialised.initializer.name}")
    assert all(torch.equal(a, b) for a, b in zip(p.model.parameters(), other.model.parameters(), strict=True))


def test_infinite_risk_is_never_taken_before_a_finite_one() -> None:
    p = prepared(*MLP, "model.depth=8", "activation=swiglu", "init=auto")
    odds = table(p.initialised.notes)
    assert odds[p.initialised.initializer.name] < 3 < max(odds.values())
    assert p.context.batches is not None
    batch = p.context.batches(0)
    done = initlab.initialize(p.model, "auto", data=[(batch.inputs, batch.targets)])
    risks = table(done.notes)
    assert math.isfinite(risks[done.initializer.name]) and math.inf in risks.values()


def test_whole_runs_learn() -> None:
    for network in (("model=mlp", "model.depth=30", "model.width=64"), NETWORKS["residual mlp"]):
        result, _ = untracked("data=digits", *network, "init=auto", "trainer.epochs=6", "probes=none")
        assert result.status == "finished" and result.metrics["test/accuracy"] > 0.8, network


# ------------------------------------------------------------------ candidates
def names_for(case: Case) -> list[str]:
    model = case.build()
    return [c.initializer.name for c in candidates(case.sites(model), case.context())]


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_candidates_are_made_for_the_structure(case: Case) -> None:
    names, kind = names_for(case), case.label.split(" ")[0]
    modules = list(case.build().modules())
    norms = any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)) for m in modules)
    branches = kind in ("residual", "attention")
    assert len(names) == len(set(names))
    assert {"lsuv", "orthogonal", "he", "xavier", "edge_of_chaos"} <= set(names)
    assert ("recurrent" in names) == any(isinstance(m, nn.RNNBase) for m in modules)
    assert ("gpt2" in names) == (kind == "attention")
    assert ("fixup" in names) == ("residual_scaled" in names) == (branches and not norms)
    assert ("zero_gamma" in names) == (branches and norms)
    first = {
        "LSTM": "recurrent",
        "GRU": "recurrent",
        "RNN": "recurrent",
        "attention": "gpt2",
        "residual": "torch_default",
    }
    assert names[0] == first.get(kind, "lsuv")


def test_who_is_not_for_the_network_is_listed_with_the_reason() -> None:
    notes = prepared(*MLP, "activation=softplus", "init=auto").initialised.notes
    assert (
        set(refused(notes)) == {"edge_of_chaos"} and "softplus has no critical point" in refused(notes)["edge_of_chaos"]
    )
    notes = prepared(*NETWORKS["residual mlp"], "init=auto").initialised.notes
    assert set(refused(notes)) == {"fixup"} and "zero for ever" in refused(notes)["fixup"]
    notes = prepared(*NETWORKS["residual mlp with layer norms"], "init=auto").initialised.notes
    assert set(refused(notes)) == {"zero_gamma"}
    notes = prepared(*MLP, "init=auto").initialised.notes
    assert refused(notes) == {} and "not for this network" not in " ".join(notes)


# ------------------------------------------------------------------ the head
def loudness(p: Prepared) -> float:
    assert p.context.batches is not None
    with deterministic_training_mode(p.model), torch.no_grad():
        return float(p.model(p.context.batches(0).inputs).square().mean().sqrt())


def test_a_loud_head_is_scaled_to_one() -> None:
    # critical at large weights, and the most likely to train with this optimiser
    network = ("model=mlp", "model.depth=8", "model.width=64", "activation=sigmoid", "optimizer=sgd", "init.margin=0")
    loud, quiet = prepared(*network, "init=auto", "init.head=false"), prepared(*network, "init=auto")
    size = loudness(loud)
    assert size > 1.2
    assert loudness(quiet) == pytest.approx(1, abs=1e-4)
    (note,) = [n for n in quiet.initialised.notes if n.startswith("auto: head.weight scaled by ")]
    assert f"{1 / size:.3g}" in note and f"{size:.3g}" in note
    for (name, a), b in zip(loud.model.named_parameters(), quiet.model.parameters(), strict=True):
        assert torch.allclose(a / size if name == "head.weight" else a, b, rtol=1e-5), name
    assert not any(n.startswith("auto: head") for n in loud.initialised.notes)


def test_a_quiet_head_is_left_alone() -> None:
    p = prepared(*NETWORKS["resnet without norms"], "init=auto")
    assert loudness(p) < 1
    assert not any("scaled by" in n for n in p.initialised.notes)


class TwoHeads(nn.Module):
    """Half of the classes are told from hidden units, half from the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.deep, self.wide = nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.deep(self.act(self.first(x))), self.wide(x)], 1)


def test_all_heads_are_scaled_where_there_are_several() -> None:
    x = 5 * normal(64, 6)
    model = TwoHeads()
    # of the seed 1 the logits of LSUV's heads have a root mean square of 1.28 together
    done = initlab.initialize(model, "auto", data=[(x, torch.arange(64) % 4)], seed=1)
    assert any("deep.weight" in n and "wide.weight" in n for n in done.notes if "scaled by" in n)
    assert float(model(x).detach().square().mean().sqrt()) == pytest.approx(1, abs=1e-4)


# ------------------------------------------------------------------ foreign networks
def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


def tokens(examples: int = 64, length: int = 10) -> Tensor:
    return torch.randint(20, (examples, length), generator=torch.Generator().manual_seed(0))


BALANCED, RARE = torch.arange(64) % 4, torch.where(torch.arange(64) % 16 == 0, 1, 0)


class Reader(nn.Module):
    """Embedding, two LSTM layers with dropout between them, the last output to a head."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 16), nn.LSTM(16, 32, 2, batch_first=True, dropout=0.3)
        self.head = nn.Linear(32, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(x))[0][:, -1])


class Encoder(nn.Module):
    """Embedding, two of torch's transformer layers, which drop out a tenth, their mean to a head."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation=activation)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(x)).mean(1))


class Images(nn.Module):
    """Convolutions with batch norms and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Dropout(0.4), nn.Conv2d(8, 8, 3), nn.SiLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


FOREIGN: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "lstm": (Reader, tokens()),
    "encoder": (Encoder, tokens()),
    "encoder with modules": (lambda: Encoder(nn.GELU()), tokens()),
    "images": (Images, normal(64, 1, 9, 9)),
}
#: in which torch's functions stand where other networks have activation modules, so that all schemes are alike to it
FIRST = {"lstm": "recurrent", "encoder": "gpt2"}


def initialised(label: str, targets: Tensor = BALANCED, seed: int = 0) -> tuple[nn.Module, Applied]:
    build, x = FOREIGN[label]
    torch.manual_seed(99)
    model = build()
    return model, initlab.initialize(model, "auto", data=[(x, targets)], seed=seed)


@pytest.mark.parametrize("label", FOREIGN)
def test_foreign_networks(label: str) -> None:
    model, done = initialised(label)
    assert done.initializer.name == FIRST.get(label, by_the_rule(table(done.notes), MARGIN))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert set(done.rules) == {n for n, _ in model.named_parameters()}
    x = FOREIGN[label][1]
    with deterministic_training_mode(model), torch.no_grad():
        assert float(model(x).square().mean().sqrt()) <= 1.0001
        assert float(F.cross_entropy(model(x), BALANCED)) < 2 * math.log(4)


@pytest.mark.parametrize("label", FOREIGN)
def test_one_seed_is_one_result_whatever_was_drawn_before(label: str) -> None:
    """Dropout is drawn from torch's own generator, whose state is not the initialiser's."""
    build, x = FOREIGN[label]
    results: list[tuple[dict[str, Tensor], tuple[str, ...]]] = []
    for state, seed in ((1, 0), (2, 0), (1, 1)):
        model = build()
        torch.manual_seed(state)
        done = initlab.initialize(model, "auto", data=[(x, BALANCED)], seed=seed)
        results.append(({n: p.detach().clone() for n, p in model.named_parameters()}, done.notes))
    (one, notes), (same, again), (other, _) = results
    assert notes == again and all(torch.equal(one[n], same[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("label", FOREIGN)
def test_nothing_else_is_touched(label: str) -> None:
    build, x = FOREIGN[label]
    model = build()
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    modes = [m.training for m in model.modules()]
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    first = next(model.parameters())
    gradient = first.grad = torch.ones_like(first)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    initlab.initialize(model, "auto", data=[(x, RARE)])
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())
    assert first.grad is gradient and all(p.grad is None for p in list(model.parameters())[1:])
    assert all(p.requires_grad for p in model.parameters())


# ------------------------------------------------------------------ classes
@pytest.mark.parametrize("label", FOREIGN)
def test_imbalanced_classes_give_the_head_their_logarithm(label: str) -> None:
    model, done = initialised(label, RARE)
    counts = torch.tensor([60.0, 4.0, 0.0, 0.0]) * 8  # as many batches are counted; here all of them are the same
    prior = ((counts + 1) / (counts.sum() + 4)).log()
    assert torch.allclose(model.get_parameter("head.bias"), prior, atol=1e-4)
    (note,) = [n for n in done.notes if "imbalanced" in n]
    assert "entropy 0.23 of 1.39" in note
    model, done = initialised(label, BALANCED)
    assert not model.get_parameter("head.bias").any() and not any("prior" in n for n in done.notes)


@pytest.mark.parametrize(("classes", "examples"), [(3, 8), (4, 20), (10, 64), (10, 256), (100, 256)])
def test_what_chance_draws_from_balanced_classes_is_no_imbalance(classes: int, examples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, classes)), normal(examples, 3)
    found = 0
    told = corrections(model, x, classes)
    for _ in range(40):
        found += bool(told(torch.randint(classes, (examples,), generator=generator)))
    assert found <= 1
    skewed = torch.where(torch.rand(examples, generator=generator) < 0.9, 0, torch.arange(examples) % classes)
    assert any("imbalanced" in n for n in told(skewed))


def corrections(model: nn.Module, x: Tensor, classes: int) -> Callable[[Tensor], tuple[str, ...]]:
    """What the step that looks at the classes says of targets."""
    sites = describe(model, x[:2])

    def context(y: Tensor) -> InitContext:
        batch = Batch(inputs=x, targets=y, loss=F.cross_entropy)
        return InitContext(activation=activations.relu(), batches=lambda _i: batch, sites=sites)

    plan = auto().plan
    assert plan is not None
    chosen, _ = plan(model, sites, context(torch.arange(len(x)) % classes))
    return lambda y: chosen.adapt[-1](model, sites, context(y))


def test_targets_that_are_no_classes_get_no_prior() -> None:
    x = normal(64, 6)
    network = lambda outputs: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs))  # noqa: E731
    cases: list[tuple[int, Tensor, Callable[[Tensor, Tensor], Tensor]]] = [
        (1, normal(64, 1), F.mse_loss),
        (1, RARE, lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y.float())),
        (1, RARE.bool(), lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y.float())),
        (4, F.one_hot(RARE, 4), lambda o, y: F.binary_cross_entropy_with_logits(o, y.float())),
        (4, torch.where(torch.arange(64) < 3, -100, RARE), F.cross_entropy),  # -100 is left out of the loss
    ]
    for outputs, y, loss in cases:
        model = network(outputs)
        done = initlab.initialize(model, "auto", data=[(x, y)], loss=loss)
        assert not any("prior" in n or "imbalanced" in n for n in done.notes), y.dtype
        assert not model[2].bias.any()


def test_a_head_without_bias_gets_no_prior() -> None:
    model = Reader(bias=False)
    done = initlab.initialize(model, "auto", data=[(tokens(), RARE)])
    assert not any("imbalanced" in n for n in done.notes)


# ------------------------------------------------------------------ what is kept
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_kept_parameters_keep_their_values(activation: str) -> None:
    """Neither the schemes that are tried nor the corrections change them, and what is tried is tried with them."""
    network = (*MLP, "model.depth=20", f"activation={activation}")
    p = prepared(*network, "init=auto", "init.margin=0", "init.keep=['layers.0.*','layers.7.weight',head.weight]")
    torch.manual_seed(0)
    built = experiment(*DATA, *network)
    torch.manual_seed(0)
    reference = built.model(p.splits.io, built.activation)
    described = describe(reference, p.splits.prepare(p.splits.train.x[:2]))
    before = {n: q.detach().clone() for n, q in reference.named_parameters()}
    context = replace(p.context, sites=described)
    keep = ("layers.0.*", "layers.7.weight", "head.weight")
    done = inits.apply(reference, described, auto(margin=0.0, keep=keep), context=context, seed=0)
    kept = {"layers.0.weight", "layers.0.bias", "layers.7.weight", "head.weight"}
    assert {n for n, rule in done.rules.items() if rule == "kept"} == kept
    after = dict(reference.named_parameters())
    assert all(torch.equal(before[n], after[n]) for n in kept)
    assert not any(torch.equal(before[n], after[n]) for n in after if n.endswith("weight") and n not in kept)
    assert not any("head.weight scaled" in n for n in done.notes)
    assert {n for n, rule in p.initialised.rules.items() if rule == "kept"} == kept


def test_a_kept_bias_gets_no_prior_and_that_of_a_kept_head_does() -> None:
    for keep, told in (("head.bias", False), ("head.weight", True)):
        torch.manual_seed(0)
        model = Images()
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        done = initlab.initialize(model, "auto", data=[(FOREIGN["images"][1], RARE)], keep=(keep,))
        assert torch.equal(model.get_parameter(keep), before[keep])
        assert any("imbalanced" in n for n in done.notes) is told


@pytest.mark.parametrize("scheme", ["edge_of_chaos", "auto_init", "lsuv"])
def test_schemes_that_rescale_spare_what_is_kept(scheme: str) -> None:
    x = 3 * normal(64, 6)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 50), nn.GELU(), nn.Linear(50, 50), nn.GELU(), nn.Linear(50, 3))
    before = [p.detach().clone() for p in model.parameters()]
    initlab.initialize(model, scheme, data=[(x, torch.arange(64) % 3)], keep=("0.weight", "2.weight"))
    assert [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)][0:3:2] == [True, True]
    assert not torch.equal(before[4], model[4].weight)


# ------------------------------------------------------------------ refusals
def test_it_needs_data() -> None:
    with pytest.raises(ConfigError, match="init=auto: needs data"):
        initlab.initialize(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "auto")


def test_parameters_that_nobody_knows_are_told_by_name() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset, self.head = nn.Parameter(torch.ones(6)), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.atan2(x, self.offset))

    data = [(normal(16, 6), torch.arange(16) % 3)]
    with pytest.raises(UnclaimedParameterError, match="offset"):
        initlab.initialize(Table(), "auto", data=data)
    done = initlab.initialize(Table(), "auto", data=data, keep=("offset",))
    assert done.rules["offset"] == "kept"


def test_fixup_is_a_candidate_where_its_branches_can_wake() -> None:
    """Of tanh, which has a slope at zero, unlike the ReLU for which fixup is refused above."""
    p = prepared(*NETWORKS["residual mlp"], "activation=tanh", "init=auto")
    assert refused(p.initialised.notes) == {} and "fixup" in p.initialised.notes[1]
