"""Raw samples on the disk: found again, compressed, bounded, and forgiving about a torn end."""

from pathlib import Path

from agents.samples import HOUR_MS, SampleFiles
from suanli.evidence.samples import RawSample, encode_sample

T0 = 1_700_000_000_000 // HOUR_MS * HOUR_MS


def line(at_ms: int, device: str = "d0") -> bytes:
    """One reading."""
    return encode_sample(RawSample(device, at_ms, None, "ok", 0, 0, None, 1, 2, 3, 4, 0))


def test_a_stretch_across_hours_is_found_in_order(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 1 << 30)
    times = [T0 + n * 600_000 for n in range(20)]
    for at_ms in times:
        files.append(at_ms, [line(at_ms), line(at_ms, "d1")])
    assert files.read("d0", times[3] - 1, times[15]) == [line(at_ms) for at_ms in times[3:16]]
    assert files.read("d2", times[0], times[-1]) == []
    names = sorted(path.name.partition(".")[2] for path in (tmp_path / "samples").iterdir())
    assert names == ["jsonl", "jsonl.gz", "jsonl.gz", "jsonl.gz"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "samples").iterdir()} == {0o600}


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 1, 1 << 30)
    files.append(T0, [line(T0)])
    files.append(T0 + 24 * HOUR_MS, [line(T0 + 24 * HOUR_MS)])
    assert files.read("d0", T0 - 1, T0) == [line(T0)]
    files.append(T0 + 26 * HOUR_MS, [line(T0 + 26 * HOUR_MS)])
    assert files.read("d0", T0 - 1, T0) == []
    assert files.read("d0", T0 + HOUR_MS, T0 + 26 * HOUR_MS) != []


def test_what_is_too_much_goes_oldest_first(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 600)
    for hour in range(8):
        at_ms = T0 + hour * HOUR_MS
        files.append(at_ms, [line(at_ms)])
    left = files.read("d0", T0 - 1, T0 + 8 * HOUR_MS)
    assert left[-1] == line(T0 + 7 * HOUR_MS)
    assert 1 < len(left) < 8
    assert left == [line(T0 + hour * HOUR_MS) for hour in range(8 - len(left), 8)]


def test_a_torn_end_is_not_read(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", 90, 1 << 30)
    files.append(T0, [line(T0), line(T0 + 1)])
    path = next((tmp_path / "samples").iterdir())
    path.write_bytes(path.read_bytes()[:-30])
    assert files.read("d0", T0 - 1, T0 + 10) == [line(T0)]
