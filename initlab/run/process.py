"""Process settings of a run: device, threads, determinism; and their description for the record."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Generator
from contextlib import contextmanager

import torch

from initlab.core.version import __version__
from initlab.spec import Experiment


@contextmanager
def settings(experiment: Experiment) -> Generator[None]:
    """Threads, denormals and determinism are settings of the whole process: they are given back after the run."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        if experiment.threads is not None:
            torch.set_num_threads(experiment.threads)
        torch.set_flush_denormal(experiment.trainer.flush_denormal)
        if experiment.trainer.deterministic:
            # cuBLAS reads it when it starts; without it torch refuses to be deterministic on a GPU
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if experiment.trainer.deterministic != strict:  # the call brings torch's compiler, which takes a second
            torch.use_deterministic_algorithms(experiment.trainer.deterministic)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)  # torch's default; it cannot be asked
        if torch.are_deterministic_algorithms_enabled() != strict:
            torch.use_deterministic_algorithms(strict)


def device_of(experiment: Experiment) -> torch.device:
    """The device of a run: what was asked for, or a GPU where there is one."""
    if experiment.device != "auto":
        return torch.device(experiment.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def describe(device: torch.device) -> dict[str, object]:
    """Versions and machine, for the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "initlab": __version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
    }
