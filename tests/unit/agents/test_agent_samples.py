"""Raw samples on the disk: found again, compressed, bounded, and forgiving about a torn end."""

import json
from pathlib import Path

import pytest

from agents.app import main
from agents.samples import HOUR_MS, SampleFiles
from suanli.evidence.samples import RawSample, encode_sample

T0 = 1_700_000_000_000 // HOUR_MS * HOUR_MS


def line(at_ms: int, device: str = "d0", allocation: str | None = "a0") -> bytes:
    """One reading."""
    return encode_sample(RawSample(device, at_ms, allocation, "ok", 0, 0, None, 1, 2, 3, 4, 0))


def test_a_stretch_across_hours_is_found_in_order(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 1 << 30)
    times = [T0 + n * 600_000 for n in range(20)]
    for at_ms in times:
        files.append(at_ms, [line(at_ms), line(at_ms, "d1")])
    assert files.read("d0", "a0", times[3] - 1, times[15]) == [line(at_ms) for at_ms in times[3:16]]
    assert files.read("d2", "a0", times[0], times[-1]) == []
    names = sorted(path.name.partition(".")[2] for path in (tmp_path / "samples").iterdir())
    assert names == ["jsonl", "jsonl.gz", "jsonl.gz", "jsonl.gz"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "samples").iterdir()} == {0o600}


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 1, 1 << 30)
    files.append(T0, [line(T0)])
    files.append(T0 + 24 * HOUR_MS, [line(T0 + 24 * HOUR_MS)])
    assert files.read("d0", "a0", T0 - 1, T0) == [line(T0)]
    files.append(T0 + 26 * HOUR_MS, [line(T0 + 26 * HOUR_MS)])
    assert files.read("d0", "a0", T0 - 1, T0) == []
    assert files.read("d0", "a0", T0 + HOUR_MS, T0 + 26 * HOUR_MS) != []


def test_what_is_too_much_goes_oldest_first(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 600)
    for hour in range(8):
        at_ms = T0 + hour * HOUR_MS
        files.append(at_ms, [line(at_ms)])
    left = files.read("d0", "a0", T0 - 1, T0 + 8 * HOUR_MS)
    assert left[-1] == line(T0 + 7 * HOUR_MS)
    assert 1 < len(left) < 8
    assert left == [line(T0 + hour * HOUR_MS) for hour in range(8 - len(left), 8)]


def test_whoever_has_a_part_of_a_device_has_lines_of_his_own(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 1 << 30)
    for at_ms in (T0, T0 + 1):
        files.append(at_ms, [line(at_ms), line(at_ms, allocation="a1"), line(at_ms, allocation=None)])
    assert files.read("d0", "a1", T0 - 1, T0 + 10) == [line(at_ms, allocation="a1") for at_ms in (T0, T0 + 1)]


def test_a_torn_end_is_not_read(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 1 << 30)
    files.append(T0, [line(T0), line(T0 + 1)])
    path = next((tmp_path / "samples").iterdir())
    path.write_bytes(path.read_bytes()[:-30])
    assert files.read("d0", "a0", T0 - 1, T0 + 10) == [line(T0)]


def test_a_request_is_answered_with_what_this_host_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = SampleFiles(tmp_path / "state" / "samples", 90, 1 << 30)
    (tmp_path / "state").mkdir()
    files.append(T0 + 1, [line(T0 + 1)])
    files.append(T0 + 2, [line(T0 + 2)])
    stretch = {"node_id": "n", "allocation_id": "a0", "start_ms": T0, "end_ms": T0 + 1}
    request = {
        "schema": "suanli.sample_request.v1",
        "seed": "00" * 32,
        "devices": [],
        "segments": [
            {"path": "samples/7-0.jsonl", "device_id": "d0", **stretch},
            {"path": "samples/8-0.jsonl", "device_id": "d1", **stretch},
        ],
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    options = [
        str(tmp_path / "request.json"),
        "--state",
        str(tmp_path / "state"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(["samples", *options]) == 0
    assert (tmp_path / "out" / "samples" / "7-0.jsonl").read_bytes() == line(T0 + 1) + b"\n"
    assert "1 segments" in capsys.readouterr().out
    assert not (tmp_path / "out" / "samples" / "8-0.jsonl").exists()
    (tmp_path / "request.json").write_text("{}")
    assert main(["samples", *options]) != 0
    assert "sample_request" in capsys.readouterr().err
