"""Raw samples kept on the host: a file an hour, compressed when the hour is over, the oldest gone first.

Nobody waits for the disk here: a line that a power cut takes is missed only by somebody who asks for it, and
the window says then by its root that something is missing. What does not fit into the bound goes, oldest first.
"""

import gzip
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from suanli.evidence.errors import EvidenceError
from suanli.evidence.samples import parse_sample
from suanli.evidence.sampling import RequestedSamples

HOUR_MS = 3_600_000
_OPEN, _CLOSED = ".jsonl", ".jsonl.gz"


class SampleFiles:
    """The folder of raw samples. `keep_days` and `keep_bytes` bound it, whichever is reached first."""

    def __init__(self, folder: Path, keep_days: int, keep_bytes: int) -> None:
        self._folder = folder
        self._keep_ms = keep_days * 86_400_000
        self._keep_bytes = keep_bytes
        self._hour: int | None = None

    def append(self, at_ms: int, lines: Iterable[bytes]) -> None:
        """Add the lines of one reading. Raises OSError where the disk takes none."""
        hour = at_ms // HOUR_MS
        if self._hour != hour:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._tidy(hour)
            self._hour = hour
        path = self._folder / f"{hour}{_OPEN}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, b"".join(line + b"\n" for line in lines))
        finally:
            os.close(file)

    def _files(self) -> dict[int, list[Path]]:
        """Files by hour, oldest first."""
        found: dict[int, list[Path]] = {}
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                hour = path.name.partition(".")[0]
                if hour.isdigit() and path.name[len(hour) :] in (_OPEN, _CLOSED):
                    found.setdefault(int(hour), []).append(path)
        return dict(sorted(found.items()))

    def _tidy(self, hour: int) -> None:
        """Compress what is over, and remove what is too old or too much."""
        for past, paths in self._files().items():
            for path in paths:
                if past < hour and path.name.endswith(_OPEN):
                    _compress(path)
        files = self._files()
        sizes = {past: sum(path.stat().st_size for path in paths) for past, paths in files.items()}
        total = sum(sizes.values())
        for past, paths in files.items():
            if past >= hour or (
                (past + 1) * HOUR_MS >= hour * HOUR_MS - self._keep_ms and total <= self._keep_bytes
            ):
                break
            for path in paths:
                path.unlink(missing_ok=True)
            total -= sizes[past]

    def kept_from_ms(self) -> int:
        """Since when readings are kept here; 0 where there is none."""
        return min(self._files(), default=0) * HOUR_MS

    def read(self, device_id: str, allocation_id: str | None, start_ms: int, end_ms: int) -> list[bytes]:
        """The lines of a device, or of its part, under an allocation or none, after start_ms and up to end_ms; empty
        where they are gone. Who else has a part of the device has lines of his own.
        """
        found: list[bytes] = []
        marker = device_id.encode()
        for hour, paths in self._files().items():
            if not start_ms // HOUR_MS <= hour <= end_ms // HOUR_MS:
                continue
            for line in (line for path in paths for line in _lines(path)):
                if marker not in line:
                    continue
                with suppress(EvidenceError):  # the end of a file that a power cut tore
                    sample = parse_sample(line)
                    if (sample.device_id, sample.allocation_id) == (device_id, allocation_id) and (
                        start_ms < sample.at_ms <= end_ms
                    ):
                        found.append(line)
        return found


def write_packet(samples: Path, wanted: Iterable[RequestedSamples], output: Path) -> tuple[int, int]:
    """Write what this host has of a request; how many segments were found, and how many were not.

    Raises OSError where it cannot be written.
    """
    files = SampleFiles(samples, 0, 0)
    found = missing = 0
    for segment in wanted:
        lines = files.read(segment.device_id, segment.allocation_id, segment.start_ms, segment.end_ms)
        if not lines:
            missing += 1
            continue
        found += 1
        path = output / segment.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    return found, missing


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.name.endswith(_CLOSED) else path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except (OSError, EOFError):
        return


def _compress(path: Path) -> None:
    target = path.with_name(path.name + ".gz")
    temporary = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    with path.open("rb") as plain, gzip.open(temporary, "wb", compresslevel=6) as packed:
        while piece := plain.read(1 << 20):
            packed.write(piece)
    temporary.chmod(0o600)
    temporary.replace(target)
    path.unlink()
