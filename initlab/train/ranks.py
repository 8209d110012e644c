"""Distributed training (DDP): each process takes a share of every batch, and all apply the same update.

`torchrun --nproc-per-node=N -m initlab trainer=ddp` starts the processes. The batch is that of a single process, cut
into shares; the gradient is the mean over the whole batch whatever the sizes of the shares, so that the result is that
of one process up to the order of summation. Only rank 0 records, evaluates and prints. Every decision about the course
of the run (a loss that is not finite, a request to stop, the score of an epoch) is reduced over the ranks or broadcast
by rank 0: ranks that decide by themselves would sooner or later deadlock.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from initlab.errors import ConfigError

T = TypeVar("T")
_TORCHRUN_HINT = "starts under torchrun: torchrun --nproc-per-node=N -m initlab trainer=ddp ..."


@dataclass(frozen=True)
class Ranks:
    """The processes of a distributed run.

    Attributes:
        rank: number of this one.
        world: how many there are; one process alone needs no group, and nothing in here costs it anything.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank records, evaluates and prints."""
        return self.rank == 0

    @property
    def is_single(self) -> bool:
        return self.world == 1

    def rows(self, size: int) -> slice:
        """This rank's share of a batch of `size` examples; one example of weight 0 where there are fewer than ranks."""
        first, last = (size * r // self.world for r in (self.rank, self.rank + 1))
        return slice(first, last) if last > first else slice(0, 1)

    def weight(self, size: int) -> float:
        """Weight of the share's mean loss, so that the mean over the ranks is that of the whole batch."""
        first, last = (size * r // self.world for r in (self.rank, self.rank + 1))
        return (last - first) * self.world / size

    def sync_batch_norm(self, model: nn.Module) -> nn.Module:
        """Converts batch norms to use the statistics of the whole batch.

        Raises:
            ConfigError: it has batch norms, and there are no GPUs, which alone can take them over several processes.
        """
        norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())  # pyright: ignore[reportPrivateUsage]
        if self.is_single or not norms:
            return model
        if next(model.parameters()).device.type != "cuda":
            raise ConfigError(
                "trainer.ddp", True, "batch norm over several processes needs GPUs; choose model.norm=layer, say"
            )
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)

    def data_parallel(self, model: nn.Module) -> nn.Module:
        """Wraps the model in DDP: gradients are averaged over the ranks, all start with rank 0's weights."""
        if self.is_single:
            return model
        device = next(model.parameters()).device
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None
        )

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, the same on all."""
        if not self.is_single:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool, *, device: torch.device) -> bool:
        """Whether the flag is true on any rank."""
        return bool(self.sum(torch.tensor(float(flag), device=device)) > 0) if not self.is_single else flag

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.is_single:
            return value
        box: list[Any] = [value if self.is_first else None]
        distributed.broadcast_object_list(box)
        return box[0]


ALONE = Ranks()


@contextmanager
def open_ranks(*, ddp: bool, device: str) -> Generator[Ranks]:
    """Opens the process group of this run; closed at the end of the block.

    Args:
        ddp: whether the run is one over several processes.
        device: as configured; with GPUs each rank takes one.

    Raises:
        ConfigError: several processes were started for a run of one, or a run of several outside of torchrun.
    """
    world = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if not ddp:
        if world > 1:
            raise ConfigError(
                "trainer.ddp", False, f"{world} processes were started: trainer.ddp=true trains one run in them"
            )
        yield ALONE
        return
    if "RANK" not in os.environ:
        raise ConfigError("trainer.ddp", True, _TORCHRUN_HINT)
    if world == 1:
        yield ALONE
        return
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if gpu:
        if local >= torch.cuda.device_count():
            raise ConfigError(
                "trainer.ddp", True, f"{torch.cuda.device_count()} GPUs here: start no more processes, or device=cpu"
            )
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Ranks(rank=int(os.environ["RANK"]), world=world)
    finally:
        distributed.destroy_process_group()
