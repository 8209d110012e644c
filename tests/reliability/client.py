"""A run that only records: `python -m tests.reliability.client WORKDIR URI RECORDS PER_SECOND`.

Each record's serial is printed as soon as `write` returned, which is when a run may rely on it; then `failed`, where
the disk takes no more, and `closed` with what the tracker has to say. It ends as a training process does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from initlab.errors import InitlabError, StoreError
from initlab.spec import Record, RunHeader, RunStatus, TrackingSettings
from initlab.tracking import RunSink
from initlab.tracking.record.start import start

KEYS = ("train/loss", "watch/diag/grad_norm", "act_std/layers.0.weight")
ARTIFACT = "seed: 0\n"
START_MS = 1_700_000_000_000


def value(key: str, serial: int) -> float:
    """What is recorded under `key` in record `serial`."""
    return (KEYS.index(key) + 1) / (serial + 3)


def main(workdir: Path, uri: str, count: int, rate: float) -> None:
    """Record `count` records, `rate` a second, and end the run."""
    header = RunHeader(name="run", experiment="initlab", params={"optimizer.lr": 0.1}, tags={}, dataset=None,
                       start_ms=START_MS)  # fmt: skip
    settings = TrackingSettings(uri=uri, flush_seconds=0.2, drain_seconds=8.0)
    sink = start(header, settings, workdir=workdir, files={"config.yaml": ARTIFACT})
    assert isinstance(sink, RunSink)
    _say(f"uid {sink.uid}")
    begun, status, written = time.monotonic(), "finished", 0
    try:
        for serial in range(count):
            metrics = {key: value(key, serial) for key in KEYS}
            sink.write(
                Record(serial=serial, step=serial, epoch=serial / 10, time_ms=START_MS + serial, metrics=metrics)
            )
            written = serial + 1
            _say(str(serial))
            time.sleep(max(0.0, begun + written / rate - time.monotonic()))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "last.txt"
            file.write_text(str(written))
            sink.artifact(file)
    except StoreError:
        status = "failed"
        _say("failed")
    _say(f"closed {sink.close(_status(status))}")


def _status(word: str) -> RunStatus:
    return "finished" if word == "finished" else "failed"


def _say(line: str) -> None:
    # past any buffer: what was said counts
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    except InitlabError as error:
        _say(f"refused {error}")
