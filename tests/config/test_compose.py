"""Every file composes and builds; every mistake is told by key, value and what is valid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from initlab import config
from initlab.config.hydra_errors import translate
from initlab.errors import ConfigError, InitlabError
from initlab.spec import IO
from tests.cases import experiment
from tests.cli.driver import initlab

#: what a file needs besides its own name to build something
NEEDS = {
    ("data", "image_folder"): ["data.path=."],
    ("data", "hf_folder"): ["data.path=."],
    ("data", "hf_audio"): ["data.path=."],
    ("data", "hf_text"): ["data.path=."],
    ("data", "npz"): ["data.path=nowhere.npz"],
    ("data", "table"): ["data.path=nowhere.csv"],
    ("data", "audio_folder"): ["data.path=."],
    ("data", "text_file"): ["data.path=nowhere.txt"],
    ("data", "wikitext2"): ["data.path=."],
    ("data", "ptb"): ["data.path=."],
    ("model", "torchvision"): ["model.name=resnet18"],
}
#: data of other tasks than image, by the package of their factory
TASKS = ("speech", "text", "synthetic")
IMAGE, WORDS = IO(input_shape=(3, 32, 32), classes=7), IO(input_shape=(13, 40), classes=7)
WAVE, TOKENS = IO(input_shape=(1, 8000), classes=7), IO(input_shape=(16,), classes=7, vocabulary=7, per_step=True)
#: what a model takes, where that is no image
TAKES = {
    "speech": WORDS, "speech_cnn": WORDS, "tdnn": WORDS, "crnn": WORDS, "m5": WAVE, "text": TOKENS, "lstm": TOKENS,
    "gpt": TOKENS, "gru": TOKENS, "rnn": TOKENS, "irnn": TOKENS, "synthetic": WORDS,
}  # fmt: skip
FILES = [(group, name) for group, names in config.groups().items() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), FILES, ids=[f"{g}={n}" for g, n in FILES])
def test_every_file_composes_and_builds(group: str, name: str) -> None:
    e = experiment(f"{group}={name}", *_task_of(group, name), *NEEDS.get((group, name), []))
    e.optimizer([{"params": [torch.nn.Parameter(torch.zeros(2))]}])
    assert 0 <= e.lr_schedule(0, 10) <= 1
    first = e.activation.sequence(len(e.activation.layers) or 1)[0]
    units = first.units_before(8)
    assert first.make(units)(torch.ones(3, units)).shape == (3, 8)
    if group == "model":
        io = TAKES.get(name, IMAGE)
        model = e.model(io, e.activation)
        model.eval()
        x = torch.zeros(2, *io.input_shape, dtype=torch.int64 if io.vocabulary else torch.float32)
        with torch.no_grad():
            assert model(x).shape == ((2, 16, 7) if io.per_step else (2, 7))


def _task_of(group: str, name: str) -> list[str]:
    text = (config.conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    task = next((t for t in TASKS if group == "data" and (f"initlab.tasks.{t}." in text or name == t)), None)
    return [] if task is None else [f"task={task}"]


def test_every_file_says_what_it_is() -> None:
    for path in config.conf_dir().rglob("*.yaml"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), path


@pytest.mark.parametrize(
    "formula", ["x*tanh(softplus(x))", "where(x > 0, x, 0.1*x)", "max(x, 0)**2", "'x*x'", '"x - 1"']
)
def test_a_formula_is_typed_as_it_is(formula: str) -> None:
    decided = experiment("activation=expr", f"activation.f={formula}")
    assert decided.params["activation.f"] == formula.strip("'\"")


@pytest.mark.parametrize("text", ["train/loss<=0.3", "'train/loss<=0.3'", '"train/loss<=0.3"', "train/loss <= 0.3"])
def test_a_target_is_typed_as_it_is(text: str) -> None:
    assert experiment(f"trainer.until={text}").trainer.until in ("train/loss<=0.3", "train/loss <= 0.3")
    assert experiment("trainer.until=null").trainer.until is None


def test_a_hostile_formula_is_refused_by_key() -> None:
    for formula in ("__import__('os').getcwd()", "x.data", "(lambda: x)()", "x**9999"):
        with pytest.raises(ConfigError, match=r"^activation\.f="):
            experiment("activation=expr", f"activation.f={formula}")


def test_the_pages_count_what_is_there() -> None:
    root = Path(__file__).parents[2]
    readme, choices = ((root / p).read_text(encoding="utf-8") for p in ("README.md", "docs/choices.md"))
    for group, page, words in (("init", "inits", "initialisers"), ("activation", "activations", "activations")):
        files = set(config.groups()[group]) - {"default"}  # stands for one of the others
        assert f": {len(files)} in [`{page}.md`]" in choices and f"{len(files)} {words}" in readme


def test_a_task_brings_its_data_and_model_and_both_can_be_overridden() -> None:
    plain = experiment("task=image")
    assert (plain.params["data"], plain.params["model"]) == ("digits", "cnn")
    other = experiment("task=image", "data=mnist_mini", "model=mlp")
    assert (other.params["data"], other.params["model"]) == ("mnist_mini", "mlp")


def message(*overrides: str) -> str:
    try:
        experiment(*overrides)
    except InitlabError as error:
        assert error.exit_code == 2
        return str(error)
    except Exception as error:
        ours = translate(error, list(overrides))
        assert ours is not None and ours.exit_code == 2, error
        return str(ours)
    pytest.fail(f"{overrides} was accepted")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["init=hee"], ["init=hee", "xavier", "did you mean he?"]),
        (["init.gain=-1"], ["init.gain=-1", "greater than 0", "auto"]),
        (["init.mode=fanin"], ["init.mode=fanin", "'fan_in', 'fan_out' or 'fan_avg'", "did you mean fan_in?"]),
        (["model=mlp", "model.depth=0"], ["model.depth=0", "greater than 0"]),
        (["model=mlp", "model.depth=two"], ["model.depth=two", "valid integer"]),
        (["model=mlp", "model.depht=2"], ["model.depht=2", "unknown key", "did you mean depth?"]),
        (["model=resnet", "model.depth=21"], ["model.depth=21", "20"]),
        (["optimizer.lr=0"], ["optimizer.lr=0", "greater than 0"]),
        (["optimizer.lr=abc"], ["optimizer.lr=abc", "number"]),
        (["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"], ["optimizer.nesterov", "momentum"]),
        (["lr_schedule=step", "lr_schedule.milestones=[0.7,0.2]"], ["lr_schedule.milestones", "ascend"]),
        (["trainer.epochs=true"], ["trainer.epochs=True", "integer"]),
        (["trainer.precision=fp16", "device=cpu"], ["trainer.precision=fp16", "GPU"]),
        (["trainer.until=val/perplexity<=2"], ["trainer.until=val/perplexity<=2", "train/accuracy, train/loss, val/"]),
        (["trainer.until=val/accuracy>0.9"], ["trainer.until=val/accuracy>0.9", "<= or >="]),
        (["trainer.until=0.9"], ["trainer.until=0.9", "<= or >="]),
        (["seed=-1"], ["seed=-1", "0 or greater"]),
        (["device=tpu"], ["device=tpu", "cuda"]),
        (["threads=0"], ["threads=0"]),
        (["data.val_fraction=1.5"], ["data.val_fraction=1.5"]),
        (["foo=1"], ["foo=1", "unknown key", "model"]),
        (["init=[he"], ["init=[he", "override"]),
        (["model._target_=os.system"], ["model._target_=os.system", "initlab."]),
        (["model._target_=initlab.models.nothing"], ["model._target_", "cannot be imported"]),
        (["resume=abc", "tracking=none"], ["resume=abc", "tracking"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) and "=" in v[0] else None,
)
def test_a_mistake_is_told_by_key_value_and_what_is_valid(overrides: list[str], parts: list[str]) -> None:
    told = message(*overrides)
    assert "\n" not in told
    for part in parts:
        assert part in told, told


def test_the_arm_is_the_configuration_without_its_seed() -> None:
    base = experiment("init=he")
    assert base.arm == experiment("init=he", "seed=7").arm
    assert base.arm == experiment("init=kaiming", "probes=none", "tracking.experiment=other", "threads=1").arm
    assert len({base.arm, experiment("init=xavier").arm, experiment("optimizer.lr=0.002").arm}) == 3


@pytest.mark.process
def test_a_third_partys_factory_on_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own package, its own YAML, checked by its own annotations; nothing of initlab is touched."""
    package = tmp_path / "mylab"
    (package / "conf" / "init").mkdir(parents=True)
    for folder in (package, package / "conf"):
        (folder / "__init__.py").write_text("")
    (package / "conf" / "init" / "mine.yaml").write_text("# mine\n_target_: mylab.mine.mine\nscale: 2.0\n")
    (package / "mine.py").write_text(
        "from initlab.spec import PositiveFloat\nfrom initlab.inits import he\n"
        "def mine(*, scale: PositiveFloat):\n    return he(gain=scale)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"hydra\.searchpath"):
        experiment("init._target_=mylab.mine.mine")
    plugin = ["hydra.searchpath=[pkg://mylab.conf]", "init=mine", "data=digits", "model=mlp", "trainer.epochs=1"]
    done = initlab(*plugin, "tracking=none", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    bad = initlab(*plugin, "tracking=none", "init.scale=-1", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert bad.returncode == 2 and "init.scale=-1: must be greater than 0" in bad.stderr
