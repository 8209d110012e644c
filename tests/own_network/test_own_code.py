"""`GROUP._target_=package.Name` typed: arguments, what the data say, activations, initialisers, tasks, trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from initlab.config.own_targets import allow_new_keys, is_own, plain_keys, trust_typed_targets
from initlab.config.resume import saved_overrides
from initlab.errors import ConfigError
from initlab.models.own import OwnNetwork, of_data
from initlab.operations.schedule.files import read_schedules
from initlab.operations.schedule.validate import check
from initlab.report.note import shell_line
from initlab.run.prepare import Prepared, prepare
from initlab.spec import IO, Experiment
from tests.cases import experiment

pytestmark = pytest.mark.usefixtures("own")
DATA = ("data=digits", "tracking=none")


def typed(*overrides: str) -> Experiment:
    """What the command line makes of it."""
    return experiment(*trust_typed_targets([*DATA, *overrides]))


def model_of(name: str, *overrides: str) -> Any:
    return prepare(typed(f"model._target_=oddnets.{name}", *overrides)).model


def test_the_data_fill_usual_names_and_a_given_key_wins() -> None:
    assert model_of("Plain").given == {"in_features": 64, "num_classes": 10, "width": 8}
    assert model_of("Plain", "model.width=16").given["width"] == 16
    assert model_of("make", "model.width=7").given["width"] == 7
    assert model_of("Plain", "model.anything=3").given["anything"] == 3  # it takes **options
    with pytest.raises(ConfigError, match=r"gives \(2, 3\) for inputs of shape \(2, 1, 8, 8\).* ask for \(2, 10\)"):
        model_of("Plain", "model.num_classes=3")
    with pytest.raises(ConfigError, match=r"cannot take inputs of shape .*: RuntimeError: "):
        model_of("Plain", "model.in_features=3")


def test_what_the_data_say() -> None:
    image, vector = IO(input_shape=(3, 32, 32), classes=7), IO(input_shape=(5,), classes=7)
    steps, tokens = IO(input_shape=(13, 40), classes=7), IO(input_shape=(16,), classes=9, vocabulary=9, per_step=True)
    assert [of_data("in_channels", io) for io in (image, vector, steps, tokens)] == [3, None, 13, None]
    assert [of_data("input_size", io) for io in (image, vector, steps, tokens)] == [3072, 5, 13, None]
    assert [of_data("seq_len", io) for io in (image, vector, steps, tokens)] == [None, None, 40, 16]
    assert [of_data("img_size", io) for io in (image, vector, steps, tokens)] == [32, None, None, None]
    assert [of_data("vocab_size", io) for io in (image, tokens)] == [None, 9]
    assert of_data("input_shape", image) == (3, 32, 32) and of_data("num_classes", tokens) == 9
    assert of_data("width", image) is None


def test_functions_and_factories() -> None:
    assert isinstance(model_of("made"), nn.Sequential)
    assert isinstance(model_of("builder", "model.depth=2"), nn.Sequential)
    lazy = model_of("Lazy")
    assert lazy.inner.weight.shape == (12, 64) and not lazy.inner.bias.any()
    torchs = typed("model._target_=torch.nn.Linear", "model.out_features=10").model
    assert isinstance(torchs, OwnNetwork) and torchs.activation_key is None


def test_the_activation_comes_as_it_is_annotated() -> None:
    assert model_of("ByName", "activation=silu").given["named"] == "silu"
    assert model_of("ByLiteral", "activation=gelu").given["named"] == "gelu"
    for name in ("ByClass", "ByFactory", "ByFunction", "ByModule", "ByDefaultClass", "Required"):
        assert type(model_of(name, "activation=silu").act) is nn.SiLU, name
    assert model_of("ByClass", "activation=silu").given["again"] is not model_of("ByClass", "activation=silu").act
    assert model_of("Ours", "activation=silu").given["ours"].name == "silu"
    assert type(model_of("Required").act) is nn.ReLU  # it has no default: the customary one
    with pytest.raises(ConfigError, match=r"activation=silu: model.activation takes relu, gelu"):
        model_of("ByLiteral", "activation=silu")
    with pytest.raises(ConfigError, match="activation=glu: is not one function of a unit"):
        model_of("ByModule", "activation=glu")
    with pytest.raises(ConfigError, match=r"activation=gelu: is not taken by oddnets.Plain: give it a parameter"):
        typed("model._target_=oddnets.Plain", "activation=gelu")


def test_an_activation_that_nobody_named_is_the_networks_own() -> None:
    own, named = typed("model._target_=ownnet.Net"), typed("model._target_=ownnet.Net", "activation=relu")
    assert (own.params["activation"], named.params["activation"]) == ("own", "relu")
    assert own.arm != named.arm and own.name == "he-own-Net-digits-s0" and named.name == "he-relu-Net-digits-s0"
    assert "default_activation" in own.config_yaml


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["model._target_=oddnets.ByName", "model.widht=3"],
            r"model.widht=3: unknown key; choose from activation, in_",
        ),
        (["model._target_=ownnet.Net", "model.widht=3"], r"model.widht=3: unknown key; .*did you mean width"),
        (["model._target_=ownnet.Net", "model.width=x"], r"model.width=x: must be a valid integer"),
        (["model._target_=ownnet.Net", "model.width=99999999"], r"model.width=about 10\^8: is too large"),
        (["model._target_=oddnets.Needs"], r"model.depth: must be given: add model.depth="),
        (["model._target_=oddnets.Tokens"], r"model.vocab_size: is not known from the data .*add model.vocab_size="),
        (["model._target_=oddnets.Breaks"], r"model=oddnets.Breaks\(num_classes=10\): cannot be built: KeyError"),
        (["model._target_=oddnets.Pair"], r"model=oddnets.Pair: gives a tuple .*needs one tensor"),
        (["model._target_=oddnets.number"], r"model._target_=oddnets.number: gives a int"),
        (["model._target_=oddnets.Nothing"], r"model._target_=oddnets.Nothing: cannot be imported"),
        (["model._target_=nowhere.Net"], r"there is no package nowhere: run from the folder that holds it"),
        (["init._target_=oddnets.fill", "init.valeu=3"], r"init.valeu=3: unknown key; did you mean value"),
        (["init._target_=oddnets.half"], r"values that are not finite"),
        (["init._target_=oddnets.fails"], r"init._target_=fails: failed on .*weight of shape .*: KeyError"),
        (["init._target_=oddnets.unclear"], r"init.something: must be given"),
        (["init._target_=oddnets.number"], r"gives a int, and not an initlab.spec.Initializer"),
        (["task._target_=oddnets.no_task"], r"data=digits: is not used"),
    ],
)
def test_mistakes_get_a_sentence(overrides: list[str], words: str) -> None:
    from initlab.errors import InitlabError

    with pytest.raises(InitlabError, match=words) as told:
        prepare(typed(*overrides))
    assert told.value.exit_code in (1, 2) and "\n" not in str(told.value)


def test_functions_of_a_tensor_as_initialisers() -> None:
    def weights(*overrides: str) -> Prepared:
        return prepare(typed("model=mlp", "model.width=8", *overrides))

    filled = weights("init._target_=oddnets.fill", "init.value=0.25")
    for name, parameter in filled.model.named_parameters():
        assert bool((parameter == (0 if name.endswith("bias") else 0.25)).all()), name
    for name in ("random_", "returned"):
        before = torch.random.get_rng_state()
        first, again, other = (weights(f"init._target_=oddnets.{name}", f"seed={s}") for s in (1, 1, 2))
        assert torch.equal(before, torch.random.get_rng_state())
        a, b, c = ([p.detach() for p in each.model.parameters()] for each in (first, again, other))
        assert all(map(torch.equal, a, b)) and not torch.equal(a[0], c[0])
        assert not torch.equal(a[0][:, :8], a[2])
        assert float(a[0].std()) == pytest.approx(0.1, rel=0.2)


def test_functions_of_a_module_as_initialisers() -> None:
    made = [prepare(typed("model=mlp", "init._target_=oddnets.on_modules", f"seed={s}")) for s in (1, 1, 2)]
    first, again, other = (dict(m.model.named_parameters()) for m in made)
    assert float(first["head.weight"].detach().std()) == pytest.approx(0.01, rel=0.1)
    # what it leaves has the value of its module, the same under the same seed
    assert float(first["layers.0.weight"].detach().abs().max()) == pytest.approx(1 / 8, rel=0.01)
    for name, parameter in first.items():
        assert torch.equal(parameter, again[name]) and not torch.equal(parameter, other[name]), name
    notes = made[0].initialised.notes
    assert "on_modules set 1 of 6 parameters" in notes
    assert any(n.startswith("left by on_modules with the value of their module: layers.0.weight") for n in notes)


def test_a_task_that_brings_its_data() -> None:
    overrides = ["tracking=none", "task._target_=ownnet.Rings", "task.radii=3", "model._target_=ownnet.Net"]
    made = experiment(*trust_typed_targets(overrides))
    assert (made.params["task"], made.params["task.radii"], made.name) == ("rings", 3, "he-own-Net-Rings-s0")
    assert not any(k.startswith("data") or k == "task.label_smoothing" for k in made.params)
    assert prepare(made).splits.io.classes == 3
    with pytest.raises(ConfigError, match=r"task.radius=3: .*did you mean radii\? \(choose from examples, noise"):
        experiment(*trust_typed_targets([*overrides, "task.radius=3"]))


def test_a_function_of_an_installed_package_is_named_once_more() -> None:
    overrides = ["model._target_=timm.create_model", "model.model_name=resnet10t"]
    with pytest.raises(ConfigError, match=r"config.targets=\[timm\] where you trust it"):
        typed(*overrides)
    sizes = ["model.num_classes=10", "model.in_chans=1"]
    model = prepare(typed(*overrides, *sizes, "config.targets=[timm]")).model
    assert model.get_classifier().weight.shape[0] == 10
    with pytest.raises(ConfigError, match=r"model=timm.create_model: cannot take inputs of shape \(2, 1, 8, 8\)"):
        prepare(typed(*overrides, "config.targets=[timm]"))


# ------------------------------------------------------------------ keys and trust
def test_keys_of_ones_own_class_need_no_sign() -> None:
    words = ["model._target_=ownnet.Net", "+model.width=3", "init.gain=2", "-m", "~model.x"]
    signed = allow_new_keys(words)
    assert signed == ["++model._target_=ownnet.Net", "++model.width=3", "init.gain=2", "-m", "~model.x"]
    assert allow_new_keys(signed) == signed
    assert plain_keys(signed)[:2] == ["model._target_=ownnet.Net", "model.width=3"]
    assert shell_line(signed[:3]) == "python -m initlab model._target_=ownnet.Net model.width=3 init.gain=2"
    # a file that is chosen keeps its keys
    chosen = ["model=mlp", "model._target_=ownnet.Net", "model.width=3"]
    assert allow_new_keys(chosen) == chosen


def test_typing_the_name_of_a_package_of_ones_own_is_trust() -> None:
    assert trust_typed_targets(["model._target_=ownnet.Net"])[-1] == "config.targets=[ownnet]"
    both = trust_typed_targets(["config.targets=[mylab]", "model._target_=ownnet.Net,oddnets.Plain"])
    assert both[-1] == "config.targets=[mylab,oddnets,ownnet]" and len(both) == 2
    assert trust_typed_targets(both) == both


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.run", "joblib.load", "hydra.utils.instantiate", "torch.load", "initlab.cli.main"],
)
def test_others_are_not_trusted_by_typing(target: str) -> None:
    overrides = [f"model._target_={target}"]
    assert trust_typed_targets(overrides) == overrides and not is_own(target.partition(".")[0])
    with pytest.raises(ConfigError, match=r"^model._target_="):
        experiment(*trust_typed_targets([*DATA, *overrides]))


def test_a_file_that_holds_the_same_words_is_not_trusted(own: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.targets=\[ownnet\] where you trust it"):
        experiment(*DATA, "model._target_=ownnet.Net")
    # a record says what was typed once; whoever resumes it has to say it again
    record = typed("model._target_=ownnet.Net").config_yaml
    assert not any("config.targets" in o for o in saved_overrides(record))
    schedules = own / "schedules"
    schedules.mkdir()
    text = "cron: '0 3 * * *'\nrun: [model._target_=ownnet.Net, 'init=he,xavier', data=digits]\n"
    (schedules / "mine.yaml").write_text(f"# one\n{text}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: run.*config\.targets=\[ownnet\] where you trust it"):
        for schedule in read_schedules(schedules):
            check(schedule)
