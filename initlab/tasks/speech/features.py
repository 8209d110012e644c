"""Speech features: raw waveform, log-mel spectrogram, or mel-frequency cepstral coefficients (MFCC).

Mel filters are Slaney's (Auditory Toolbox, 1998): the scale is linear below 1 kHz and logarithmic above, and each
triangle has the same area. MFCCs are the orthonormal cosine transform of the log-mel spectrogram in decibels (Davis &
Mermelstein, IEEE Transactions on Acoustics, Speech and Signal Processing, 1980).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from initlab.errors import ConfigError
from initlab.spec import PositiveFloat, PositiveInt

FeatureName = Literal["waveform", "log_mel", "mfcc"]

_LINEAR_HZ = 200 / 3  # Hz a mel below the corner
_CORNER_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27  # the logarithm of frequency grows so much a mel above it
_FLOOR = 1e-10  # power of what counts as silence: -100 dB


@dataclass(frozen=True, kw_only=True)
class Features:
    """Settings for computing a sequence of features from a recording.

    Attributes:
        kind: ``waveform`` (1 feature, a step a sample), ``log_mel`` (n_mels features) or ``mfcc`` (n_mfcc features).
        sample_rate: in Hz; recordings at another rate are resampled.
        n_mels: mel filters, for ``log_mel`` and ``mfcc``.
        n_mfcc: cepstral coefficients kept, from the 0th on.
        window_ms: length of the Hann window.
        hop_ms: from one frame to the next.
        seconds: where recordings are cut, so that no example is longer; None keeps all of each.

    Raises:
        ConfigError: more coefficients than filters, or more filters than the window can tell apart.
    """

    kind: FeatureName = "mfcc"
    sample_rate: PositiveInt = 8000
    n_mels: PositiveInt = 40
    n_mfcc: PositiveInt = 13
    window_ms: PositiveFloat = 25.0
    hop_ms: PositiveFloat = 10.0
    seconds: PositiveFloat | None = None

    def __post_init__(self) -> None:
        if self.kind == "waveform":
            return
        if self.kind == "mfcc" and self.n_mfcc > self.n_mels:
            raise ConfigError("n_mfcc", self.n_mfcc, f"must be at most n_mels={self.n_mels}")
        if self.window < 2:
            raise ConfigError("window_ms", self.window_ms, f"must be at least 2 samples at {self.sample_rate} Hz")
        if self.hop < 1:
            raise ConfigError("hop_ms", self.hop_ms, f"must be at least 1 sample at {self.sample_rate} Hz")
        empty = int((mel_filters(self.sample_rate, self.fft, self.n_mels).sum(1) == 0).sum())
        if empty:
            raise ConfigError(
                "n_mels",
                self.n_mels,
                f"is too many for window_ms={self.window_ms:g} at {self.sample_rate} Hz: "
                f"{empty} filters would be empty; take fewer, or a longer window",
            )

    @property
    def size(self) -> int:
        """Features a step."""
        return {"waveform": 1, "log_mel": self.n_mels, "mfcc": self.n_mfcc}[self.kind]

    @property
    def window(self) -> int:
        """Samples of the window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def fft(self) -> int:
        """Samples that are transformed: the window with zeros around it, up to a power of two."""
        return 1 << max(1, self.window - 1).bit_length()

    @property
    def samples(self) -> int | None:
        """Where recordings are cut, in samples."""
        return None if self.seconds is None else max(1, round(self.seconds * self.sample_rate))

    def steps(self, samples: int) -> int:
        """Steps that a recording of `samples` has."""
        return samples if self.kind == "waveform" else 1 + samples // self.hop


def extract(wave: Tensor, features: Features) -> Tensor:
    """Computes the features of a recording.

    Args:
        wave: (samples,), float in [-1, 1]; any dtype for ``waveform``, which is passed through.
        features: which.

    Returns:
        (steps, features.size).
    """
    if features.kind == "waveform":
        return wave.unsqueeze(1)
    spectrum = log_mel(wave, features)
    return mfcc(spectrum, features.n_mfcc) if features.kind == "mfcc" else spectrum


def log_mel(wave: Tensor, features: Features) -> Tensor:
    """Decibels of the power in each mel filter, (steps, n_mels). Frames are centred, with zeros beyond either end."""
    spectrum = torch.stft(
        wave,
        features.fft,
        features.hop,
        features.window,
        torch.hann_window(features.window, dtype=wave.dtype),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    filters = mel_filters(features.sample_rate, features.fft, features.n_mels).to(wave.dtype)
    return 10 * (filters @ power).clamp(min=_FLOOR).log10().T


def mfcc(spectrum: Tensor, n_mfcc: int) -> Tensor:
    """The first `n_mfcc` coefficients of the orthonormal DCT-II of (steps, n_mels)."""
    n_mels = spectrum.shape[-1]
    k, n = torch.arange(n_mfcc, dtype=torch.float64), torch.arange(n_mels, dtype=torch.float64)
    basis = torch.cos(math.pi / n_mels * (n + 0.5)[:, None] * k) * math.sqrt(2 / n_mels)
    basis[:, 0] /= math.sqrt(2)
    return spectrum @ basis.to(spectrum.dtype)


def mel_filters(sample_rate: int, fft: int, n_mels: int) -> Tensor:
    """Slaney's triangles on the frequencies of an FFT, (n_mels, fft // 2 + 1), from 0 Hz to half the sample rate."""
    top = _hz_to_mel(sample_rate / 2)
    edges = torch.tensor([_mel_to_hz(top * i / (n_mels + 1)) for i in range(n_mels + 2)], dtype=torch.float64)
    hz = torch.arange(fft // 2 + 1, dtype=torch.float64) * (sample_rate / fft)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (hz - low) / (centre - low), (high - hz) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0) * (2 / (high - low))


def _hz_to_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return _CORNER_HZ / _LINEAR_HZ + math.log(hz / _CORNER_HZ) / _LOG_STEP


def _mel_to_hz(mel: float) -> float:
    corner = _CORNER_HZ / _LINEAR_HZ
    return mel * _LINEAR_HZ if mel < corner else _CORNER_HZ * math.exp((mel - corner) * _LOG_STEP)
