"""Whether the arms of a study can be trained, asked before anything of it is written.

To build what a configuration names takes torch, whose import takes a second. The first worker has it by then, so it
looks while the leader composes the next arm; where there is no such worker, or it objects, the leader looks itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from initlab import config as configuration
from initlab.spec import Scalar
from initlab.study.workers.worker_pool import POOL

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a study has to know of an arm that can be trained.

    Attributes:
        monitor: the metric that its task is judged by.
        epochs: that a run is trained for.
        ddp: whether a run is shared by several processes.
        params: of a run, as they are recorded.
    """

    monitor: str
    epochs: int
    ddp: bool
    params: Mapping[str, Scalar]


def facts(config: DictConfig, overrides: list[str]) -> Facts:
    """Build what a composed configuration names, and look at it. Raises InitlabError where that cannot be."""
    built = configuration.experiment(config, overrides=overrides)
    trainer = built.trainer
    return Facts(monitor=built.task.monitor, epochs=trainer.epochs, ddp=trainer.ddp, params=built.params)


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's side: the facts of the configuration in `question`; nothing where there is something wrong."""
    from omegaconf import OmegaConf

    try:
        config = cast("DictConfig", OmegaConf.create(question["config"]))
        return asdict(facts(config, question["overrides"]))
    except Exception:  # the leader finds the same, and has somebody to tell
        return {}


class Checks:
    """Looks at arms in the order in which they are given, beside whatever else the leader does.

    Attributes:
        known: the facts of the first of them.
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
        """Have one more looked at."""
        from omegaconf import OmegaConf

        question = {"config": OmegaConf.to_container(config, resolve=False), "overrides": overrides}
        self._asked.append((config, overrides, self._asker.submit(POOL.ask, {"look": question})))

    def go_on(self, *, wait: bool = False) -> None:
        """Take the answers that are there by now, or all of them.

        Raises:
            InitlabError: as `facts` does, for the arm that follows those which are known.
        """
        while self._asked and (wait or self._asked[0][2].done()):
            config, overrides, future = self._asked[0]
            found = future.result()
            self.known.append(Facts(**found) if found else facts(config, overrides))
            self._asked.popleft()

    def all(self) -> list[Facts]:
        """Those of all; raises InitlabError as `go_on` does."""
        self.go_on(wait=True)
        return self.known
