"""Finds the claims: experiments of `conf/experiment/papers/`, of plug-ins and of the command line's folders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from initlab import config as configuration
from initlab.config.compose import resolve
from initlab.config.searchpath import folders_of, typed_searchpath
from initlab.core.plugins import conf_dirs
from initlab.errors import ConfigError, UnknownNameError, one_of
from initlab.papers.arms import check_arms
from initlab.papers.claim import Claim
from initlab.papers.measures import MEASURES
from initlab.papers.read_claim import read_claim

GROUP = "papers"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
#: keys of a study that say where it is kept and who works on it
_WHERE = ("name", "storage", "workers", "engine", "ray_address", "cpus", "gpus", "timeout", "rerun")
#: of each arm in a quick look, at most
QUICK_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A claim, and the experiment that it belongs to.

    Attributes:
        claim: what is tested.
        seeds: of each arm, from `FIRST_SEED` on.
        log_every: updates between two training records of its runs.
        computation: a hash of what its runs compute, measure and search: a change makes them other runs.
    """

    claim: Claim
    seeds: int
    log_every: int
    computation: str


def claim_names() -> list[str]:
    """Names of all claims, sorted.

    Raises:
        ConfigError: a file's name cannot be the name of a study; two folders have a claim of the same name (Hydra
            would read only one of them).
    """
    files = _files()
    for name, same in files.items():
        if len(same) > 1:
            both = " and ".join(str(f.parent) for f in same)
            raise ConfigError(
                f"experiment/{GROUP}/{name}.yaml",
                None,
                f"there are two files of this name, in {both}; rename one of them",
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"experiment/{GROUP}/{name}.yaml", None, "a claim's name has letters, digits, _ and - alone"
            )
    return sorted(files)


def choose(words: Sequence[str]) -> list[str]:
    """The claims that are named, or all.

    Raises:
        UnknownNameError: naming the valid ones.
    """
    known = claim_names()
    for word in words:
        if word not in known:
            raise UnknownNameError(f"papers {word}: no such claim; {one_of(known, word)}")
    return list(dict.fromkeys(words)) or known


def read_listed(name: str) -> Claim:
    """The claim as its file says it, without the experiment around it, which takes a third of a second to compose.

    Raises:
        ConfigError: as `read_entry`.
    """
    text = _files()[name][0].read_text(encoding="utf-8", errors="replace")
    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if "@package _global_" in text[:200] and "claim" in tree:
            return read_claim(name, tree["claim"], measures=sorted(MEASURES))
    except (yaml.YAMLError, TypeError, ConfigError):
        pass
    # its claim comes from another file, or has numbers that only Hydra reads as such, or the error is told
    return read_entry(name).claim


def read_entry(name: str, *, quick: bool = False, seeds: int | None = None) -> Entry:
    """Compose the experiment of a claim and read what it says.

    Args:
        name: of the file.
        quick: with its overrides for a quick look.
        seeds: of each arm; None for those of the claim, 3 at most where `quick`.

    Raises:
        ConfigError: the file does not compose, or says no claim.
    """
    try:
        config = configuration.compose([f"experiment={GROUP}/{name}"])
    except yaml.YAMLError as error:
        raise ConfigError(
            f"experiment/{GROUP}/{name}.yaml", None, f"cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    node = configuration.plain_node(config, "claim")
    if not node:
        raise ConfigError(
            f"{name}: claim", None, "is missing: a claim's experiment says what it claims, docs/papers.md"
        )
    claim = read_claim(name, node, measures=sorted(MEASURES))
    if not quick or claim.quick is not None:
        check_arms(claim, quick=quick)
    own = min(claim.seeds, QUICK_SEEDS) if quick else claim.seeds
    plain = resolve(config)
    return Entry(
        claim=claim, seeds=seeds or own, log_every=int(plain["trainer"]["log_every"]), computation=_computation(plain)
    )


# ------------------------------------------------------------------ pieces
def _files() -> dict[str, list[Path]]:
    """Name → its files, of which there should be one, sorted by name."""
    places = {Path(p).resolve() for p in (*conf_dirs(), *folders_of(typed_searchpath()))}
    found: dict[str, list[Path]] = {}
    for file in sorted(f for p in places for f in Path(p, "experiment", GROUP).glob("*.yaml")):
        found.setdefault(file.stem, []).append(file)
    return dict(sorted(found.items()))


def _computation(tree: Mapping[str, Any]) -> str:
    study = {k: v for k, v in tree["study"].items() if k not in _WHERE}
    observed = {k: tree.get(k) for k in ("seed", "probes")}
    return json.dumps([configuration.arm_hash(tree), study, observed], sort_keys=True, default=str)
