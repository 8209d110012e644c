"""Decodes sound files to samples; every fault of a file gives a one-sentence error."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from initlab.tasks.class_folders import FileKinds

#: files of recordings: those that libsndfile decodes, and others, which it refuses
RECORDINGS = FileKinds(
    noun="recordings",
    usual=("aif", "flac", "mp3", "ogg", "opus", "wav"),
    suffixes=frozenset(
        f".{s}"
        for s in (
            "wav", "wave", "flac", "mp3", "mp2", "mp1", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf",
            "w64", "rf64", "voc", "sph", "nist", "wavex", "aifr", "8svx", "svx", "iff", "sf", "ircam", "paf", "fap",
            "pvf", "avr", "wve", "xi", "sds", "mat", "htk",
        )
    ),
    undecoded=frozenset(
        f".{s}"
        for s in (
            "m4a", "m4b", "mp4", "3gp", "aac", "adts", "wma", "asf", "webm", "weba", "mka", "mkv", "mov", "amr", "ape",
            "wv", "tta", "mpc", "spx", "ac3", "eac3", "dts", "alac", "dsf", "dff", "ra", "rm", "gsm", "qcp", "pcm",
        )
    ),
)  # fmt: skip
#: subtypes whose samples are integers of at most 16 bits
_SHORT = frozenset({"PCM_16", "PCM_S8", "PCM_U8"})
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what a program that writes to a pipe leaves in the header
_LONGEST = 1 << 28  # samples, an hour and a half at 48 kHz; a few bytes can promise more than a memory holds
_RATES = (1_000, 768_000)  # Hz; a damaged header that says otherwise would ask for a filter of any length
_UNREADABLE = "is not a sound file that can be read"
_LAST_PAGE = 4  # flag of the page that ends an Ogg stream


class BadAudioError(Exception):
    """A sound file that cannot be used; the message says why and leaves out its name."""


def decode(content: bytes, sample_rate: int) -> Tensor:
    """Samples (samples,) of a sound file at `sample_rate`; channels are averaged.

    Returns:
        int16 where the file holds one channel of at most 16 bits at that rate, so that nothing was rounded; else
        float32, in [-1, 1] unless the file itself goes beyond.

    Raises:
        BadAudioError: empty, cut short, no sound file, without samples, or with samples that are no numbers.
    """
    import soundfile

    if not content:
        raise BadAudioError("is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised, rate = file.frames, file.samplerate
            if promised * file.channels > _LONGEST:
                raise ValueError(f"its header promises {promised * file.channels:,} samples")
            short = file.subtype in _SHORT and file.channels == 1 and rate == sample_rate
            samples = file.read(dtype="int16" if short else "float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError, MemoryError) as error:
        raise BadAudioError(f"{_UNREADABLE} ({_reason(error)})") from error
    if _is_cut_short(content) or len(samples) < promised:
        raise BadAudioError("is cut short")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise BadAudioError(f"has a sample rate of {rate} Hz")
    if not len(samples):
        raise BadAudioError("holds no samples")
    if short:
        return torch.from_numpy(np.ascontiguousarray(samples[:, 0]))
    mono = samples.mean(1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise BadAudioError("holds NaN or infinite samples")
    return torch.from_numpy(mono if rate == sample_rate else _resample(mono, rate, sample_rate))


def explain_format(name: str, why: str) -> str:
    """Why the recording `name` cannot be used: `why`, or that its format is one which libsndfile does not decode."""
    suffix = Path(name).suffix.lower()
    known = suffix in RECORDINGS.undecoded and why.startswith(_UNREADABLE)
    return f"is {suffix[1:]}, which libsndfile does not decode" if known else why


def as_float(wave: Tensor) -> Tensor:
    """Samples as float32 in [-1, 1)."""
    return wave.float() / 32768 if wave.dtype == torch.int16 else wave


def _resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """By a polyphase filter, which takes away what the new rate cannot hold."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), dtype=np.float32)


def _is_cut_short(content: bytes) -> bool:
    """Whether a RIFF, AIFF or AU file ends before its samples do, or an Ogg file before its last page.

    libsndfile takes all of them.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        at = 12
        while at + 8 <= len(content):
            name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
            if name == b"data":
                return size not in _UNKNOWN_SIZES and at + 8 + size > len(content)
            at += 8 + size + size % 2
    if content[:4] == b"FORM" and content[8:11] == b"AIF":
        size = int.from_bytes(content[4:8], "big")
        return size not in _UNKNOWN_SIZES and 8 + size > len(content)
    if content[:4] == b".snd":
        start, size = int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:12], "big")
        return size not in _UNKNOWN_SIZES and start + size > len(content)
    if content[:4] == b"OggS":
        page = content.rfind(b"OggS")
        return not content[page + 5 : page + 6] or not content[page + 5] & _LAST_PAGE
    return False


def _reason(error: Exception) -> str:
    return str(error).removeprefix("Error opening ").rpartition("> : ")[2].rpartition(": ")[2].strip().rstrip(".")
