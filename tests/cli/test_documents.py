"""Every command that the README, a page of docs/ or a comment of conf/ prints is typed, and ends with exit 0.

Names that a reader replaces (NAME, ID, FOLDER, DIR, ...) are replaced; trainings are cut to two updates, studies to two
trials, and networks that are only looked at to a small width, by overrides that follow what is printed. Commands that
serve until they are stopped, or need a second machine, are listed with the test that is about them.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.driver import initlab
from tests.own_network.conftest import EXAMPLE

ROOT = Path(__file__).parents[2]
PAGES = (
    *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "zh").glob("*.md")), *sorted((ROOT / "conf").rglob("*.yaml")),
)  # fmt: skip
#: what is not run here: a part of the command, and why
ELSEWHERE = {
    " server": "serves until it is stopped: tests/deploy",
    " ui": "serves until it is stopped: tests/tracking",
    " sync": "sends what waits for a server: tests/reliability",
    "HOST:PORT": "needs a server: tests/deploy",
    "tracking.uri=http": "needs a server: tests/deploy",
    "study.engine=ray": "needs a Ray cluster: tests/study",
    "study.storage=": "needs PostgreSQL: tests/study",
    "study.node": "needs several machines: tests/study",
    "/etc/initlab": "a service's folder: tests/schedule",
    " schedule run": "trains what the schedule's file says: tests/schedule",
    "resume=": "needs a run that was killed: tests/reliability",
    "--try": "trains the remedies: tests/advice",
    " report ": "the runs here have no page: tests/cli/test_report.py",
    " data mnist": "downloads: tests/tasks",
    "experiment=gpt_shakespeare_cpu": "its text must be downloaded: tests/advice",
    " completion": "prints a shell's script: tests/cli",
    "initlab papers": "trains for minutes: tests/papers",
}
#: exactly these: serves until it is stopped (tests/schedule), or is the name of a command in a sentence
EXACTLY = ("python -m initlab schedule", "python -m initlab -m", "python -m initlab compare")
CUT = ("trainer.max_steps=2", "tracking.report=false")
#: of the commands that train networks of several widths
SHORTER = {"transfer": ("steps=4", "seeds=1"), "coordcheck": ("widths=32,64,128", "seeds=2")}
#: presets whose data must be downloaded
DOWNLOADED = ("article_cifar10_relu_uniform", "article_image_sigmoid", "article_image_softmax", "article_mnist_cnn")


def printed() -> Iterator[str]:
    """The commands of all pages, continued lines joined, without the words behind them."""
    for page in PAGES:
        text = re.sub(r" *\\\n[# ]*", " ", page.read_text(encoding="utf-8"))
        for match in re.finditer(r"python -m initlab(?: [^\n`]*)?", text):
            yield _command_alone(match[0]).rstrip(" .,;)")


def _command_alone(line: str) -> str:
    """Without the words that follow it on the same line; what stands in quotes is part of the command."""
    for end in re.finditer(r" {3,}| \(|\s#|\||: | and | or ", line):
        before = line[: end.start()]
        if before.count("'") % 2 == 0 and before.count('"') % 2 == 0:
            return before
    return line


def _shown() -> list[tuple[str, str]]:
    """(command, output as the page shows it) of single runs and inspections in the README and the tutorial."""
    found: dict[str, list[str]] = {}
    for page in (ROOT / "README.md", ROOT / "docs" / "tutorial.md"):
        for block in re.findall(r"```\n(\$ .*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                words = shlex.split(command)[3:]
                if words[0] == "inspect" or (words[0] != "-m" and "=" in words[0]):
                    found.setdefault(command, []).append(output)
    return [(command, "\n".join(outputs)) for command, outputs in found.items()]


def commands() -> list[str]:
    found = sorted({c for c in printed() if "…" not in c and "..." not in c and "$" not in c and "<" not in c})
    shown = {command for command, _ in _shown()}  # these are typed as they stand below
    return [c for c in found if c not in shown and c not in EXACTLY and not any(part in c for part in ELSEWHERE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the commands take: a package, arrays, a study, a run, a schedule."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(EXAMPLE / "ownnet", folder / "ownnet", ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    np.savez(folder / "mine.npz", x=rng.normal(size=(120, 8, 8)).astype("float32"), y=np.arange(120) % 3)
    table = [f"{i % 7},{i * 5 % 11},{('oak', 'elm')[i % 2]}" for i in range(60)]
    (folder / "mine.csv").write_text("\n".join(["width,height,species", *table]), encoding="utf-8")
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), 20 * i).save(folder / "pictures" / name / f"{i}.png")
    (folder / "conf" / "schedule").mkdir(parents=True)
    (folder / "conf" / "schedule" / "nightly.yaml").write_text(
        "cron: '30 1 * * *'\ntimezone: UTC\nrun:\n  - init=he,xavier\n", encoding="utf-8"
    )
    small = ("init=he,xavier", "replicas=2", "data=digits", "model=mlp", *CUT)
    own = typed(next(c for c in commands() if "study.name=own" in c))
    for arms in ((*small, "study.name=ONE"), (*small, "activation=relu,tanh", "study.name=NAME"), own):
        done = initlab("-m", *(a for a in arms if a != "-m"), cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def typed(command: str) -> list[str]:
    """The words after `python -m initlab`, with names filled in and training cut short."""
    words = shlex.split(command)[3:]
    words = [w.replace("run=ID", "run=last").replace("mypkg.", "ownnet.") for w in words]
    words = [w.replace("to=FOLDER", "to=exported").replace("out=DIR", "out=drawn") for w in words]
    first = next((w for w in words if not w.startswith("-")), "")
    said = {w.split("=")[0]: w.split("=", 1)[1] for w in words if "=" in w}
    if first and "=" not in first:
        if "baseline=init=xavier" in words:
            words = [w.replace("NAME", "ONE") for w in words]
        shorter = SHORTER.get(first, ())
        words = [w for w in words if w.split("=")[0] not in {s.split("=")[0] for s in shorter}]
        narrow = first in ("advise", "inspect") and said.get("model") == "mlp" and "model.width" not in said
        return [*words, *shorter, *(["model.width=24"] if narrow else [])]
    words += CUT
    if said.get("experiment") in DOWNLOADED:
        words.append("data=mnist_mini")
    if said.get("experiment") == "fewshot_init":
        words += ["data.shots=1", "init=he,xavier", "activation=relu"]
    if "-m" in words:
        words = [w for w in words if not w.startswith("replicas=")] + ["data=digits"]
        words += [] if "model._target_" in said else ["model=mlp", "model.width=8"]
    if said.get("study") == "init_x_activation":
        words += ["init=he,xavier", "activation=relu"]
    if said.get("study") == "tpe":
        words.append("study.trials=2")
    return words


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", commands())
def test_a_printed_command_runs(folder: Path, command: str) -> None:
    if "run=" in command:  # the last run is one of a network, and not of few-shot draws
        assert initlab("data=digits", "model=mlp", *CUT, cwd=folder).returncode == 0
    done = initlab(*typed(command), cwd=folder)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_the_pages_print_commands() -> None:
    assert len(commands()) > 50


# ------------------------------------------------------------------ what the pages say is printed
def _without_numbers(text: str) -> str:
    return re.sub(r"-?\d[\d.e+-]*", "#", " ".join(text.split()))


@pytest.mark.process
@pytest.mark.parametrize(("command", "output"), _shown(), ids=[c for c, _ in _shown()])
def test_a_page_shows_what_is_printed(tmp_path: Path, command: str, output: str) -> None:
    """Verdicts, reasons and remedies word for word; numbers differ a little between processors."""
    done = initlab(*shlex.split(command)[3:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = _without_numbers(done.stdout + done.stderr)
    shown = [_without_numbers(part) for part in re.split(r"…|\.\.\.(?!\d)|\n(?=\S)|\n(?= {4}try)", output)]
    for part in shown:
        assert part.strip(" ;") in printed, part


def test_the_pages_show_outputs() -> None:
    assert len(_shown()) >= 3
