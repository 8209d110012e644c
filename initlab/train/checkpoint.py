"""Checkpoints that resume bit for bit: safetensors with JSON in the header, no pickle.

`last.safetensors` holds weights, buffers, optimiser state and the states of the random number generators. Where the run
stands is in the same file's metadata, so that a crash cannot leave tensors of one step beside numbers of another.
`last.json` and `best.json` say the same for a reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from initlab.errors import InitlabError
from initlab.spec import Carrying

LAST = "last.safetensors"


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
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoint folder of a run. Without a folder the best weights stay in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._best: dict[str, Tensor] | None = None

    @property
    def profile_path(self) -> Path | None:
        return None if self.folder is None else self.folder / "profile.jsonl"

    def save_last(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Writes the whole state; the previous file is removed only after this one is complete."""
        if self.folder is None:
            return
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        packed, plain = _pack_optimizer(optimizer)
        tensors.update(packed)
        if isinstance(model, Carrying):
            tensors.update({f"carried.{i}": value for i, value in enumerate(model.state)})
        tensors["rng.cpu"] = torch.get_rng_state()
        device = next(model.parameters()).device
        if device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(device)
        state.optimizer = plain
        text = json.dumps(asdict(state))
        _write_tensors(self.folder / LAST, tensors, metadata={"state": text})
        _write_text(self.folder / "last.json", text)

    def save_best(self, model: nn.Module, step: int) -> None:
        """Saves these weights as the best so far."""
        self._best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        if self.folder is not None:
            _write_tensors(self.folder / "best.safetensors", self._best)
            _write_text(self.folder / "best.json", json.dumps({"step": step}))

    def load_best(self, model: nn.Module) -> bool:
        """Put the best weights into the model; False where there are none."""
        best = self._best
        if best is None and self.folder is not None and (self.folder / "best.safetensors").exists():
            try:
                best = load_file(self.folder / "best.safetensors")
            except SafetensorError as error:
                raise InitlabError(f"{self.folder / 'best.safetensors'} is damaged: {error}") from error
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
                return State(**json.loads(file.metadata()["state"]))
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise InitlabError(f"{self.folder / LAST} is not a checkpoint of initlab: {error}") from error

    def load_last(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> State | None:
        """Restore weights, optimiser and random number generators; None where there is no checkpoint."""
        state = self.peek()
        if self.folder is None or state is None:
            return None
        try:
            tensors = load_file(self.folder / LAST)
            model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
            _unpack_optimizer(optimizer, tensors, state.optimizer)
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


def _pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into named tensors and plain JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"groups": state["param_groups"], "state": {}}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{index}.{key}"] = value
            else:
                plain["state"].setdefault(str(index), {})[key] = value
    return tensors, plain


def _unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {int(i): dict(entries) for i, entries in plain["state"].items()}
    for name, value in tensors.items():
        if name.startswith("optim."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    groups = [dict(g) for g in plain["groups"]]
    for group in groups:  # JSON has no tuples
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    now = optimizer.state_dict()["param_groups"]
    if len(groups) != len(now) and sum(len(g["params"]) for g in groups) == sum(len(g["params"]) for g in now):
        groups = now  # of a version that kept groups apart although they were treated alike; the order is the same
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    # shared storage (tied weights) is not for safetensors: each name gets its own copy
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, value in tensors.items():
        plain = value.detach().contiguous()
        own[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    temporary = path.with_name(path.name + ".tmp")
    save_file(own, temporary, metadata=metadata)
    temporary.replace(path)


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
