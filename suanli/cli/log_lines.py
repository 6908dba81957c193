"""Output of many processes as lines: whole, each with the rank that said it."""

from __future__ import annotations

from collections.abc import Callable

from suanli.cli.harmless import harmless
from suanli.client.types import LogRecord


class LogLines:
    """Collects pieces of text and writes whole lines.

    Without prefix (one process), text is written as it comes. A line longer than `most` is written in parts.
    """

    def __init__(self, write: Callable[[str], None], *, prefix: bool, raw: bool, most: int = 1 << 16) -> None:
        self._write = write
        self._prefix = prefix
        self._raw = raw
        self._most = most
        self._parts: dict[tuple[int, int, str], str] = {}

    def add(self, record: LogRecord) -> None:
        """Write what the record completes."""
        text = record["text"]
        if not self._prefix:
            self._write(text if self._raw else harmless(text))
            return
        key = (record["attempt"], record["rank"], record["stream"])
        lines = (self._parts.pop(key, "") + text).split("\n")
        rest = lines.pop()
        if len(rest) > self._most:
            lines.append(rest)
            rest = ""
        if rest:
            self._parts[key] = rest
        if lines:
            self._write("".join(self._line(key, line) for line in lines))

    def finish(self) -> None:
        """Write what never got its line feed."""
        for key, rest in sorted(self._parts.items()):
            self._write(self._line(key, rest))
        self._parts.clear()

    def _line(self, key: tuple[int, int, str], line: str) -> str:
        _, rank, stream = key
        mark = f"[{rank}] " if stream == "stdout" else f"[{rank} err] "
        if self._raw:
            return f"{mark}{line}\n"
        return "".join(f"{mark}{part}\n" for part in harmless(line.removesuffix("\r")).split("\n"))
