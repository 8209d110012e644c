"""Every service of the compose file, natively: its command with its environment, until its health check says yes."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.deploy.compose_file import ROOT
from tests.deploy.services import Services
from tests.study.study_cases import TINY
from tests.tracking.tracking_cases import eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("compose")]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """PostgreSQL, MLflow and the account, as `docker compose up` brings them."""
    running = Services()
    try:
        running.files()
        running.postgres()
        running.up("mlflow")
        done = running.run("accounts")
        assert done.returncode == 0, done.stderr
        yield running
    finally:
        running.remove()


def ask(services: Services, path: str, body: object = None, *, user: str = "lab", password: str = "") -> Any:
    secret = password or services.variables[{"lab": "LAB_PASSWORD", "admin": "MLFLOW_ADMIN_PASSWORD"}[user]]
    request = urllib.request.Request(
        f"http://127.0.0.1:{services.ports['mlflow']}{path}", data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}",
            "Content-Type": "application/json",
        },
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def sql(services: Services, user: str, database: str, query: str) -> subprocess.CompletedProcess[str]:
    """A query as one of the roles."""
    word = services.variables["MLFLOW_DB_PASSWORD" if user == "mlflow" else "LAB_DB_PASSWORD"]
    port = str(services.ports["postgres"])
    command = ["psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", port, "-U", user, "-d", database, "-c", query]
    return subprocess.run(
        command, env={**services.environ("postgres"), "PGPASSWORD": word}, capture_output=True, text=True, check=False
    )


def test_each_role_has_its_own_databases(services: Services) -> None:
    for user, own in (("mlflow", ("mlflow", "mlflow_auth")), ("lab", ("optuna", "schedule"))):
        for database in ("mlflow", "mlflow_auth", "optuna", "schedule"):
            done = sql(services, user, database, "SELECT current_user")
            assert (done.returncode == 0) == (database in own), (user, database, done.stderr)
    assert int(sql(services, "mlflow", "mlflow", "SELECT count(*) FROM experiments").stdout) > 0
    assert "lab" in sql(services, "mlflow", "mlflow_auth", "SELECT username FROM users").stdout


def test_the_account_is_made_once_and_set_to_what_env_says(services: Services) -> None:
    again = services.run("accounts")
    assert again.returncode == 0 and "lab can record" in again.stdout
    wrong = dict(services.variables)
    try:
        services.variables["MLFLOW_ADMIN_PASSWORD"] = "wrong"
        refused = services.run("accounts")
    finally:
        services.variables = wrong
    assert refused.returncode == 1 and "answered 401" in refused.stderr


def test_scheduler_and_worker(services: Services) -> None:
    # a study of the stack's own kind, small enough for a test
    (services.folder / "schedule" / "tiny.yaml").write_text(
        "cron: 0 3 1 1 *\nrun:\n"
        + "".join(
            f"  - {word}\n"
            for word in (
                *TINY, "init=he,xavier",
                f"study.storage=postgresql://lab@127.0.0.1:{services.ports['postgres']}/optuna",
            )
        )
    )  # fmt: skip
    services.up("scheduler", asked=False)
    folder = f"folder={services.folder / 'schedule'}"
    done = services.run("scheduler", ["python", "-m", "initlab", "schedule", "run", "tiny", folder])
    assert done.returncode == 0, done.stdout + done.stderr
    runs = ask(services, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=initlab")
    found = ask(
        services, "/api/2.0/mlflow/runs/search", {"experiment_ids": [runs["experiment"]["experiment_id"]]}
    )["runs"]  # fmt: skip
    assert sorted(r["info"]["status"] for r in found) == ["FINISHED"] * 3
    assert list((services.folder / "data" / "artifacts").rglob("leaderboard.csv"))
    (study,) = (p.name for p in (services.folder / "work" / ".initlab" / "studies").iterdir())
    assert sql(services, "lab", "optuna", "SELECT study_name FROM studies").stdout.strip() == study

    services.variables["STUDY"] = study
    assert services.healthy("worker")
    joined = services.run("worker")
    assert joined.returncode == 0, joined.stderr
    del services.variables["STUDY"]
    # without a name it takes every study that is open: one that a person leads without workers, one of the scheduler's
    services.up("worker", asked=False)
    storage = f"study.storage=postgresql://lab@127.0.0.1:{services.ports['postgres']}/optuna"
    for name in ("first", "second"):
        led = services.run(
            "scheduler", ["python", "-m", "initlab", "-m", *TINY, "init=he,lecun", "study.workers=0", storage,
                          f"study.name={name}"],
        )  # fmt: skip
        assert led.returncode == 0, led.stdout + led.stderr
        assert f"worker: study {name}" in services.log("worker")
    assert services.stop("worker") == 0
    assert services.stop("scheduler") == 0


def test_bad_input_is_not_restarted_without_end(services: Services, tmp_path: Path) -> None:
    """A restart policy knows no exit codes: `hold.sh` keeps a service that was told something wrong."""
    service = services.service("scheduler")
    assert service["restart"] == "unless-stopped" and service["command"][:2] == ["sh", f"{ROOT}/deploy/hold.sh"]
    hold = service["command"][:2]
    for code in (0, 1, 3, 120):
        assert subprocess.run([*hold, "sh", "-c", f"exit {code}"], check=False).returncode == code
    wrong = [*hold, "python", "-m", "initlab", "schedule", f"folder={tmp_path}/nothing"]
    process = subprocess.Popen(
        wrong, cwd=tmp_path, env=services.environ("scheduler"), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first, second = process.stderr.readline(), process.stderr.readline()
    assert "no such folder" in first and second.startswith("hold: bad input")
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 2
    process.stderr.close()
    # what Compose asks to stop is asked itself
    asked = subprocess.Popen([*hold, "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"],
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert asked.stdout is not None and asked.stdout.readline() == "up\n"
    asked.terminate()
    assert asked.wait(20) == 7
    asked.stdout.close()


def test_tls_in_front(services: Services) -> None:
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not installed (apt-get install caddy)")
    services.up("tls")
    plain = ssl.create_default_context()
    (root,) = (services.folder / "tls").rglob("root.crt")
    known = ssl.create_default_context(cafile=str(root))
    address = f"https://localhost:{services.ports['tls']}/health"
    with pytest.raises(urllib.error.URLError, match="certificate"):
        urllib.request.urlopen(address, timeout=20, context=plain)
    with urllib.request.urlopen(address, timeout=20, context=known) as answer:
        assert answer.status == 200 and answer.read() == b"OK"
    assert services.stop("tls") == 0


def test_dashboard(services: Services) -> None:
    for _ in range(2):
        made = services.run("tables")
        assert made.returncode == 0, made.stderr
    services.up("dashboard")
    services.stop("dashboard")


def test_backup_and_restore(services: Services, tmp_path: Path) -> None:
    def counted() -> dict[str, str]:
        return {
            f"{database}.{table}": sql(services, user, database, f"SELECT count(*), max({column}) FROM {table}").stdout
            for user, database, table, column in (
                ("mlflow", "mlflow", "metrics", "timestamp"), ("mlflow", "mlflow_auth", "users", "username"),
                ("lab", "optuna", "trial_user_attributes", "key"), ("lab", "schedule", "initlab_firings", "schedule"),
            )
        }  # fmt: skip

    before = counted()
    assert all(line[:1].isdigit() for line in before.values()), before
    word, port = services.variables["POSTGRES_PASSWORD"], services.ports["postgres"]
    kept, data = tmp_path / "kept", services.folder / "data"
    how = [
        # in the place of `docker compose exec` and `run`
        f"--postgres=env PGHOST=127.0.0.1 PGPORT={port} PGPASSWORD={word} PATH={services.environ('postgres')['PATH']}",
        f"--artifacts=tar -C {data}",
        "--compose=",
    ]
    command = [sys.executable, str(ROOT / "deploy" / "backup.py")]
    subprocess.run([*command, "backup", str(kept), *how], check=True, capture_output=True)
    files = sorted(p.relative_to(data) for p in data.rglob("*") if p.is_file())
    assert files
    for user, database in (("mlflow", "mlflow"), ("mlflow", "mlflow_auth"), ("lab", "optuna"), ("lab", "schedule")):
        done = sql(services, user, database, f'DROP OWNED BY "{user}"')
        assert done.returncode == 0, done.stderr
    shutil.rmtree(data / "artifacts")
    assert counted() != before
    services.stop("mlflow")  # as `docker compose` does, which is left out here
    done = subprocess.run([*command, "restore", str(kept), *how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services.up("mlflow")
    assert counted() == before
    assert sorted(p.relative_to(data) for p in data.rglob("*") if p.is_file()) == files


def test_artifacts_in_s3(services: Services) -> None:
    services.up("s3")
    services.stop("mlflow")
    services.variables["MLFLOW_ARTIFACTS"] = "s3://initlab/artifacts"
    try:
        services.up("mlflow")
        done = services.run(
            "scheduler",
            ["python", "-m", "initlab", *TINY, "tracking.experiment=in-s3", "init=he"],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        secret = services.variables["S3_SECRET_KEY"]

        def client(word: str) -> Any:
            return boto3.client(
                "s3", endpoint_url=f"http://127.0.0.1:{services.ports['s3']}", region_name="us-east-1",
                aws_access_key_id="initlab", aws_secret_access_key=word,
            )  # fmt: skip

        def kept() -> list[str]:
            return [o["Key"] for o in client(secret).list_objects_v2(Bucket="initlab").get("Contents", ())]

        # what the machine is too busy for at the run's end is delivered behind it
        eventually(lambda: any(k.startswith("artifacts/") and k.endswith("config.yaml") for k in kept()))
        with pytest.raises(ClientError):
            client("wrong").list_objects_v2(Bucket="initlab")
    finally:
        services.variables["MLFLOW_ARTIFACTS"] = ""
        services.stop("mlflow")
        services.stop("s3", hard=True)  # it would take a quarter of a minute


def test_ray(services: Services) -> None:
    # (asked of nothing, Ray waits half a minute)
    services.up("ray-head", asked=False)
    try:
        # its health check asks the cluster, which the head alone has made healthy
        services.up("ray-worker", asked=False)
        eventually(lambda: services.run("ray-head", ["ray", "status"]).stdout.count("node_") >= 2)
        right = services.variables["RAY_TOKEN"]
        services.variables["RAY_TOKEN"] = "0" * len(right)
        assert not services.healthy("ray-head"), "whoever has not the token is let in"
        services.variables["RAY_TOKEN"] = right
    finally:
        services.stop("ray-worker")
        services.stop("ray-head")


def test_no_service_was_left_out(services: Services) -> None:
    text = "".join(Path(__file__).with_name(name).read_text() for name in ("test_services.py", "services.py"))
    # a GPU's worker differs from the other in its image and its device alone, which is looked at below
    for name in set(services.all) - {"worker-gpu"}:
        assert f'"{name}"' in text, name
    gpu, plain = services.service("worker-gpu"), services.service("worker")
    same = set(plain) - {"image", "build", "profiles", "healthcheck", "deploy"}
    assert {k: gpu[k] for k in same} == {k: plain[k] for k in same}
    assert gpu["deploy"]["resources"]["limits"] == plain["deploy"]["resources"]["limits"]
