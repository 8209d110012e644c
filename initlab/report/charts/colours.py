"""The colours of heat maps: viridis, perceptually uniform and safe for any colour vision; brighter is more."""

from __future__ import annotations

# van der Walt & Smith, 2015 (CC0), at eleven equal steps
_VIRIDIS = (
    "440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725",
)  # fmt: skip
#: number of colours that are told apart
LEVELS = 48


def colour(share: float) -> str:
    """Colour of a value between 0 and 1."""
    share = min(1.0, max(0.0, share)) * (len(_VIRIDIS) - 1)
    k = min(int(share), len(_VIRIDIS) - 2)
    low, high = (tuple(int(h[i : i + 2], 16) for i in (0, 2, 4)) for h in _VIRIDIS[k : k + 2])
    return "#" + "".join(f"{round(a + (b - a) * (share - k)):02x}" for a, b in zip(low, high, strict=True))


def is_dark(share: float) -> bool:
    """Whether white text is read better than black on the colour of a value between 0 and 1."""
    r, g, b = (int(colour(share)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (1.05 / (luminance + 0.05)) > ((luminance + 0.05) / 0.05)
