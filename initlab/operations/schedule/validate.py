"""Validates the overrides of a schedule by composing its study before the scheduler starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from initlab import config as configuration
from initlab.config.hydra_errors import translate
from initlab.errors import ConfigError, InitlabError
from initlab.operations.schedule.files import Schedule
from initlab.spec import TrackingSettings
from initlab.study.space.space import Choice, Space, parse

#: maximum number of composed arms; they contain every value of every key once
_MAX_ARMS = 200


def check(schedule: Schedule) -> None:
    """Compose and build arms of the schedule's study, so that each value of each key is in one of them.

    Raises:
        ConfigError: naming the file, the override and what is accepted.
    """
    try:
        space = _space(schedule)
        if not space.dimensions:
            raise ConfigError("run", " ".join(schedule.run), "sweeps nothing: give a key several values")
        for number, arm in enumerate(_arms(space)):
            if number == _MAX_ARMS:
                break
            overrides = space.overrides(dict(arm))
            configuration.experiment(configuration.compose(overrides), overrides=overrides)
    except Exception as error:
        ours = error if isinstance(error, InitlabError) else translate(error, list(schedule.run))
        if ours is None:
            raise
        raise ConfigError(f"{schedule.file.name}: run", None, str(ours)) from error


def tracking_of(schedule: Schedule) -> TrackingSettings:
    """Tracking settings of the studies of a schedule."""
    return configuration.tracking_settings(configuration.compose(_fixed(schedule)))


# ------------------------------------------------------------------ pieces
def _fixed(schedule: Schedule) -> list[str]:
    """Overrides with a single value: those of the search itself, and those shared by all arms."""
    fixed = parse(schedule.run).fixed
    of_search = [o for o in schedule.run if o.lstrip("+~").partition("=")[0].partition(".")[0] in ("study", "replicas")]
    return [*fixed, *of_search]


def _space(schedule: Schedule) -> Space:
    config = configuration.compose(_fixed(schedule))
    settings = configuration.study_settings(config)
    configuration.replicas(config)
    configuration.tracking_settings(config)
    spanned = {str(k): str(v) for k, v in settings.space.items()}
    conditions = {k: {of: [str(v) for v in values] for of, values in c.items()} for k, c in settings.conditions.items()}
    keys = set(spanned) | {o.lstrip("+").partition("=")[0] for o in schedule.run}
    return parse(schedule.run, space=spanned, conditions={k: c for k, c in conditions.items() if k in keys})


def _arms(space: Space) -> Iterator[Mapping[str, str]]:
    """Arms that together contain every option of every key; a range is represented by its lower end."""
    options = {d.key: d.options if isinstance(d, Choice) else (f"{d.low:g}",) for d in space.dimensions}
    first = {key: values[0] for key, values in options.items()}
    for full in [first, *({**first, key: v} for key, values in options.items() for v in values[1:])]:
        # keys whose condition fails are left out
        single = tuple(Choice(key=key, options=(value,)) for key, value in full.items())
        yield from replace(space, dimensions=single).arms()
