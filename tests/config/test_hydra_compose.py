"""A configuration that is made from a copy of the chosen files is the one that Hydra composes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from initlab import config as configuration
from initlab.config.hydra_compose import compose_values, compose_with_hydra
from initlab.core.plugins import conf_dir, conf_dirs

FILES = (
    "data=digits",
    "model=mlp",
    "model=rnn",
    "init=orthogonal",
    "task=speech",
    "activation=custom",
)
VALUES = (
    "seed=3", "model.depth=4", "optimizer.lr=0.1", "init.gain=2", "trainer.epochs=null", 'activation.f="x*tanh(x)"',
    "tracking.uri=sqlite:///a.db", "probes.extra=[a,b]", "++model.mine=3", "++model.mine={a: 1}", "model.depth=${seed}",
    "config={targets: [a]}", "trainer.epochs=???", "model.width=[1,2]", "model.width={a: 1}", "data.path='a b'",
)  # fmt: skip
OTHERS = (
    "+model.mine=3", "model={depth: 3}", "~init", "seed=1,2", "model.depht=2", "nope=3", "data=nope",
    "hydra.job.name=x", "seed={a: 1}", "hydra/job_logging=none", "model@other=mlp", "model.depth=(",
)  # fmt: skip


def by_hydra(overrides: list[str]) -> DictConfig | None:
    try:
        return compose_with_hydra(overrides, conf_dir(), ())
    except (HydraException, OmegaConfBaseException):
        return None


@pytest.mark.parametrize("number", range(30))
def test_it_is_what_hydra_composes_or_nothing(number: int) -> None:
    pick = random.Random(number)
    chosen = [*pick.sample(FILES, pick.randint(0, 2)), *pick.sample(VALUES, pick.randint(0, 3))]
    overrides = [*chosen, *pick.sample(OTHERS, pick.randint(0, 1))]
    pick.shuffle(overrides)
    want, got = by_hydra(overrides), compose_values(overrides, conf_dir(), (), conf_dirs())
    assert want is not None or got is None
    if got is not None:
        assert got == want
        assert list(got) == list(want)
        assert OmegaConf.to_yaml(got) == OmegaConf.to_yaml(want)
        assert OmegaConf.is_struct(got)


def test_values_are_set_in_a_copy() -> None:
    found = [compose_values(["model=mlp", f"model.depth={d}"], conf_dir(), (), conf_dirs()) for d in (3, 4)]
    assert [f.model.depth for f in found if f is not None] == [3, 4]
    plain = compose_values(["model=mlp"], conf_dir(), (), conf_dirs())
    assert plain is not None
    assert plain.model.depth == configuration.compose(["model=mlp"]).model.depth


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    place = (f"file://{tmp_path}",)
    file = tmp_path / "init" / "mine.yaml"
    file.parent.mkdir()
    for gain in ("1.5", "2.5"):
        file.write_text(f"_target_: initlab.inits.he\ngain: {gain}\n")
        composed = configuration.compose(["init=mine", "seed=7"], searchpath=place)
        assert (composed.init.gain, composed.seed) == (float(gain), 7)


def test_a_folder_of_many_other_files_is_not_gone_through(tmp_path: Path) -> None:
    """Nor one whose links lead back to it, or to nothing."""
    (tmp_path / "seed").mkdir()  # a group of this name would make `seed=3` a choice
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "mine.yaml").write_text("_target_: initlab.inits.he\n")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    searched = (*conf_dirs(), tmp_path)
    assert compose_values(["init=mine"], conf_dir(), (f"file://{tmp_path}",), searched) is None
    (tmp_path / "again").unlink()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    assert compose_values(["init=mine"], conf_dir(), (f"file://{tmp_path}",), searched) is None
    assert configuration.compose(["init=mine"], searchpath=[f"file://{tmp_path}"]).init._target_ == "initlab.inits.he"
