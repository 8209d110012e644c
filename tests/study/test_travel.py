"""Studies that are moved, copied, seen through a link or a mount, and plans of other versions of initlab."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from initlab.study.space.plan import folder_of, load
from tests.cli.driver import initlab
from tests.study.study_cases import TINY, broken, runs, states, the_study

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]
GRID = ("-m", *TINY, "study.name=s")


def begun(workdir: Path, *more: str) -> Path:
    home = workdir / "here"
    home.mkdir()
    done = initlab(*GRID, "init=he,xavier", *more, cwd=home)
    assert done.returncode == 0, done.stderr
    return home


def arms_of(home: Path) -> dict[str, int]:
    return dict(states(the_study(home)))


def moved(home: Path) -> Path:
    return home.rename(home.with_name("there"))


def moved_to_another_disk(home: Path) -> Path:
    shutil.copytree(home, home.with_name("there"))
    shutil.rmtree(home)
    return home.with_name("there")


def below_another_folder(home: Path) -> Path:
    (home.parent / "deep" / "er").mkdir(parents=True)
    return home.rename(home.parent / "deep" / "er" / "here")


def through_a_link(home: Path) -> Path:
    home.with_name("link").symlink_to(home)
    return home.with_name("link")


def through_a_mount(home: Path) -> Path:
    there = home.with_name("mount")
    there.mkdir()
    done = subprocess.run(["mount", "--bind", str(home), str(there)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting is not permitted here")
    return there


@pytest.mark.parametrize(
    "travel", [moved, moved_to_another_disk, below_another_folder, through_a_link, through_a_mount]
)
def test_a_study_goes_on_where_it_is_found(travel: Callable[[Path], Path], workdir: Path) -> None:
    home = begun(workdir)
    there = travel(home)
    try:
        done = initlab(*GRID, "init=he,xavier,lecun", cwd=there)
        assert done.returncode == 0 and "2 done before, 1 new" in done.stdout, done.stdout + done.stderr
        assert "copy" not in done.stderr
        assert broken(the_study(there), runs(there), arms=3, seeds=1) == []
        # nothing was made where it had been
        assert not home.exists() or home.samefile(there) or travel is through_a_mount
        worker = initlab("worker", "study=s", cwd=there)
        assert worker.returncode == 0, worker.stderr
    finally:
        if travel is through_a_mount:
            subprocess.run(["umount", "-l", str(there)], check=True)


def test_a_copy_is_a_study_of_its_own(workdir: Path) -> None:
    home = begun(workdir)
    there = home.with_name("there")
    shutil.copytree(home, there)
    joining = initlab("worker", "study=s", cwd=there)
    assert joining.returncode == 2 and "is a copy of" in joining.stderr
    before = (load(folder_of(home, "s")), arms_of(home), len(runs(home)))
    done = initlab(*GRID, "init=he,xavier,lecun", cwd=there)
    assert done.returncode == 0 and f"is a copy of {folder_of(home, 's')}" in done.stderr, done.stderr
    assert broken(the_study(there), runs(there), arms=3, seeds=1) == []
    assert (load(folder_of(home, "s")), arms_of(home), len(runs(home))) == before
    # once: from now on it has an identity of its own
    again = initlab(*GRID, "init=he,xavier,lecun", cwd=there)
    assert again.returncode == 0 and "is a copy of" not in again.stderr
    one, other = (load(folder_of(p, "s")) for p in (home, there))
    assert one is not None and other is not None and one.id != other.id


def test_a_copy_does_not_write_into_the_database_of_its_original(workdir: Path) -> None:
    home = begun(workdir, f"study.storage=sqlite:///{workdir / 'shared.db'}")
    there = home.with_name("there")
    shutil.copytree(home, there)
    before = (workdir / "shared.db").read_bytes()
    done = initlab(*GRID, "init=he,xavier,lecun", cwd=there)
    assert done.returncode == 2 and "would write into the same database" in done.stderr, done.stderr
    assert (workdir / "shared.db").read_bytes() == before


def edited(home: Path, **changes: Any) -> None:
    file = folder_of(home, "s") / "plan.json"
    plan = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in {**plan, **changes}.items() if v != "gone"}))


def test_plans_of_other_versions(workdir: Path) -> None:
    home = begun(workdir)
    more = (*GRID, "init=he,xavier,lecun")
    for changes, told in (
        ({"format": 3, "version": "9.0"}, "has format 3"),
        ({"shape": "round", "version": "9.0"}, "has shape"),
        ({"format": "new", "version": "9.0"}, "has format new"),
    ):
        kept = (folder_of(home, "s") / "plan.json").read_bytes()
        edited(home, **changes)
        for typed in (more, ("worker", "study=s")):
            done = initlab(*typed, cwd=home)
            assert done.returncode == 2 and told in done.stderr and "9.0" in done.stderr, (typed, done.stderr)
            assert "Traceback" not in done.stderr
        (folder_of(home, "s") / "plan.json").write_bytes(kept)
    # another version that writes the same format: no worker of this one joins unnoticed, a leader brings it up to date
    edited(home, version="0.0.9")
    done = initlab("worker", "study=s", cwd=home)
    assert done.returncode == 2 and "of initlab 0.0.9" in done.stderr
    assert initlab(*more, cwd=home).returncode == 0
    assert initlab("worker", "study=s", cwd=home).returncode == 0
    # a plan of before, with absolute paths
    database = f"sqlite:///{home / '.initlab' / 'studies.db'}"
    edited(home, version="gone", format="gone", place="gone", id="gone", storage=database)
    there = moved(home)
    done = initlab(*more, cwd=there)
    assert done.returncode == 0 and "3 done before, 0 new" in done.stdout, done.stdout + done.stderr
    assert not home.exists()
