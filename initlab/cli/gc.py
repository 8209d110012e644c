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

#: lines of a kind
_SHOWN = 10


def gc_command(config: DictConfig, _arguments: Arguments) -> int:
    """Tell what may go, or take it away; 1 where something could not be."""
    tree = cast("dict[str, Any]", OmegaConf.to_container(config.gc, resolve=True))
    rules = section(Rules, {"gc": tree}, "gc")
    settings, workdir = configuration.tracking_settings(config), Path.cwd()
    going = find_candidates(rules, settings, workdir)
    if not going:
        print("nothing may go by the rules of gc (python -m initlab gc --cfg job shows them)")
        return 0
    for kind in dict.fromkeys(g.kind for g in going):
        _show([g for g in going if g.kind == kind], workdir)
    total = _size(sum(g.size for g in going))
    if not rules.apply:
        print(f"{total} in {len(going)} places may go; nothing was touched (apply=true takes it away)")
        return 0
    freed, failed = delete(going, workdir)
    print(f"{_size(freed)} freed")
    for line in failed:
        print(escape_control_characters(f"! not taken away: {line}"))
    return 1 if failed else 0


def _show(going: list[Candidate], workdir: Path) -> None:
    print(f"{going[0].kind}: {_size(sum(g.size for g in going))} in {len(going)} places")
    for one in going[:_SHOWN]:
        path = one.path.relative_to(workdir) if one.path.is_relative_to(workdir) else one.path
        print(escape_control_characters(f"  {_size(one.size):>10}  {path}  ({one.why})"))
    if len(going) > _SHOWN:
        print(f"  … {len(going) - _SHOWN} more")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
