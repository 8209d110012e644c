"""The training loop on a GPU beside a bare loop: probes, bf16, compilation, and waits of the host inside an epoch.

Takes a few minutes on one GPU. Without one it says so and measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.table import Result
from benchmarks.training import compare, experiment_of
from initlab.probes import ProfileLog
from initlab.run.assemble import training_loop
from initlab.run.prepare import prepare
from initlab.train import Checkpoints, train
from initlab.train.ranks import ALONE

NETWORKS = {
    "cnn": ("reference CNN, MNIST, batch 256", ("model=cnn", "trainer.batch_size=256", "trainer.epochs=40")),
    "mlp": ("perceptron 784-1024x10, batch 512", ("model=mlp", "model.depth=10", "model.width=1024",
                                                "trainer.batch_size=512", "trainer.epochs=60")),
    "resnet": ("residual CNN, MNIST, batch 256", ("model=resnet", "trainer.batch_size=256", "trainer.epochs=20")),
}  # fmt: skip
VARIANTS = {
    "loop, no probes": ("probes=none", "tracking=none"),
    "probes=economy": ("tracking=none",),
    "probes=economy and tracking": (),
    "probes=full": ("probes=full", "tracking=none"),
    "bf16, probes=economy": ("trainer.precision=bf16", "tracking=none"),
    "bf16, compiled, probes=economy": ("trainer.precision=bf16", "trainer.compile=true", "tracking=none"),
}


def measure(repetitions: int) -> list[Result]:
    """One result for each network; empty without a GPU."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return []
    print(f"{torch.cuda.get_device_name()}; waits inside an epoch: {waits() or 'none'}")
    return compare("gpu", NETWORKS, VARIANTS, repetitions, everywhere=("data=mnist_mini", "device=cuda"))


def waits(device: str = "cuda") -> str:
    """What made the host wait for the GPU between two updates of an epoch; empty where nothing did."""
    decided = experiment_of(
        "data=mnist_mini", "model=cnn", f"device={device}", "probes=none", "tracking=none", "trainer.log_every=100000"
    )
    asked = 0

    def stop() -> bool:  # asked before every update
        nonlocal asked
        asked += 1
        torch.cuda.set_sync_debug_mode("error" if 1 < asked <= 20 else "default")
        return asked > 20

    loop = training_loop(
        decided, prepare(decided), profile=ProfileLog(), checkpoints=Checkpoints(None), stop=stop, ranks=ALONE
    )
    try:
        for _ in train(loop):
            pass
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "" if asked > 20 else "the run ended before it was looked at"


def main(arguments: Sequence[str]) -> list[Result]:
    return measure(int(arguments[0]) if arguments else 3)
