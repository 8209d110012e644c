"""Samples CPU, memory and GPU of the process, as MLflow's own monitor names them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil
import torch

#: seconds between two samples
INTERVAL = 10.0
_MEGABYTE = 1e6


class SystemMonitor:
    """Takes a sample when a record is written and the last sample is older than `INTERVAL`.

    No thread and no process of its own: a sample is some reads of the operating system, a fraction of a millisecond.
    """

    def __init__(self, device: torch.device, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._process = psutil.Process()
        psutil.cpu_percent()  # both measure since their last call
        self._process.cpu_percent()
        self._last = clock()

    def due(self) -> Mapping[str, float]:
        """A sample where one is due, else nothing."""
        return self.sample() if self._clock() - self._last >= INTERVAL else {}

    def sample(self) -> Mapping[str, float]:
        """Metrics under ``system/``; what this machine cannot tell is left out."""
        self._last = self._clock()
        found: dict[str, float] = {}
        with suppress(psutil.Error, OSError):
            memory = psutil.virtual_memory()
            found = {
                "system/cpu_utilization_percentage": psutil.cpu_percent(),
                "system/system_memory_usage_percentage": memory.percent,
                "system/system_memory_usage_megabytes": memory.used / _MEGABYTE,
                "system/process_cpu_percentage": self._process.cpu_percent(),
                "system/process_memory_megabytes": self._process.memory_info().rss / _MEGABYTE,
            }
        if self._device.type == "cuda":
            with suppress(RuntimeError, ModuleNotFoundError, OSError):
                found |= _gpu(self._device)
        return found


def _gpu(device: torch.device) -> dict[str, float]:
    index = device.index if "cuda:" in str(device) else torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(index)
    name = f"system/gpu_{index}"
    found = {
        f"{name}_memory_usage_megabytes": (total - free) / _MEGABYTE,
        f"{name}_memory_usage_percentage": 100 * (1 - free / total),
    }
    with suppress(RuntimeError, ModuleNotFoundError, OSError):  # needs NVIDIA's library for Python
        found[f"{name}_utilization_percentage"] = float(torch.cuda.utilization(index))
    return found
