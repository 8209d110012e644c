"""Inputs that somebody with bad intentions would make: no code runs, nothing else is touched, each is told."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from initlab import config
from initlab.cli.compose import compose_and_run
from initlab.config.hydra_errors import translate
from initlab.errors import InitlabError
from initlab.operations.schedule.files import read_schedules
from initlab.tracking.read.reopen import reopen
from initlab.train.checkpoint import LAST, Checkpoints
from tests.cases import experiment
from tests.security import crafted
from tests.tracking.tracking_cases import settings

pytestmark = pytest.mark.slow


class Place:
    """Where a case plays: a working directory, a root of data, and a place that nobody may touch."""

    def __init__(self, root: Path) -> None:
        self.work, self.data, self.outside = (root / name for name in ("work", "data", "outside"))
        for folder in (self.work, self.data, self.outside):
            folder.mkdir()
        self.canary = root / "canary"
        (self.outside / "private.txt").write_text("a secret\n" * 50)
        crafted.png(self.outside / "private.png", 4, 4)

    def listing(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(self.outside.rglob("*")) if p.is_file()}


Case = Callable[[Place], object]
CASES: dict[str, tuple[Case, str]] = {}


def case(name: str, told: str) -> Callable[[Case], Case]:
    def keep(act: Case) -> Case:
        assert name not in CASES
        CASES[name] = (act, told)
        return act

    return keep


def composed(name: str, told: str, *overrides: str) -> None:
    """A case that is a command line; CANARY stands for a file that must not come to be."""

    def act(place: Place) -> object:
        return experiment(*(o.replace("CANARY", str(place.canary)) for o in overrides))

    case(name, told)(act)


# ------------------------------------------------------------------ what a configuration names
for number, target in enumerate(
    (
        "os.system", "subprocess.Popen", "builtins.eval", "torch.load", "torch.hub.load", "torch.ops.load_library",
        "torch.utils.cpp_extension.load_inline", "torch.package.PackageImporter", "torch.jit.load", "torch._C.parse_ir",
        "torch.nn.modules.module.os.system", "torch.nn.init.normal_", "torch.optim.optimizer.functools.partial",
        "torchvision.datasets.CIFAR10", "torchvision.models.get_model", "torch.serialization.load",
        "initlab.operations.schedule.child.Process", "initlab.tasks.download.fetch",
        "initlab.config.compose.hydra_compose",
        "initlab.api.anything", "initlab.models.zoo.import_module", "initlab.tasks.npz.__globals__",
        "hydra.utils.instantiate", "hydra._internal.instantiate._instantiate2.instantiate", "importlib.import_module",
        "initlabx.evil", "mylab.mine", "initlab..models.mlp", "initlab.models.mlp;x", "init", "",
    )
):  # fmt: skip
    composed(f"target {number} {target}", "model._target_", f"model._target_='{target}'")

composed("target of data", "data._target_", "data._target_=shutil.rmtree", "+data.path=CANARY")
composed("target that is a list", "model._target_", "model._target_=[os.system]")
composed("nested target", "_target_", "model=mlp", "+model.extra={_target_: os.system, command: 'touch CANARY'}")
composed("nested target in a list", "init", "init=he", "+init.extra=[{_target_: os.system}]")
composed("partial", "_partial_", "model=mlp", "+model._partial_=true")
composed("arguments by position", "_args_", "model=mlp", "+model._args_=[1]")
composed("trust of the standard library", "config.targets", "config.targets=[os]", "model._target_=os.system")
composed("a path as trust", "config.targets", "config.targets=['../x']")
composed("secret variable", "may hold a secret", "model=mlp", "model.width=${oc.env:AWS_SECRET_ACCESS_KEY}")
composed(
    "secret variable with a default", "may hold a secret", "tracking.run_name=${oc.env:MLFLOW_TRACKING_PASSWORD,x}"
)
composed(
    "formula that imports", "activation.f", "activation=expr", "activation.f=__import__('os').system('touch CANARY')"
)
composed("formula with an attribute", "activation.f", "activation=expr", "activation.f=x.__class__")
composed("formula that never ends", "activation.f", "activation=expr", "activation.f=9**9**9**9*x")
composed("formula of a million signs", "activation.f", "activation=expr", f"activation.f={'x+' * 500_000}x")
composed("init scheme that calls", "init.recurrent", "init=by_role", "init.recurrent=eval(a=1)")

# ------------------------------------------------------------------ sizes
composed("1e400", "finite", "optimizer.lr=1e400")
composed("epochs of 30 digits", "trainer.epochs", f"trainer.epochs={10**30}")
composed("batch of 20 digits", "batch_size", f"trainer.batch_size={10**20}")
composed("wide", "model.width", "model=mlp", f"model.width={10**12}")
composed("deep", "model.depth", "model=mlp", f"model.depth={10**9}")
composed("threads", "threads", f"threads={10**8}")
composed("seed", "seed", f"seed={10**23}")
composed("long list", "characters", "model=mlp", f"+model.hidden=[{','.join(['1'] * 1_000_000)}]")
composed("long text", "characters", "data=npz", f"data.path={'a' * 10_000_000}")
composed("nested deeply", "nested deeper", f"+tracking.tags={'[' * 3000}{']' * 3000}")


# ------------------------------------------------------------------ files of a stranger's configuration
def folder(name: str, told: str, content: str, *, file: str = "experiment/evil.yaml", typed: str = "") -> None:
    def act(place: Place) -> object:
        path = place.data / file
        path.parent.mkdir(parents=True)
        path.write_text(content.replace("CANARY", str(place.canary)), encoding="utf-8", errors="surrogateescape")
        place_ = f"hydra.searchpath=[file://{place.data}]"
        return compose_and_run([place_, typed or "experiment=evil"], lambda _: 0)

    case(name, told)(act)


_CALL = "{_target_: os.system, command: touch CANARY}"
folder("hydra callbacks", "hydra", f"# @package _global_\nhydra:\n  callbacks:\n    evil: {_CALL}\n")
folder("hydra logging", "hydra", "# @package _global_\nhydra: {job_logging: {handlers: {a: {(): os.system}}}}\n")
folder("hydra environment", "hydra", "# @package _global_\nhydra.job.env_set: {LD_PRELOAD: /tmp/x.so}\n")
folder("hydra by package", "hydra", f"# @package hydra.callbacks\nevil: {_CALL}\n")
folder("hydra by merge", "hydra", f"a: &a\n  hydra: {{callbacks: {{evil: {_CALL}}}}}\n<<: *a\n")
folder("hydra by default", "hydra", "defaults:\n  - override hydra/launcher: evil\n")
folder("hydra by folder", "hydra", f"evil: {_CALL}\n", file="hydra/callbacks/evil.yaml", typed="+hydra/callbacks=evil")
folder("aliases", "aliases", "a: [" + "*x," * 100 + "]\nx: &x 1\n")
folder("nesting", "nested", "a: " + "[" * 500 + "]" * 500)
folder("python tag", "cannot be read", "a: !!python/object/apply:os.system [touch CANARY]\n  b: -")
folder("two megabytes", "larger", "a: " + "b" * (2 << 20))
folder("no utf-8", "cannot be read", "a: \udcff\udcfe\n")


# ------------------------------------------------------------------ data
def data(place: Place, *overrides: str) -> object:
    found = experiment(*(o.replace("DATA", str(place.data)) for o in overrides))
    return found.task.open(seed=0, device=torch.device("cpu"))


def an_npz(name: str, told: str, make: Callable[[Place], object]) -> None:
    def act(place: Place) -> object:
        make(place)
        return data(place, "data=npz", "data.path=DATA/a.npz")

    case(name, told)(act)


_Y = crafted.npy(np.arange(4))
an_npz("npz: a pickle", "not an .npz", lambda p: crafted.pickled(p.data / "a.npz", p.canary))
an_npz(
    "npz: objects", "Python objects",
    lambda p: crafted.npz(p.data / "a.npz", x=crafted.npy(np.array([crafted.Bomb(p.canary)], dtype=object)), y=_Y),
)  # fmt: skip
an_npz(
    "npz: a shape of terabytes", "data.path",
    lambda p: crafted.npz(p.data / "a.npz", x=crafted.npy_header("(1000000000000, 8)"), y=_Y),
)  # fmt: skip
an_npz(
    "npz: a negative shape", "data.path", lambda p: crafted.npz(p.data / "a.npz", x=crafted.npy_header("(-4, 8)"), y=_Y)
)
an_npz(
    "npz: code in the header", "data.path",
    lambda p: crafted.npz(p.data / "a.npz", x=crafted.npy_header("__import__('os').system('touch x')"), y=_Y),
)  # fmt: skip
an_npz("npz: no numbers", "data.path", lambda p: crafted.npz(p.data / "a.npz", x=b"nothing", y=_Y))
an_npz("npz: a device", "does not exist", lambda p: (p.data / "a.npz").symlink_to("/dev/zero") and None)


@case("image: billions of pixels", "pixels")
def _(place: Place) -> object:
    for name in ("a", "b"):
        crafted.png(place.data / "im" / name / "1.png", 60_000, 60_000)
    return data(place, "data=image_folder", "data.path=DATA/im")


@case("image: just below Pillow's own limit", "pixels")
def _(place: Place) -> object:
    for name in ("a", "b"):
        crafted.png(place.data / "im" / name / "1.png", 9_000, 9_000)
    return data(place, "data=image_folder", "data.path=DATA/im")


@case("image: a pickle", "cannot be read as an image")
def _(place: Place) -> object:
    for name in ("a", "b"):
        crafted.pickled(place.data / "im" / name / "1.png", place.canary)
    return data(place, "data=image_folder", "data.path=DATA/im")


@case("image: a link to a private file", "leads out of")
def _(place: Place) -> object:
    for name in ("a", "b"):
        crafted.png(place.data / "im" / name / "1.png", 4, 4)
    (place.data / "im" / "a" / "2.png").symlink_to(place.outside / "private.png")
    return data(place, "data=image_folder", "data.path=DATA/im")


@case("image: a class that is a link", "leads out of")
def _(place: Place) -> object:
    crafted.png(place.data / "im" / "a" / "1.png", 4, 4)
    (place.data / "im" / "b").symlink_to(place.outside)
    return data(place, "data=image_folder", "data.path=DATA/im")


def sounds(name: str, told: str, make: Callable[[Path], object], *, suffix: str = "wav") -> None:
    def act(place: Place) -> object:
        for label in ("a", "b"):
            for number in range(3):
                make(place.data / "au" / label / f"{number}.{suffix}")
        cache = f"data.cache={place.work}"
        return data(place, "task=speech", "data=audio_folder", "data.path=DATA/au", "data.bad_files=error", cache)

    case(name, told)(act)


sounds("wav: four gigabytes promised", "data", lambda f: crafted.wav(f, promised=0xFFFFFFF0))
sounds("wav: no rate", "data", lambda f: crafted.wav(f, promised=128, rate=0))
sounds("wav: a rate of gigahertz", "data", lambda f: crafted.wav(f, promised=128, rate=4_000_000_000))
sounds("wav: a thousand channels", "data", lambda f: crafted.wav(f, promised=128, channels=2000))
sounds("flac: weeks promised", "promises", lambda f: crafted.flac(f, samples=(1 << 36) - 1), suffix="flac")


@case("wav: a link to a private file", "leads out of")
def _(place: Place) -> object:
    (place.data / "au" / "a").mkdir(parents=True)
    (place.data / "au" / "b").mkdir(parents=True)
    for label in ("a", "b"):
        (place.data / "au" / label / "x.wav").symlink_to(place.outside / "private.txt")
    return data(place, "task=speech", "data=audio_folder", "data.path=DATA/au")


@case("archive: gigabytes of zeros", "unfolds to")
def _(place: Place) -> object:
    home = place.data / "SpeechCommands" / "speech_commands_v0.02.tar.gz"
    crafted.swollen_tar(home, "left/a.wav", 300 << 20)
    return speech(place, home)


@case("archive: a path out of it", "data")
def _(place: Place) -> object:
    home = place.data / "SpeechCommands" / "a.tar.gz"
    outside = f"../../{place.outside.name}/new.wav"
    link = tarfile.TarInfo("left/link.wav")
    link.type, link.linkname = tarfile.SYMTYPE, str(place.outside / "private.txt")
    return speech(place, crafted.tar(home, [(tarfile.TarInfo(outside), b"x"), (link, b"")]))


@case("archive: a pickle", "data")
def _(place: Place) -> object:
    return speech(place, crafted.pickled(place.data / "SpeechCommands" / "a.tar.gz", place.canary))


def speech(place: Place, archive: Path) -> object:
    from initlab.tasks.speech.commands import Archive, _name_of  # pyright: ignore[reportPrivateUsage]
    from initlab.tasks.speech.corpus import read_corpus
    from initlab.tasks.speech.features import Features

    source = Archive(place=archive, name_of=lambda name: _name_of(name, words=None))
    found = read_corpus(source, Features(), folder=place.work)
    if not found.names:
        raise InitlabError(f"data.root={archive}: no recording in it can be read: {found.bad}")
    return found


@case("text: no utf-8", "data.path")
def _(place: Place) -> object:
    (place.data / "t.txt").write_bytes(b"\xff\xfd\x01" * 2000)
    return data(place, "task=text", "data=text_file", "data.path=DATA/t.txt")


@case("text: no utf-16 behind its mark", "data.path")
def _(place: Place) -> object:
    (place.data / "t.txt").write_bytes(b"\xff\xfe" + b"\x00\xdc" * 2000)
    return data(place, "task=text", "data=text_file", "data.path=DATA/t.txt")


@case("text: a folder", "data.path")
def _(place: Place) -> object:
    return data(place, "task=text", "data=text_file", "data.path=DATA")


@case("text: NUL in its name", "data.path")
def _(place: Place) -> object:
    return data(place, "task=text", "data=text_file", 'data.path="DATA/t\x00.txt"')


@case("traversal in the name of a data set", "data")
def _(place: Place) -> object:
    return data(place, "data=../../../etc/passwd")


# ------------------------------------------------------------------ checkpoints and runs
def checkpoint(name: str, make: Callable[[Place, Path], object]) -> None:
    def act(place: Place) -> object:
        make(place, place.work / LAST)
        model = torch.nn.Linear(2, 2)
        return Checkpoints(place.work).load_last(model, torch.optim.SGD(model.parameters(), lr=0.1))

    case(f"checkpoint: {name}", "checkpoint")(act)


_STATE = {"state": '{"step": 1}'}
checkpoint("a pickle", lambda p, f: crafted.pickled(f, p.canary))
checkpoint("a torch file", lambda p, f: torch.save({"x": crafted.Bomb(p.canary)}, f))
checkpoint("a header longer than the file", lambda _, f: crafted.safetensors(f, b"{}", length=1 << 60))
checkpoint("a header of a gigabyte", lambda _, f: crafted.safetensors(f, b"{}", length=1 << 30))
checkpoint("no state", lambda _, f: crafted.safetensors(f, {"__metadata__": {"a": "b"}}))
checkpoint("a state of something else", lambda _, f: crafted.safetensors(f, {"__metadata__": _STATE}))
checkpoint(
    "tensors beyond the file",
    lambda _, f: crafted.safetensors(
        f, {"__metadata__": _STATE, "w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    ),
)
checkpoint(
    "a negative shape",
    lambda _, f: crafted.safetensors(f, {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
)


for number, run_id in enumerate(("../../outside", "/etc/passwd", "a\0b", "'; DROP TABLE runs; --", "x" * 5000)):

    @case(f"resume {number}", "")
    def _(place: Place, run_id: str = run_id) -> object:
        return reopen(run_id, settings(f"sqlite:///{place.work}/mlflow.db"), workdir=place.work)


@case("resume: a run that says whom it trusts", "_target_")
def _(place: Place) -> object:
    """`joblib.load` unpickles; the package is there, and the run's own record says that somebody trusted it."""
    archive = crafted.pickled(place.data / "model.bin", place.canary)
    evil = f"model: {{_target_: joblib.load, filename: {archive}}}\nconfig: {{targets: [joblib]}}\n"
    saved = experiment().config_yaml
    config_of_run = OmegaConf.to_yaml(OmegaConf.merge(OmegaConf.create(saved), OmegaConf.create(evil)))
    typed = '# overrides: ["config.targets=[joblib]"]\n'
    merged = config.resume_config(typed + config_of_run, config.compose([]), [])
    return config.experiment(merged, overrides=config.saved_overrides(typed))


