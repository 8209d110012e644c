"""How often the intervals of `compare` hold the truth, and how often its tests find a difference that is none.

    python benchmarks/compare_coverage.py [studies] [--seeds 3,5,10] [--arms 18] [--permutations 499]

For each number of seeds and each kind of outcome so many studies are drawn in which all arms are alike, and for each
the share of arms whose 95 % interval holds the true mean, and the share of studies in which any arm is left out of the
winner set, though none is worse: the family-wise error at 5 %. Kinds:

    normal     as they say
    skewed     one minus an exponential: most seeds near the top, some far below
    failures   0.9 ± 0.005, but a seed in ten ends at 0.1 and has learned nothing
    shared     normal, and what a seed brings is the same for all arms and three times as large
    unequal    normal, but the spread of arms differs (ln sd has sd 0.8)
    some best  normal; three arms are best, the others one to three sd below: the error is to lose one of the three

Prints a line each, and at the end whether the bounds hold that docs/compare.md states; exit code 1 where one does not.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from initlab.statistics.intervals import intervals
from initlab.statistics.significance import winner_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: values of a study, arms × seeds, and the true means of its arms
Drawn = tuple["Floats", "Floats"]


def normal(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    return rng.normal(size=(arms, seeds)), np.zeros(arms)


def skewed(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    return 1 - rng.exponential(size=(arms, seeds)), np.zeros(arms)


def failures(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    failed = rng.random((arms, seeds)) < 0.1
    values = np.where(failed, 0.1, 0.9) + 0.005 * rng.normal(size=(arms, seeds))
    return values, np.full(arms, 0.9 * 0.9 + 0.1 * 0.1)


def shared(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    return rng.normal(size=(arms, seeds)) + 3 * rng.normal(size=(1, seeds)), np.zeros(arms)


def unequal(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    return np.exp(0.8 * rng.normal(size=(arms, 1))) * rng.normal(size=(arms, seeds)), np.zeros(arms)


def some_best(rng: np.random.Generator, arms: int, seeds: int) -> Drawn:
    means = np.concatenate([np.zeros(3), np.linspace(-1, -3, arms - 3)])
    return means[:, None] + rng.normal(size=(arms, seeds)), means


KINDS: dict[str, Callable[[np.random.Generator, int, int], Drawn]] = {
    "normal": normal, "skewed": skewed, "failures": failures, "shared": shared, "unequal": unequal,
    "some best": some_best,
}  # fmt: skip
#: kinds for which bounds are stated, and the bounds of the coverage
STATED = {"normal": (0.93, 0.97), "skewed": (0.93, 0.97), "failures": (0.90, 1.0)}
WORST_ERROR = 0.06


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="?", type=int, default=2000)
    parser.add_argument("--seeds", default="3,5,10")
    parser.add_argument("--arms", type=int, default=18)
    parser.add_argument("--permutations", type=int, default=499)
    given = parser.parse_args()
    missed: list[str] = []
    print(f"{given.studies} studies of {given.arms} arms each")
    for seeds in map(int, given.seeds.split(",")):
        for name, draw in KINDS.items():
            held, wrong, methods, begun = 0.0, 0, Counter[str](), time.perf_counter()
            rng = np.random.default_rng([seeds, len(name)])
            for _ in range(given.studies):
                values, truth = draw(rng, given.arms, seeds)
                found = intervals(values)
                held += float(((found.low <= truth) & (truth <= found.high)).mean())
                methods[found.method[0]] += 1
                best = truth == truth.max()
                wrong += bool((winner_set(values, permutations=given.permutations)[best] <= 0.05).any())
            coverage, error = held / given.studies, wrong / given.studies
            half = 1.96 * math.sqrt(max(error, 1 / given.studies) * (1 - error) / given.studies)
            how = ", ".join(f"{m} {n / given.studies:.0%}" for m, n in methods.most_common())
            print(
                f"{seeds:3} seeds  {name:10} coverage {coverage:.3f}   family-wise error {error:.3f} ± {half:.3f}"
                f"   ({how}; {time.perf_counter() - begun:.0f} s)",
                flush=True,
            )
            low, high = STATED.get(name, (0.0, 1.0))
            if not low <= coverage <= high:
                missed.append(f"{seeds} seeds, {name}: coverage {coverage:.3f} outside {low} to {high}")
            if name in STATED and error > WORST_ERROR:
                missed.append(f"{seeds} seeds, {name}: family-wise error {error:.3f} above {WORST_ERROR}")
    print("\n".join(missed) or "all bounds hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
