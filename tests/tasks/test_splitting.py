"""Who goes where: disjoint, stratified, seeded, and clear about what cannot be done."""

from __future__ import annotations

import itertools

import pytest
import torch

from initlab.errors import ConfigError, DataError
from initlab.spec import Part, Provenance
from initlab.tasks.raw import RawData
from initlab.tasks.splitting import Plan, allocate, partition


def raw(counts: list[int], *, test: bool = False) -> RawData:
    """Examples whose only number is their index, so that every part tells whom it holds."""
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    pool = Part(x=torch.arange(len(y)).unsqueeze(1), y=y)
    official = Part(x=torch.arange(10_000, 10_000 + len(counts)).unsqueeze(1), y=torch.arange(len(counts)))
    return RawData(
        pool=pool,
        test=official if test else None,
        class_names=tuple(f"c{i}" for i in range(len(counts))),
        provenance=Provenance(name="made", source="here", digest="0"),
    )


def members(part: Part) -> set[int]:
    found = part.x.flatten().tolist()
    assert len(found) == len(set(found))
    return set(found)


def test_parts_are_disjoint_and_together_everything() -> None:
    parts = [members(p) for p in partition(raw([50, 30, 20]), Plan(), seed=3)]
    assert all(not (a & b) for a, b in itertools.combinations(parts, 2))
    assert set().union(*parts) == set(range(100))


def test_labels_stay_with_their_examples() -> None:
    source = raw([50, 30, 20])
    for part in partition(source, Plan(shots=3), seed=1):
        assert torch.equal(part.y, source.pool.y[part.x.flatten()])


def test_every_part_has_the_proportions_of_the_whole() -> None:
    train, val, test = partition(raw([500, 300, 200]), Plan(val_fraction=0.1, test_fraction=0.2), seed=0)
    assert torch.bincount(test.y).tolist() == [100, 60, 40]
    assert torch.bincount(val.y).tolist() == [40, 24, 16]
    assert torch.bincount(train.y).tolist() == [360, 216, 144]


def test_the_seed_moves_val_and_leaves_test() -> None:
    first, second = (partition(raw([100, 100]), Plan(), seed=s) for s in (0, 1))
    assert members(first[2]) == members(second[2])
    assert members(first[1]) != members(second[1])
    again = partition(raw([100, 100]), Plan(), seed=0)
    assert all(members(a) == members(b) for a, b in zip(first, again, strict=True))


def test_split_seed_moves_test() -> None:
    first, second = (partition(raw([100, 100]), Plan(split_seed=s), seed=0) for s in (0, 1))
    assert members(first[2]) != members(second[2])


def test_an_official_test_part_is_taken_as_it_is() -> None:
    train, val, test = partition(raw([50, 50], test=True), Plan(), seed=0)
    assert members(test) == {10_000, 10_001}
    assert len(train) + len(val) == 100


def test_shots_are_per_class_and_nested() -> None:
    few, more = (partition(raw([50, 60]), Plan(shots=k), seed=0) for k in (3, 7))
    assert torch.bincount(few[0].y).tolist() == [3, 3]
    assert members(few[0]) < members(more[0])
    assert members(few[1]) == members(more[1])


def test_limit_keeps_proportions_and_val() -> None:
    whole = partition(raw([600, 300]), Plan(), seed=0)
    train, val, test = partition(raw([600, 300]), Plan(limit=30), seed=0)
    assert torch.bincount(train.y).tolist() == [20, 10]
    assert members(val) == members(whole[1])
    assert members(test) == members(whole[2])
    assert members(train) < members(whole[0])


def test_limit_above_everything_takes_everything() -> None:
    assert len(partition(raw([50, 50], test=True), Plan(limit=10_000), seed=0)[0]) == 90


def test_rare_classes_are_in_every_part() -> None:
    for part in partition(raw([1000, 3]), Plan(val_fraction=0.01, test_fraction=0.01), seed=0):
        assert set(part.y.tolist()) == {0, 1}


def test_too_many_shots_name_the_class() -> None:
    with pytest.raises(ConfigError, match=r"data\.shots=40: .*'c1' has 36"):
        partition(raw([500, 50]), Plan(shots=40), seed=0)


def test_a_limit_below_the_number_of_classes() -> None:
    with pytest.raises(ConfigError, match=r"data\.limit=2: must be at least 3"):
        partition(raw([50, 50, 50]), Plan(limit=2), seed=0)


def test_a_class_too_small_for_three_parts() -> None:
    with pytest.raises(DataError, match="'c1' has 2 examples; each class needs at least 3"):
        partition(raw([50, 2]), Plan(), seed=0)


def test_one_class_is_no_classification() -> None:
    with pytest.raises(DataError, match="one class"):
        partition(raw([50]), Plan(), seed=0)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan")])
@pytest.mark.parametrize("key", ["val_fraction", "test_fraction"])
def test_fractions_outside_their_range(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key}.*greater than 0 and less than 1"):
        Plan(**{key: value})


def test_shots_and_limit_together() -> None:
    with pytest.raises(ConfigError, match="one of shots and limit"):
        Plan(shots=1, limit=10)


@pytest.mark.parametrize(("counts", "total"), [([5, 3, 2], 5), ([100, 1, 1], 3), ([7, 7, 7], 20), ([1, 1000], 500)])
def test_allocation_adds_up_within_bounds(counts: list[int], total: int) -> None:
    given = allocate(counts, total)
    assert sum(given) == total
    assert all(1 <= g <= c for g, c in zip(given, counts, strict=True))
