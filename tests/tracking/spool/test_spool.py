from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initlab.errors import StoreError
from initlab.spec import Provenance
from initlab.tracking.spool import spool
from initlab.tracking.spool.appender import Appender
from initlab.tracking.spool.values import batches, clean_key, truncate
from tests.tracking.tracking_cases import header


def full_header(uid: str = "u1") -> spool.SpoolHeader:
    dataset = Provenance(name="digits", source="https://example.org", digest="ab")
    return spool.SpoolHeader(uid=uid, uri="sqlite:////x/mlflow.db", run=header(dataset=dataset), local_db="mlflow.db")


def test_header_survives(tmp_path: Path) -> None:
    spool.save_header(tmp_path, full_header())
    assert spool.load_header(tmp_path) == full_header()


def test_store_moves_with_its_directory(tmp_path: Path) -> None:
    assert spool.intended_uri(full_header(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


def test_damaged_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no header\.json"):
        spool.load_header(tmp_path)
    (tmp_path / spool.HEADER).write_text('{"uid": 1}')
    with pytest.raises(StoreError, match="damaged"):
        spool.load_header(tmp_path)


def test_torn_line_counts_as_never_written(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"serial": 0}\n{"serial": 1}')
    assert [line["serial"] for _, line in spool.read_lines(path)] == [0]
    path.write_bytes(b'{"serial": 0}\n{"serial": 1}\n{"ser')
    assert [line["serial"] for _, line in spool.read_lines(path)] == [0, 1]
    appender = Appender(path)
    appender.append(b'{"serial": 2}\n')
    appender.close()
    assert [line["serial"] for _, line in spool.read_lines(path)] == [0, 1, 2]


def test_offsets_continue_where_reading_stopped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"serial": index}) + "\n" for index in range(5)))
    offsets = [offset for offset, _ in spool.read_lines(path)]
    assert [line["serial"] for _, line in spool.read_lines(path, offsets[2])] == [3, 4]


def test_damaged_or_foreign_progress_begins_anew(tmp_path: Path) -> None:
    spool.save_progress(tmp_path, spool.Progress(uri="a", run_id="r", offset=7))
    assert spool.load_progress(tmp_path, "a").offset == 7
    assert spool.load_progress(tmp_path, "b") == spool.Progress(uri="b", creating=True)
    (tmp_path / spool.PROGRESS).write_text("{")
    assert spool.load_progress(tmp_path, "a") == spool.Progress(uri="a", creating=True)


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    lock = spool.take_lock(tmp_path)
    assert lock is not None
    assert spool.take_lock(tmp_path) is None
    lock.release()
    again = spool.take_lock(tmp_path)
    assert again is not None
    again.release()
    assert spool.take_lock(tmp_path / "gone") is None
    assert not (tmp_path / "gone").exists()


def test_the_last_end_counts_until_a_reopening() -> None:
    end, again = {"kind": "status"}, {"kind": "reopen"}
    assert spool.end_event([]) == -1
    assert spool.end_event([end]) == 0
    assert spool.end_event([end, again]) == -1
    assert spool.end_event([end, again, {"kind": "tags"}, end]) == 3


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_finite_metric_survives_the_file(values: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        appender = Appender(path)
        appender.append(json.dumps({"metrics": values}).encode() + b"\n")
        appender.close()
        ((_, line),) = spool.read_lines(path)
    assert line["metrics"] == values


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=7000), max_size=300))
@settings(max_examples=20, deadline=None)
def test_batches_hold_everything_once(pairs: dict[str, str]) -> None:
    portions = batches(pairs)
    assert {key: value for portion in portions for key, value in portion.items()} == pairs
    assert all(0 < len(portion) <= 100 for portion in portions)


def test_keys_and_values_fit_the_store() -> None:
    assert clean_key("grad_norm/layer.0-a b:c") == "grad_norm/layer.0-a b:c"
    assert clean_key("a[0]{x}") == "a_0__x_"
    assert truncate("abc", 3) == "abc"
    assert truncate("abcd", 3) == "ab…"
