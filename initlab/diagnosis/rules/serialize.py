"""Writes and reads `verdict.json`: the evidence besides the profile, and the findings, to judge a run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from initlab.diagnosis.rules.evidence import Evidence
from initlab.spec import Baseline, Finding, Profile

#: name of the artifact
FILE = "verdict.json"


def findings_to_json(evidence: Evidence, findings: Sequence[Finding]) -> str:
    """Serialises the findings and the evidence without its profile (that is `profile.parquet`) as JSON."""
    seen = {k: getattr(evidence, k) for k in Evidence.__dataclass_fields__ if k not in ("profile", "baseline")}
    plain = {**seen, "baseline": asdict(evidence.baseline), "params": dict(evidence.params)}
    return json.dumps({"evidence": plain, "findings": [asdict(f) for f in findings]})


def findings_from_json(text: str, profile: Profile) -> Evidence:
    """Reads the evidence from `findings_to_json`. Raises ValueError, KeyError or TypeError for other text."""
    plain: dict[str, Any] = json.loads(text)["evidence"]
    lists = ("hidden", "equal_layers", "loud_tables")
    plain |= {k: tuple(plain[k]) for k in lists if k in plain}
    plain |= {"baseline": Baseline(**plain["baseline"]), "profile": profile}
    return Evidence(**plain)
