"""The calibration measures copies: what trains afterwards has not changed."""

from __future__ import annotations

import torch

from initlab.train.cohort import Member, is_faster, train_cohort
from tests.train.cohort.cohort_cases import SMALL, make

_CASES = [("activation=homotopy", "seed=0"), ("activation=rrelu", "seed=0"), ("activation=homotopy", "seed=1")]
_COMMON = ("model.norm=batch", "optimizer=adam", "trainer.clip_grad_norm=1.0")


def _members() -> list[Member]:
    runs = [make(*SMALL, *_COMMON, *c) for c in _CASES]
    return [Member(run=r, function=c[0]) for r, c in zip(runs, _CASES, strict=True)]


def _train(members: list[Member]) -> list[dict[str, torch.Tensor]]:
    for _ in train_cohort(members):
        pass
    return [m.run.model.state_dict() for m in members]


def test_calibration_changes_no_bit() -> None:
    expected = _train(_members())
    members = _members()
    before = torch.get_rng_state()
    assert is_faster(members) in (True, False)
    assert torch.equal(before, torch.get_rng_state())
    for one, other in zip(expected, _train(members), strict=True):
        assert all(torch.equal(v, other[k]) for k, v in one.items())