# ------------------------------------------------------------------ schedules
for number, (line, told) in enumerate(
    (
        ("run: ['init=he,xavier; touch CANARY']\nname: '; touch CANARY'", "name"),
        ("run: ['init=he,xavier', 'hydra/launcher=evil']", "run"),
        ("run: ['init=he,xavier', '--config-dir=/tmp']", "run"),
        ("run: ['init=he,xavier', \"a=b\\0c\"]", "run"),
        ("run: !!python/object/apply:os.system ['touch CANARY']", "cannot be read"),
        ("run: ['init=he,xavier']\ntimezone: ../../../../outside/private.txt", "timezone"),
        ("run: ['init=he,xavier']\nwebhook: gopher://127.0.0.1/", "webhook"),
        ("run: ['init=he,xavier']\nname: ../../outside/x", "name"),
    )
):

    @case(f"schedule {number}", told)
    def _(place: Place, line: str = line) -> object:
        (place.data / "s.yaml").write_text(f"cron: 0 2 * * *\n{line}\n".replace("CANARY", str(place.canary)))
        return read_schedules(place.data)


# ------------------------------------------------------------------ all of them
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_input_is_told_and_does_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act, told = CASES[name]
    place = Place(tmp_path)
    monkeypatch.chdir(place.work)
    monkeypatch.setenv("HOME", str(place.outside))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-environment")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # what Hydra keeps of a command line ends with the test
    before, beside = place.listing(), {p.name for p in tmp_path.iterdir()}
    with pytest.raises(Exception) as raised:
        act(place)
    error = raised.value
    ours = error if isinstance(error, InitlabError) else translate(error, [])  # type: ignore[arg-type]
    assert ours is not None, f"{type(error).__name__}: {str(error)[:300]}"
    text = str(ours)
    assert told in text and "s3cret" not in text, text[:500]
    assert not place.canary.exists()
    assert place.listing() == before and {p.name for p in tmp_path.iterdir()} == beside


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
