"""`python -m initlab papers`: tests claims of papers by small studies and says which of them reproduce."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.arguments import flags_last
from initlab.cli.folders import output_folder, write_page
from initlab.cli.json_output import is_asked, print_json
from initlab.cli.sizes import one_number, say_progress, whole_number
from initlab.core.error_line import print_notice
from initlab.core.redact import redact_passwords
from initlab.core.signals import interruptible
from initlab.core.version import __version__
from initlab.errors import ConfigError, InitlabError
from initlab.papers.catalog import Entry, choose, read_entry, read_listed
from initlab.papers.claim import FIRST_SEED
from initlab.papers.document import as_fields, lines_of, listed_fields, markdown, summary
from initlab.papers.figure import figure_of
from initlab.papers.judge import Judged, judge
from initlab.papers.page import papers_page
from initlab.papers.studies import Done, Job, work_off
from initlab.report.note import shell_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments

PAGE, MARKDOWN, FIGURES = "papers.html", "papers.md", "papers"


def papers_command(config: DictConfig, arguments: Arguments) -> int:
    """Test the claims. Returns 0 where each was judged, whatever the verdicts; 1 where one was not, or at a stop."""
    as_json, out, quick = is_asked(arguments), output_folder(arguments), _flag(arguments, "quick")
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "the studies' runs are read from the store; leave out tracking=none")
    names = choose(arguments.words)
    if _flag(arguments, "list"):
        return _list(names, as_json=as_json)
    seeds = one_number("seeds", arguments.given["seeds"]) if arguments.given.get("seeds") else None
    if seeds == 1:
        raise ConfigError("seeds", 1, "must be 2 or more: one seed tells nothing of the spread")
    first = whole_number("seed", arguments.given["seed"]) if arguments.given.get("seed") else FIRST_SEED
    jobs_at_a_time = one_number("jobs", arguments.given.get("jobs") or str(min(8, os.cpu_count() or 1)))
    entries = [read_entry(n, quick=quick, seeds=seeds) for n in names]
    left_out = [e.claim.name for e in entries if quick and e.claim.quick is None]
    entries = [e for e in entries if e.claim.name not in left_out]
    if left_out:
        print_notice(f"left out of a quick look, since they take longer: {', '.join(left_out)}")
    typed = tuple(flags_last(arguments.overrides))
    store = tracking.describe_location(tracking.readable_uri(settings, Path.cwd()))
    jobs = [
        Job(entry=e, part=p, quick=quick, seed=first, typed=typed, store=store) for e in entries for p in e.claim.parts
    ]
    progress = _Progress(entries, jobs, silent=as_json)
    begun = time.perf_counter()
    try:
        with interruptible():
            work_off(jobs, at_a_time=jobs_at_a_time, settings=settings, workdir=Path.cwd(), said=progress.take)
    except KeyboardInterrupt:
        say_progress("")
        print_notice(
            "stopped; the studies that ended are kept in .initlab/papers, and the same command goes on with the others"
        )
        return 1
    say_progress("")
    judged = sorted(progress.judged, key=lambda j: names.index(j.claim.name))
    given = [f"{k}={v}" for k, v in arguments.given.items() if k not in ("out", "json")]
    again = shell_line([*arguments.words, *given, *map(redact_passwords, typed)], "python -m initlab papers")
    files = [] if out is None or not judged else _write(out, judged, again=again, quick=quick)
    if as_json:
        fields = {"claims": [as_fields(j) for j in judged], "failed": progress.failed, "files": files}
        print_json("papers", {**fields, "seconds": round(time.perf_counter() - begun, 1)})
        return 1 if progress.failed else 0
    print(f"{summary(judged)}, in {(time.perf_counter() - begun) / 60:.1f} min")
    for name, why in progress.failed.items():
        print(f"! {name} was not judged: {why}")
    for file in files:
        print(f"written to {file}")
    if judged:
        print("Next: " + (f"{again} out=papers   (a page with figures)" if out is None else f"open {files[0]}"))
    return 1 if progress.failed else 0


# ------------------------------------------------------------------ pieces
class _Progress:
    """Collects the parts of each claim, and prints its verdict when the last one ends."""

    def __init__(self, entries: Sequence[Entry], jobs: Sequence[Job], *, silent: bool) -> None:
        self.judged: list[Judged] = []
        self.failed: dict[str, str] = {}
        self._open = {e.claim.name: [j for j in jobs if j.entry is e] for e in entries}
        self._done: dict[str, list[Done]] = {e.claim.name: [] for e in entries}
        self._jobs, self._ended, self._silent, self._begun = len(jobs), 0, silent, time.monotonic()

    def take(self, done: Done) -> None:
        self._ended += 1
        claim = done.job.entry.claim
        parts = self._done[claim.name]
        parts.append(done)
        if len(parts) == len(self._open[claim.name]):
            self._judge(claim.name, parts)
        minutes = (time.monotonic() - self._begun) / 60
        say_progress(f"{self._ended} of {self._jobs} studies and measurements, {minutes:.0f} min")

    def _judge(self, name: str, parts: Sequence[Done]) -> None:
        why = next((d.why for d in parts if d.why), "")
        try:
            if why:
                raise InitlabError(why)
            claim = parts[0].job.entry.claim
            made = judge(claim, [r for d in parts for r in d.rows], sum(d.seconds for d in parts))
        except InitlabError as error:
            self.failed[name] = str(error)
            say_progress("")
            print_notice(f"{name} was not judged: {error}")
            return
        self.judged.append(made)
        if not self._silent:
            say_progress("")
            print("\n".join(lines_of(made)), flush=True)


def _flag(arguments: Arguments, name: str) -> bool:
    """Whether ``--name`` was typed.

    Raises:
        ConfigError: for a value that is neither true nor false.
    """
    given = arguments.given.get(name, "false").lower()
    if given not in ("true", "false"):
        raise ConfigError(name, given, f"write --{name}, or {name}=true")
    return given == "true"


def _list(names: Sequence[str], *, as_json: bool) -> int:
    claims = [read_listed(n) for n in names]
    if as_json:
        print_json("papers", {"claims": [listed_fields(c) for c in claims]})
        return 0
    for c in claims:
        kinds = " and ".join(sorted({"measurement" if p.measure else "study" for p in c.parts}))
        print(f"{c.name}: {c.says}\n    {c.paper}")
        print(f"    {kinds}, {c.seeds} seeds, about {c.seconds:.0f} s of one core")
    print(f"Next: python -m initlab papers {names[0]}")
    return 0


def _write(out: Path, judged: Sequence[Judged], *, again: str, quick: bool) -> list[str]:
    """The page, the Markdown and the figures, below `out`."""
    files = [str(write_page(out, PAGE, papers_page(judged, again=again)))]
    figures: dict[str, str] = {}
    for j in judged:
        drawn = figure_of(j)
        if drawn is not None:
            write_page(out / FIGURES, f"{j.claim.name}.svg", drawn.standalone())
            figures[j.claim.name] = f"{FIGURES}/{j.claim.name}.svg"
    kind = "A quick look, with smaller studies" if quick else "Measured"
    about = f"{kind} with initlab {__version__} on {datetime.now(UTC):%Y-%m-%d}; written by `{again}`."
    files.append(str(write_page(out, MARKDOWN, markdown(judged, figures=figures, about=about))))
    return files
