"""Errors of memory that ran out, of whatever library, as one sentence with advice."""

from __future__ import annotations

import errno
import re

from initlab.errors import MemoryLimitError

#: words of the allocators of torch, NumPy and the C library
_SIGNS = (
    "DefaultCPUAllocator", "not enough memory", "CUDA out of memory", "Unable to allocate", "Cannot allocate memory",
    "failed to map segment", "std::bad_alloc", "bad allocation", "can't allocate memory", "can't start new thread",
)  # fmt: skip
_ASKED = re.compile(r"(?:allocate|of size) ([\d.]+ ?(?:bytes|[KMGTPE]?i?B))")
_ADVICE = (
    "take a smaller trainer.batch_size or trainer.eval_batch_size, fewer examples (data.limit=N), a smaller network, or"
    " fewer study.workers; a limit may be set here, too (ulimit -v, the container or the batch job)"
)


def explain_memory(error: BaseException) -> str:
    """What is to be said where `error` is of memory that ran out; empty where it is another one.

    Example:
        >>> explain_memory(MemoryError("Unable to allocate 8.00 TiB for an array"))[:50]
        'the memory did not suffice (8.00 TiB were asked fo'
        >>> explain_memory(ValueError("no"))
        ''
    """
    text = " ".join(str(error).split())
    kind = type(error).__name__
    short = isinstance(error, MemoryError) or (kind in ("OutOfMemoryError", "AcceleratorError") and "memory" in text)
    short |= isinstance(error, OSError) and error.errno == errno.ENOMEM
    short |= isinstance(error, (RuntimeError, ImportError, OSError)) and any(sign in text for sign in _SIGNS)
    if not short:
        return ""
    found = _ASKED.search(text)
    asked = f" ({_shown(found.group(1))} were asked for)" if found else ""
    place = "memory of the GPU" if "CUDA" in text else "memory"
    return f"the {place} did not suffice{asked}: {_ADVICE}"


def raise_if_memory(error: BaseException) -> None:
    """Raise MemoryLimitError where `error` is of memory that ran out: no setting was wrong then."""
    if said := explain_memory(error):
        raise MemoryLimitError(said) from error


def _shown(size: str) -> str:
    if not size.endswith("bytes"):
        return size
    count = float(size.removesuffix("bytes"))
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
