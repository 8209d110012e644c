from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import describe_location, resolve_uri, ui_url
from initlab.tracking.record.start import start


@pytest.mark.parametrize(
    "uri",
    [
        "mlruns",
        "./mlruns",
        "/tmp/mlruns",
        "file:///tmp/mlruns",
        "C:/runs",
        "sqlite://",
        "sqlite:///:memory:",
        "http://",
    ],
)
def test_unusable_uris_are_refused_with_the_valid_forms(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sqlite:///FILE") as caught:
        resolve_uri(TrackingSettings(uri=uri), tmp_path)
    assert caught.value.key == "tracking.uri"


def test_unknown_scheme_and_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown scheme ftp"):
        resolve_uri(TrackingSettings(uri="ftp://host/x"), tmp_path)
    with pytest.raises(ConfigError, match="is a directory"):
        resolve_uri(TrackingSettings(uri=f"sqlite:///{tmp_path}"), tmp_path)


@pytest.mark.process
def test_nothing_is_written_for_a_bad_uri(tmp_path: Path) -> None:
    from tests.tracking.tracking_cases import header

    with pytest.raises(ConfigError):
        start(header(), TrackingSettings(uri="mlruns"), workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_paths_come_back_absolute(tmp_path: Path) -> None:
    assert resolve_uri(TrackingSettings(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri(TrackingSettings(uri="sqlite:///a/b.db"), tmp_path) == f"sqlite:///{tmp_path}/a/b.db"
    assert resolve_uri(TrackingSettings(uri="sqlite:////x/b.db"), tmp_path) == "sqlite:////x/b.db"


def test_setting_comes_before_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000/")
    assert resolve_uri(TrackingSettings(), tmp_path) == "http://host:5000"
    assert resolve_uri(TrackingSettings(uri="https://other"), tmp_path) == "https://other"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(ConfigError, match="comes from MLFLOW_TRACKING_URI"):
        resolve_uri(TrackingSettings(), tmp_path)


def test_databases_pass_and_passwords_are_masked(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://me:secret@host:5432/runs"
    assert resolve_uri(TrackingSettings(uri=uri), tmp_path) == uri
    assert describe_location(uri) == "postgresql+psycopg2://me:***@host:5432/runs"
    assert "secret" not in ui_url(uri)


def test_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe_location(f"sqlite:///{tmp_path}/mlflow.db") == "mlflow.db"
    assert ui_url(f"sqlite:///{tmp_path}/mlflow.db") == "python -m initlab ui"
    assert ui_url("http://h:1", run_id="r", experiment_id="7") == "http://h:1/#/experiments/7/runs/r"


def test_the_config_group_has_exactly_the_settings() -> None:
    text = (Path(__file__).parents[3] / "conf" / "tracking" / "default.yaml").read_text(encoding="utf-8")
    keys = [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert keys == [field.name for field in fields(TrackingSettings)]
