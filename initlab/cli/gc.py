"""`python -m initlab gc`: lists what may be deleted to free disk space; apply=true deletes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import OmegaConf

from initlab import config as configuration
from initlab.config.instantiate import section
from initlab.core.error_line import escape_control_characters
from initlab.operations.gc import Candidate, Rules, delete, find_candidates

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments

#: candidates of a kind that are listed
_SHOWN = 10


def gc_command(config: DictConfig, _arguments: Arguments) -> int:
    """List what may be deleted, or delete it. Returns 1 where something could not be deleted."""
    tree = cast("dict[str, Any]", OmegaConf.to_container(config.gc, resolve=True))
    rules = section(Rules, {"gc": tree}, "gc")
    settings, workdir = configuration.tracking_settings(config), Path.cwd()
    candidates = find_candidates(rules, settings, workdir)
    if not candidates:
        print("nothing to delete by the rules of gc (python -m initlab gc --help shows them)")
        return 0
    for kind in dict.fromkeys(g.kind for g in candidates):
        _show([g for g in candidates if g.kind == kind], workdir)
    total = _size(sum(g.size for g in candidates))
    if not rules.apply:
        print(f"{total} in {len(candidates)} places can be deleted; nothing was touched (apply=true deletes them)")
        return 0
    freed, failed = delete(candidates, workdir)
    print(f"{_size(freed)} freed")
    for line in failed:
        print(escape_control_characters(f"! not deleted: {line}"))
    return 1 if failed else 0


def _show(candidates: list[Candidate], workdir: Path) -> None:
    print(f"{candidates[0].kind}: {_size(sum(g.size for g in candidates))} in {len(candidates)} places")
    for one in candidates[:_SHOWN]:
        path = one.path.relative_to(workdir) if one.path.is_relative_to(workdir) else one.path
        print(escape_control_characters(f"  {_size(one.size):>10}  {path}  ({one.why})"))
    if len(candidates) > _SHOWN:
        print(f"  … {len(candidates) - _SHOWN} more")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
