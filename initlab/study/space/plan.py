"""Plan of a study, frozen in a folder: every later worker reads it only from there.

The folder holds `plan.json` and a copy of the configuration files, so that editing a YAML file while a study
runs does not change it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from initlab.config.searchpath import copied_places, copy_places
from initlab.core import durable
from initlab.core.redact import has_password
from initlab.core.version import __version__
from initlab.spec import StudySettings
from initlab.study.space.objectives import Direction, Directions, as_direction, each
from initlab.study.space.place import FORMAT, absolute_url, check_format, original_of, place_of, relative_url
from initlab.study.space.space import Space

STUDIES = Path(".initlab") / "studies"
_PLAN, _CONF, _ADDED, _ARMS = "plan.json", "conf", "searchpath", "arms"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The resolved settings of a study.

    Attributes:
        name: of the study, also in the storage and as tag ``initlab.study``.
        folder: of the plan and of the study's files.
        workdir: where runs are recorded.
        settings: as configured, with metric and direction resolved.
        space: the search space.
        seed: of the first replica; replica r has seed + r.
        replicas: seeds an arm is trained with.
        storage: URL of Optuna's database.
        parent: MLflow run id of the study's own run, empty where nothing is tracked.
        epochs: of a run; hyperband divides them.
        seconds: time limit after which no arm is started, None for no limit.
        searchpath: places of configuration files that the command line added, see `initlab.config.searchpath`.
        id: of this study and no copy of it; empty in a plan of before.
        version: of the initlab that wrote the plan last.
    """

    name: str
    folder: Path
    workdir: Path
    settings: StudySettings
    space: Space
    seed: int
    replicas: int
    storage: str
    parent: str = ""
    epochs: int = 0
    seconds: float | None = None
    searchpath: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: str = __version__

    @property
    def conf(self) -> Path:
        """The copy of the configuration files."""
        return self.folder / _CONF

    @property
    def added_conf(self) -> Path:
        """The copies of the folders in `searchpath`."""
        return self.folder / _ADDED

    @property
    def places(self) -> tuple[str, ...]:
        """The search path by which arms are composed: the study's own copies.

        Raises:
            ConfigError: a copy is missing.
        """
        return copied_places(self.searchpath, self.added_conf)

    @property
    def endless(self) -> bool:
        """Whether only its time limit ends it: workers then create an arm when they claim one."""
        return self.settings.sampler != "grid" and self.settings.trials is None

    @property
    def metrics(self) -> tuple[str, ...]:
        """One, or all of a study with several objectives, the first one first."""
        return each(self.settings.metric)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of each metric."""
        return tuple(as_direction(d) for d in each(self.settings.direction))

    @property
    def direction(self) -> Directions:
        """Of the one metric, or of each of several."""
        return self.directions[0] if len(self.directions) == 1 else self.directions

    @property
    def maximises(self) -> bool:
        """Whether a larger value of the first metric is better."""
        return self.directions[0] == "maximize"

    def arm_config_path(self, arm: Mapping[str, str]) -> Path:
        """Path of the composed configuration of an arm; it need not exist."""
        typed = json.dumps(self.space.overrides(dict(arm)))
        name = hashlib.blake2b(typed.encode(), digest_size=8).hexdigest()
        return self.folder / _ARMS / f"{name}.json"

    def save(self) -> None:
        """Write `plan.json`, completely or not at all; readable by its owner only where a URL in it has a password."""
        temporary = self._written()
        durable.replace(temporary, self.folder / _PLAN)

    def create(self) -> bool:
        """As `save`, of a new study. False where another process was faster, whose plan it is then."""
        temporary = self._written()
        try:
            durable.sync_file(temporary)
            os.link(temporary, self.folder / _PLAN)
            durable.sync_folder(self.folder)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def freeze(self, conf: Path, *, anew: bool = False) -> None:
        """Copy the configuration files, those of `searchpath` too, where there is no copy yet.

        Args:
            conf: initlab's own.
            anew: whether copies that are there are of a former attempt, which began no study.
        """
        copies = (
            (self.conf, lambda target: shutil.copytree(conf, target, dirs_exist_ok=True)),
            (self.added_conf, lambda target: copy_places(self.searchpath, target)),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        for home, copy in copies:
            if anew and home.exists() and not (self.folder / _PLAN).exists():
                shutil.rmtree(home)
            if not home.exists() and (home != self.added_conf or self.searchpath):
                temporary = Path(tempfile.mkdtemp(prefix=f"{home.name}.", suffix=".tmp", dir=self.folder))
                copy(temporary)  # a search path of packages alone has nothing to copy
                temporary.chmod(0o755)
                for file in temporary.rglob("*"):  # a plan names the configuration that it was made with
                    if file.is_file():
                        durable.sync_file(file)
                try:
                    temporary.rename(home)
                except OSError:  # another process was faster; a folder that holds something is not replaced
                    shutil.rmtree(temporary)
                    if not home.exists():
                        raise

    def _written(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain |= {"settings": asdict(self.settings), "space": self.space.as_json()}
        plain["storage"] = relative_url(self.storage, self.workdir)
        plain["settings"]["storage"] = relative_url(self.settings.storage or "", self.workdir) or None
        plain |= {"version": __version__, "format": FORMAT, "place": place_of(self.folder)}
        text = json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}, indent=1)
        descriptor, name = tempfile.mkstemp(prefix=f"{_PLAN}.", suffix=".tmp", dir=self.folder)  # of mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if not has_password(text):
            Path(name).chmod(0o644)
        return Path(name)


def load(folder: Path) -> Plan | None:
    """The plan of a study, None where `folder` holds none."""
    file = folder / _PLAN
    if not file.is_file():
        return None
    plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    check_format(plain, _KEYS, file)
    former = Path(plain["workdir"])
    # where it was found: another machine may see the same folder at another place
    plain |= {"folder": folder.absolute(), "workdir": former}
    if folder.absolute().parent.parts[-2:] == STUDIES.parts:
        plain["workdir"] = folder.absolute().parents[2]
    settings: dict[str, Any] = {k: _tuple(v) for k, v in plain["settings"].items()}
    if settings.get("storage"):
        settings["storage"] = absolute_url(settings["storage"], plain["workdir"], former)
    plain["storage"] = absolute_url(plain["storage"], plain["workdir"], former)
    plain |= {"id": plain.get("id", ""), "version": plain.get("version", "")}
    plain["settings"] = StudySettings(**settings)
    plain["space"] = Space.from_json(plain["space"])
    plain["searchpath"] = tuple(plain.get("searchpath") or ())
    return Plan(**{k: v for k, v in plain.items() if k not in ("format", "place")})


def copied_from(folder: Path) -> Path | None:
    """The folder of the study that the one in `folder` is a copy of, None where it is the original, moved or not."""
    return original_of(folder, _PLAN)


#: keys of plan.json
_KEYS = frozenset({f.name for f in fields(Plan)} | {"format", "place"})


def _tuple(value: Any) -> Any:
    """Lists to tuples, since JSON has lists only."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def folder_of(workdir: Path, name: str) -> Path:
    """Folder of the study `name`."""
    return workdir / STUDIES / name


def as_overrides(arm: Mapping[str, str]) -> str:
    """An arm as overrides in one line."""
    return " ".join(f"{k}={v}" for k, v in arm.items())
