"""Features against librosa, and the map from stored to standardised sequences against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initlab.errors import ConfigError
from initlab.network.padding import step_mask
from initlab.tasks.speech.corpus import pad
from initlab.tasks.speech.features import Features, extract, mel_filters
from initlab.tasks.speech.sequences import standardise_steps

librosa = pytest.importorskip("librosa", reason="librosa, the oracle of the features, is not installed")

RNG = np.random.default_rng(0)


def sound(samples: int, rate: int) -> np.ndarray:
    """A chirp with noise and a silent stretch, float32."""
    t = np.arange(samples) / rate
    wave = 0.5 * np.sin(2 * np.pi * (200 * t + 900 * t**2)) + 0.01 * RNG.standard_normal(samples)
    wave[samples // 2 : samples // 2 + samples // 10] = 0
    return wave.astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "n_mels", "window_ms", "hop_ms"),
    [(8000, 40, 32.0, 16.0), (8000, 23, 25.0, 10.0), (16000, 40, 32.0, 16.0), (16000, 80, 40.0, 12.5)],
)
class TestAgainstLibrosa:
    def test_mel_filters(self, rate: int, n_mels: int, window_ms: float, hop_ms: float) -> None:
        fft = Features(sample_rate=rate, n_mels=n_mels, window_ms=window_ms, hop_ms=hop_ms).fft
        expected = librosa.filters.mel(sr=rate, n_fft=fft, n_mels=n_mels, dtype=np.float64)
        np.testing.assert_allclose(mel_filters(rate, fft, n_mels).numpy(), expected, rtol=1e-6, atol=1e-9)

    def test_log_mel_and_mfcc(self, rate: int, n_mels: int, window_ms: float, hop_ms: float) -> None:
        wave = sound(rate * 7 // 10 + 3, rate)
        settings = Features(kind="log_mel", sample_rate=rate, n_mels=n_mels, window_ms=window_ms, hop_ms=hop_ms)
        power = librosa.feature.melspectrogram(
            y=wave.astype(np.float64), sr=rate, n_fft=settings.fft, hop_length=settings.hop,
            win_length=settings.window, window="hann", center=True, pad_mode="constant", power=2.0, n_mels=n_mels,
        )  # fmt: skip
        decibels = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
        # in float64 the two agree to rounding; float32 noise shows only at the floor, 100 dB below
        exact = extract(torch.from_numpy(wave.astype(np.float64)), settings)
        np.testing.assert_allclose(exact.numpy().T, decibels, rtol=1e-4, atol=1e-4)
        mine = extract(torch.from_numpy(wave), settings)
        np.testing.assert_allclose(mine.numpy().T, decibels, rtol=1e-4, atol=2e-2)
        assert mine.shape == (settings.steps(len(wave)), n_mels)
        cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=13, dct_type=2, norm="ortho")
        settings = Features(kind="mfcc", sample_rate=rate, n_mels=n_mels, window_ms=window_ms, hop_ms=hop_ms)
        mine = extract(torch.from_numpy(wave.astype(np.float64)), settings)
        np.testing.assert_allclose(mine.numpy().T, cepstra, rtol=1e-4, atol=1e-3)


def test_steps_of_recordings_shorter_than_a_window() -> None:
    settings = Features()
    for samples in (1, 2, 79, 80, 81, 5000):
        features = extract(torch.ones(samples), settings)
        assert features.shape == (settings.steps(samples), 13)
        assert bool(features.isfinite().all())


def test_a_waveform_is_passed_through() -> None:
    wave = torch.arange(-5, 5, dtype=torch.int16)
    steps = extract(wave, Features(kind="waveform"))
    assert steps.dtype == torch.int16
    assert steps.tolist() == [[i] for i in range(-5, 5)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mfcc": 41}, "n_mfcc=41: must be at most n_mels=40"),
        ({"n_mels": 200}, r"n_mels=200: is too many for window_ms=25 at 8000 Hz"),
        ({"window_ms": 0.1}, "window_ms=0.1: must be at least 2 samples at 8000 Hz"),
        ({"hop_ms": 0.01}, "hop_ms=0.01: must be at least 1 sample"),
    ],
)
def test_settings_that_do_not_fit_together(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Features(**settings)  # pyright: ignore[reportArgumentType]


# ------------------------------------------------------------------ padding and standardisation
def test_padding_is_at_the_end_and_longer_ones_are_cut() -> None:
    steps = torch.arange(14, dtype=torch.float32).reshape(7, 2)
    x = pad(steps, torch.tensor([2, 1, 4]), 3)
    assert x.shape == (3, 2, 3)
    nan = float("nan")
    expected = [[[0, 2, nan], [1, 3, nan]], [[4, nan, nan], [5, nan, nan]], [[6, 8, 10], [7, 9, 11]]]
    np.testing.assert_array_equal(x.numpy(), np.array(expected))


def test_statistics_are_those_of_the_steps_that_are_not_padding() -> None:
    lengths = [3, 9, 1, 6]
    ragged = RNG.standard_normal((sum(lengths), 5)).astype(np.float32) * [1, 5, 9, 0.1, 0] + [0, 100, -3, 2, 7]
    x = pad(torch.from_numpy(ragged).float(), torch.tensor(lengths), 10)
    prepared = standardise_steps(x)(x)
    std = ragged.std(0)
    expected = (ragged - ragged.mean(0)) / np.where(std > 1e-6, std, 1)
    for row, length, values in zip(prepared, lengths, np.split(expected, np.cumsum(lengths)[:-1]), strict=True):
        np.testing.assert_allclose(row[:, :length].numpy().T, values, atol=2e-5)
        assert bool((row[:, length:] == 0).all()), "padding must be exactly 0"
    assert step_mask(prepared).sum(1).tolist() == lengths
    assert bool(x.isnan().any()), "the stored examples keep their mark of padding"


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_waveforms_are_scaled_and_not_shifted(dtype: torch.dtype) -> None:
    x = torch.zeros(2, 1, 6, dtype=dtype)
    x[0, 0, :4] = torch.tensor([30, 0, -10, 20], dtype=dtype)
    x[1, 0, :2] = torch.tensor([5, 5], dtype=dtype)
    prepared = standardise_steps(x, waveform=True)(x)
    rms = ((900 + 100 + 400 + 25 + 25) / 6) ** 0.5
    torch.testing.assert_close(prepared, x.float() / rms)
    assert prepared.dtype == torch.float32


def test_silence_can_be_standardised() -> None:
    x = torch.zeros(2, 1, 6, dtype=torch.int16)
    assert bool((standardise_steps(x, waveform=True)(x) == 0).all())
