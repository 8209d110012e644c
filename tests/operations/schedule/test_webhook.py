"""The webhook of a schedule, with addresses that are slow, busy, or not what they seem."""

from __future__ import annotations

import pytest

from initlab.operations.schedule import webhook
from tests.tracking.peers import peer

SAID = {
    "drip": "did not answer in time",
    "silent": "did not answer in time",
    "reset": "cannot be reached (ConnectionResetError)",
    "429": "answered 429",
    "429 with Retry-After": "answered 429",
    "429 with a long Retry-After": "answered 429",
    "500 with HTML": "answered 500",
    "502 of a proxy": "answered 502",
    "404 of a proxy": "answered 404",
    "no HTTP": "cannot be reached (BadStatusLine)",
    "redirect elsewhere": "answered 307",
    "redirect loop": "answered 302",
}
#: asked three times, the others once: a retry gets the same answer, or there is no time for it
REPEATED = {"drip", "silent", "reset", "429", "429 with Retry-After", "500 with HTML", "502 of a proxy", "no HTTP"}


@pytest.mark.parametrize("way", list(SAID))
def test_the_reason_is_said_without_the_address_and_nobody_else_is_told(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ATTEMPT", 1.0)
    monkeypatch.setattr(webhook, "PAUSES", (0.01, 0.01))
    with peer(behaviour="login page") as elsewhere, peer(behaviour=way) as one:
        one.elsewhere = elsewhere.uri
        why = webhook.post(f"{one.uri}/services/T0SECRET", {"text": "done"})
        assert one.requests == (3 if way in REPEATED else 1)
        assert elsewhere.requests == 0
    assert why == f"{one.uri}/*** {SAID[way]}"


@pytest.mark.parametrize("way", ["login page", "empty body", "huge body", "drip in the body", "half a JSON"])
def test_what_an_address_that_took_it_says_is_not_read(way: str) -> None:
    with peer(behaviour=way) as one:
        assert webhook.post(f"{one.uri}/hook", {"text": "done"}) == ""


def test_addresses_that_nothing_answers() -> None:
    with peer() as one:
        closed = one.uri
    for url, said in (
        (f"{closed}/T0SECRET", "cannot be reached (ConnectionRefusedError)"),
        ("http://no-such-name.invalid/T0SECRET", "cannot be reached (gaierror)"),
    ):
        why = webhook.post(url, {})
        assert said in why and "SECRET" not in why
