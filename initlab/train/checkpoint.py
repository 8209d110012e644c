"""Checkpoints that resume bit for bit: safetensors with JSON in the header, no pickle.

`last.safetensors` holds weights, buffers, optimiser state and the states of the random number generators. Where the run
stands is in the same file's metadata, so that a crash cannot leave tensors of one step beside numbers of another.
`last.json` and `best.json` say the same for a reader.

Files are written beside their places, and a thread moves them there once they, and the records that they follow, are on
the disk: a power cut leaves the former checkpoint or the new one, and training does not wait for the disk. A checkpoint
that cannot be written (a full disk) is told, and the run goes on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from initlab.core import durable
from initlab.errors import InitlabError
from initlab.spec import Carrying
from initlab.train.optimizer_state import pack_optimizer, unpack_optimizer

LAST, BEST, PROFILE = "last.safetensors", "best.safetensors", "profile.jsonl"
#: seconds between two checkpoints at the ends of epochs: what a power cut may cost, and what short epochs need not pay
EVERY_SECONDS = 2.0
_log = logging.getLogger("initlab.train")
#: text, or tensors with the metadata of their file
_Content = str | tuple[Mapping[str, Tensor], dict[str, str] | None]


@dataclass
class State:
    """Position of a run, besides its tensors.

    Attributes:
        step: updates done. epoch: epochs begun. batch: batches done in the current epoch.
        serial: number of records written.
        window: losses, right answers, examples and answers since the last training record, so that its mean is that of
            the whole window.
        best, best_step: best monitored value so far and when; stale: epochs without a better one.
        profile_offset: bytes of the profile file that belong to this state.
        target, target_step, target_epoch: the target of `trainer.until` that was reached ("" before), and when.
        over: whether training has ended, with a serial number kept for the closing record; None in a checkpoint of a
            version that did not note it.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    serial: int = 0
    window_loss: list[float] = field(default_factory=list)
    window_correct: float = 0.0
    window_seen: int = 0
    window_answers: int = 0
    best: float | None = None
    best_step: int = -1
    stale: int = 0
    profile_offset: int = 0
    target: str = ""
    target_step: int = 0
    target_epoch: float = 0.0
    over: bool | None = False
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoint folder of a run. Without a folder the best weights stay in memory only."""

    def __init__(self, folder: Path | None, *, sync_records: Callable[[], object] = lambda: None) -> None:
        """`sync_records` brings the records of the run onto the disk; it is called by another thread."""
        self.folder = folder
        self._sync_records = sync_records
        self._publishing: threading.Thread | None = None
        self._fault = ""
        self._best: dict[str, Tensor] | None = None
        #: the step of the best weights, while they are not in the folder yet
        self._unwritten: int | None = None
        self._saved = time.monotonic()

    @property
    def profile_path(self) -> Path | None:
        return None if self.folder is None else self.folder / PROFILE

    def detach(self) -> None:
        """From now on write nothing: the folder belongs to whoever delivers the run."""
        self.settle()
        self.folder = None

    def settle(self) -> None:
        """Wait until what was saved is in its place, and on the disk."""
        if self._publishing is not None:
            self._publishing.join()
            self._publishing = None

    @property
    def is_busy(self) -> bool:
        """Whether the disk has not taken the former checkpoint yet."""
        return self._publishing is not None and self._publishing.is_alive()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so old that the end of an epoch should write another."""
        return self.folder is not None and not self.is_busy and time.monotonic() - self._saved >= EVERY_SECONDS

    def save_last(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, state: State, *, complete: bool = False
    ) -> None:
        """Write the whole state; the previous file is replaced only when this one is complete, and on the disk.

        Args:
            model, optimizer, state: of the run.
            complete: that the run is over: the optimiser's tensors, two thirds of the file, are left out, and so are
                the weights where they are those of the best file.
        """
        if self.folder is None:
            return
        self.settle()
        held = self._best is not None or (self.folder / BEST).exists()
        is_best = complete and held and state.best is not None and state.best_step == state.step
        tensors = {} if is_best else {f"model.{k}": v for k, v in model.state_dict().items()}
        packed, plain = pack_optimizer(optimizer)
        if not complete:
            tensors.update(packed)
        if isinstance(model, Carrying):
            tensors.update({f"carried.{i}": value for i, value in enumerate(model.state)})
        tensors["rng.cpu"] = torch.get_rng_state()
        device = next(model.parameters()).device
        if device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(device)
        state.optimizer = plain
        text = json.dumps(asdict(state))
        self._saved = time.monotonic()
        best = self._take_best()
        self._write({**best, LAST: (tensors, {"state": text}), "last.json": text})

    def save_best(self, model: nn.Module, step: int) -> None:
        """Keep these weights as the best so far; they are written before the state that names them."""
        self.keep_best({k: v.detach().clone() for k, v in model.state_dict().items()}, step)

    def keep_best(self, weights: dict[str, Tensor], step: int) -> None:
        """Keep these weights, of which nobody else holds a reference, as the best so far; `write_best` writes them."""
        self._best, self._unwritten = weights, step

    def write_best(self) -> None:
        """Write the best weights into the folder, where that was not done yet."""
        self.settle()
        if best := self._take_best():
            self._write(best)

    def _take_best(self) -> dict[str, _Content]:
        """The files of the best weights, where they are not in the folder yet."""
        step, self._unwritten = self._unwritten, None
        if step is None or self._best is None or self.folder is None:
            return {}
        return {BEST: (self._best, None), "best.json": json.dumps({"step": step})}

    def _write(self, files: Mapping[str, _Content]) -> None:
        """Write files beside their places; a thread moves them there, in this order."""
        folder = self.folder
        assert folder is not None
        parts: list[tuple[Path, Path]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                part = folder / f"{name}.tmp"
                parts.append((part, folder / name))
                if isinstance(content, str):
                    part.write_text(content)
                else:
                    _write_tensors(part, content[0], metadata=content[1])
        except (OSError, SafetensorError) as error:
            self._tell(error, parts)
            return
        self._publishing = threading.Thread(target=self._publish, args=(folder, parts), name="initlab-checkpoint")
        self._publishing.start()

    def _publish(self, folder: Path, parts: list[tuple[Path, Path]]) -> None:
        try:
            self._sync_records()
            profile = folder / PROFILE
            if profile.exists():
                durable.sync_file(profile)
            for part, target in parts:
                durable.replace(part, target, keep=False)
            durable.sync_folder(folder)
        except OSError as error:
            self._tell(error, parts)
        else:
            self._fault = ""

    def _tell(self, error: Exception, parts: list[tuple[Path, Path]]) -> None:
        """Say once why checkpoints cannot be written, and remove what was begun."""
        for part, _ in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        reason = str(getattr(error, "strerror", None) or error)
        if "No space left" in reason or "os error 28" in reason:
            reason = (
                "its disk is full: free some space, choose another working directory, or set trainer.checkpoint=false"
            )
        if self._fault != reason:
            self._fault = reason
            _log.warning(
                "no checkpoint in %s (%s); training continues, and the former checkpoint, where there is one, is kept",
                self.folder,
                reason,
            )

    def load_best(self, model: nn.Module) -> bool:
        """Put the best weights into the model; False where there are none."""
        best = self._best
        self.settle()
        if best is None and self.folder is not None and (self.folder / BEST).exists():
            try:
                best = load_file(self.folder / BEST)
            except SafetensorError as error:
                raise InitlabError(f"{self.folder / BEST} is damaged: {error}") from error
        if best is None:
            return False
        model.load_state_dict(best)
        return True

    def peek(self) -> State | None:
        """The position of the last checkpoint, without its tensors; None where there is none."""
        if self.folder is None or not (self.folder / LAST).exists():
            return None
        try:
            with safe_open(self.folder / LAST, framework="pt") as file:
                saved: dict[str, Any] = json.loads(file.metadata()["state"])
                saved.setdefault("over", None)
                return State(**saved)
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise InitlabError(f"{self.folder / LAST} is not a checkpoint of initlab: {error}") from error

    def load_last(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> State | None:
        """Restore weights, optimiser and random number generators; None where there is no checkpoint."""
        state = self.peek()
        if self.folder is None or state is None:
            return None
        try:
            tensors = load_file(self.folder / LAST)
            weights = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
            if weights or not self.load_best(model):
                model.load_state_dict(weights)
            unpack_optimizer(optimizer, tensors, state.optimizer)
            torch.set_rng_state(tensors["rng.cpu"])
        except (SafetensorError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise InitlabError(f"the checkpoint in {self.folder} does not fit this model: {error}") from error
        device = next(model.parameters()).device
        if isinstance(model, Carrying):
            carried = sorted((k for k in tensors if k.startswith("carried.")), key=lambda k: int(k.split(".")[1]))
            model.state = tuple(tensors[k].to(device) for k in carried)
        if device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], device)
        return state


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    # shared storage (tied weights) is not for safetensors: each name gets its own copy
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, value in tensors.items():
        plain = value.detach().contiguous()
        own[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    save_file(own, path, metadata=metadata)
