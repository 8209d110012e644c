"""Every file of conf/model, as it stands, is initialised, predicted and trained for two updates with its task."""

from __future__ import annotations

import math

import pytest

from initlab import config
from tests.cases import untracked

#: where it is not an image that a model reads
TASKS = {
    "speech": ("task=speech",), "speech_cnn": ("task=speech",), "tdnn": ("task=speech",), "crnn": ("task=speech",),
    "m5": ("task=speech", "data.features=waveform"), "text": ("task=text",),
    "gpt": ("task=text",), "rnn": ("task=text",), "lstm": ("task=text",), "gru": ("task=text",),
    "synthetic": ("task=synthetic", "data.length=50"), "irnn": ("task=synthetic", "data.length=50"),
}  # fmt: skip
#: needs audio files
WITHOUT = ("m5",)


@pytest.mark.parametrize("init", ["he", "auto"])
@pytest.mark.parametrize("model", [m for m in config.groups()["model"] if m not in WITHOUT])
def test_it_starts_near_the_loss_of_guessing_and_trains(model: str, init: str) -> None:
    own = () if model in ("image", "text", "speech", "synthetic") else (f"model={model}",)
    task = TASKS.get(model, ("task=image", "data=digits"))
    small = ("model.name=shufflenet_v2_x0_5",) if model == "torchvision" else ()
    result, told = untracked(*task, *own, *small, f"init={init}", "trainer.max_steps=2", "probes=none")
    assert result.status == "finished"
    start = told.records[0].metrics["val/loss"]
    averages = any(n.endswith("running_var") for n, _ in told.prepared.model.named_buffers())  # mean nothing as yet
    assert math.isfinite(start) and (averages or start < 3 * told.prepared.splits.baseline.untrained + 1)
