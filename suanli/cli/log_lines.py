"""Output of many processes as lines: whole, each with the rank that said it."""

from __future__ import annotations

from collections.abc import Callable

from suanli.cli.moments import local_exact
from suanli.client.types import LogRecord
from suanli.sentences.harmless import harmless


class LogLines:
    """Collects pieces of text and writes whole lines.

    Without prefix (one process) and times, text is written as it comes. A line longer than `most` is written in parts.
    A line's time is that of its first piece, on this machine's clock.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        prefix: bool,
        raw: bool,
        times: bool = False,
        most: int = 1 << 16,
    ) -> None:
        self._write = write
        self._prefix = prefix
        self._raw = raw
        self._times = times
        self._most = most
        self._parts: dict[tuple[int, int, str], tuple[str | None, str]] = {}

    def add(self, record: LogRecord) -> None:
        """Write what the record completes."""
        text = record["text"]
        if not self._prefix and not self._times:
            self._write(text if self._raw else harmless(text))
            return
        key = (record["attempt"], record["rank"], record["stream"])
        at = record.get("at")
        begun, before = self._parts.pop(key, (at, ""))
        lines = (before + text).split("\n")
        rest = lines.pop()
        if len(rest) > self._most:
            lines.append(rest)
            rest = ""
        if rest:
            self._parts[key] = (at if lines else begun, rest)
        if lines:
            moments = [begun, *[at] * (len(lines) - 1)]
            written = (self._line(key, moment, line) for moment, line in zip(moments, lines, strict=True))
            self._write("".join(written))

    def finish(self) -> None:
        """Write what never got its line feed."""
        for key, (begun, rest) in sorted(self._parts.items()):
            self._write(self._line(key, begun, rest))
        self._parts.clear()

    def _line(self, key: tuple[int, int, str], at: str | None, line: str) -> str:
        _, rank, stream = key
        mark = "" if not self._prefix else f"[{rank}] " if stream == "stdout" else f"[{rank} err] "
        if self._times:
            mark += f"{local_exact(at)} "
        if self._raw:
            return f"{mark}{line}\n"
        return "".join(f"{mark}{part}\n" for part in harmless(line.removesuffix("\r")).split("\n"))
