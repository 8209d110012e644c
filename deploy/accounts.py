"""Creates the MLflow account of the workers, so that they never hold the administrator's password.

Environment: MLFLOW_TRACKING_URI, ADMIN_PASSWORD, LAB_PASSWORD. Run again, it resets the password to that in .env.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request

USER = "lab"


def asked(path: str, body: dict[str, str] | None, *, method: str, user: str, password: str) -> tuple[int, str]:
    """Status and text of the answer to one request."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + path, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {word}", "Content-Type": "application/json"}, method=method,
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def main() -> int:
    """Exit code 0 where the account can be used."""
    admin, password = os.environ["ADMIN_PASSWORD"], os.environ["LAB_PASSWORD"]
    account = {"username": USER, "password": password}
    code, told = asked("/api/2.0/mlflow/users/create", account, method="POST", user="admin", password=admin)
    if code != 200 and "RESOURCE_ALREADY_EXISTS" in told:
        code, told = asked(
            "/api/2.0/mlflow/users/update-password", account, method="PATCH", user="admin", password=admin
        )
    if code == 200:
        where = f"/api/2.0/mlflow/users/get?username={USER}"
        code, told = asked(where, None, method="GET", user=USER, password=password)
    if code != 200:
        print(f"accounts: MLflow answered {code}: {told[:300]}", file=sys.stderr)
        return 1
    print(f"accounts: {USER} can record")
    return 0


if __name__ == "__main__":
    sys.exit(main())
