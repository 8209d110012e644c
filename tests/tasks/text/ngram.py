"""A character n-gram model with Witten-Bell interpolation: what a count of the training text reaches.

    p(c | h) = (count(h, c) + types(h) · p(c | h')) / (count(h) + types(h))

h' is h without its oldest character, and the model of no character at all is uniform over the alphabet and one unknown.
Witten & Bell, IEEE Transactions on Information Theory, 1991; in Chen & Goodman, 1998, section 2.5.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict


def bits_per_character(train: str, held_out: str, order: int) -> float:
    """Cross entropy of `held_out`, which follows on `train`, under an n-gram model of `order` counted on `train`."""
    counts: list[dict[str, Counter[str]]] = [defaultdict(Counter) for _ in range(order)]
    for size, table in enumerate(counts):
        for i in range(size, len(train)):
            table[train[i - size : i]][train[i]] += 1
    totals = [{h: sum(c.values()) for h, c in table.items()} for table in counts]
    uniform = 1 / (len(set(train)) + 1)
    whole = train[-(order - 1) :] + held_out if order > 1 else held_out
    bits = 0.0
    for i in range(order - 1, len(whole)):
        p = uniform
        for size, table in enumerate(counts):
            history = whole[i - size : i]
            seen = table.get(history)
            if seen is not None:
                types = len(seen)
                p = (seen[whole[i]] + types * p) / (totals[size][history] + types)
        bits -= math.log2(p)
    return bits / len(held_out)
