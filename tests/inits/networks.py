"""Networks of random shapes, of the kinds in `initlab.testing.networks`."""

from __future__ import annotations

from hypothesis import strategies as st
from torch import nn

from initlab.testing.networks import (
    CLASSES,
    Attention,
    Branch,
    NetworkCase,
    Recurrent,
    attention,
    conv,
    mlp,
    noise,
    recurrent,
    residual,
)
from initlab.testing.networks import NETWORKS as ONE_OF_EACH

Case = NetworkCase

__all__ = [
    "CLASSES", "ONE_OF_EACH", "Attention", "Branch", "Case", "Recurrent", "attention", "cases", "conv", "mlp", "noise",
    "recurrent", "residual",
]  # fmt: skip

_even = st.integers(1, 5).map(lambda n: 2 * n)

#: any of them, shapes included
cases: st.SearchStrategy[Case] = st.one_of(
    st.builds(
        mlp,
        st.lists(st.one_of(st.integers(1, 9), _even), min_size=1, max_size=4),
        st.sampled_from(["none", "batch", "layer", "rms"]),
        bias=st.booleans(),
    ),
    st.builds(
        conv, st.sampled_from([1, 2]), st.integers(1, 3), st.lists(st.integers(1, 3), min_size=2, max_size=2),
        st.integers(1, 4), st.integers(1, 2), transposed=st.booleans(),
    ),
    st.builds(
        recurrent, st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]), st.integers(1, 2), st.integers(1, 6),
        both=st.booleans(), bias=st.booleans(),
    ),
    st.builds(residual, st.integers(1, 3), st.integers(1, 3), scaled=st.booleans(), norm=st.booleans()),
    st.builds(
        lambda per_head, heads, scaled: attention(per_head * heads, heads, scaled=scaled),
        st.integers(1, 3), st.integers(1, 2), st.booleans(),
    ),
)  # fmt: skip
