"""Checks that the arms of a study can be built, before anything of the study is written.

Building what a configuration names needs torch, whose import takes a second. The first worker has imported it, so it
checks one arm while the leader composes the next; without such a worker, or on an error, the leader checks itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from initlab import config as configuration
from initlab.config.computation import computation_hash
from initlab.spec import Scalar
from initlab.study.workers.worker_pool import POOL

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a study needs to know about an arm that can be trained.

    Attributes:
        monitor: the metric that its task is scored by.
        epochs: of a run.
        ddp: whether several processes share a run.
        params: of a run, as recorded.
        computation: the same for two arms that differ in words alone.
    """

    monitor: str
    epochs: int
    ddp: bool
    params: Mapping[str, Scalar]
    computation: str = ""


def facts(config: DictConfig, overrides: list[str]) -> Facts:
    """Build the objects of a composed configuration and collect the facts. Raises InitlabError on failure."""
    built = configuration.experiment(config, overrides=overrides)
    trainer = built.trainer
    return Facts(
        monitor=built.task.monitor,
        epochs=trainer.epochs,
        ddp=trainer.ddp,
        params=built.params,
        computation=computation_hash(config),
    )


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's side: the facts of the configuration in `question`; empty on any error."""
    from omegaconf import OmegaConf

    try:
        config = cast("DictConfig", OmegaConf.create(question["config"]))
        return asdict(facts(config, question["overrides"]))
    except Exception:  # the leader gets the same error, and can report it
        return {}


class Checks:
    """Checks arms in the given order, in parallel with the work of the leader.

    Attributes:
        known: the facts of those that are checked already.
    """

    def __init__(self) -> None:
        self.known: list[Facts] = []
        self._asker = ThreadPoolExecutor(1)
        self._asked: deque[tuple[DictConfig, list[str], Future[Any]]] = deque()

    def __enter__(self) -> Checks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asker.shutdown(cancel_futures=True)

    def add(self, config: DictConfig, overrides: list[str]) -> None:
        """Add one more arm to check."""
        from omegaconf import OmegaConf

        question = {"config": OmegaConf.to_container(config, resolve=False), "overrides": overrides}
        self._asked.append((config, overrides, self._asker.submit(POOL.ask, {"look": question})))

    def collect(self, *, wait: bool = False) -> None:
        """Collect the answers that have arrived, or wait for all of them.

        Raises:
            InitlabError: as `facts` does, for the first arm after the known ones.
        """
        while self._asked and (wait or self._asked[0][2].done()):
            config, overrides, future = self._asked[0]
            found = future.result()
            self.known.append(Facts(**found) if found else facts(config, overrides))
            self._asked.popleft()

    def all(self) -> list[Facts]:
        """The facts of all arms; raises InitlabError as `collect` does."""
        self.collect(wait=True)
        return self.known
