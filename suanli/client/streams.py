"""Streams that go on where they broke: events by number, output by the offset of each stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from suanli.client.errors import ClientError
from suanli.client.transport import Transport, is_temporary
from suanli.client.types import Event, LogRecord

# After this many breaks without anything new between them the stream counts as gone.
MOST_BREAKS = 8
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
_MOST_SEEN = 256
FINAL_EVENTS = frozenset({"JobSucceeded", "JobFailed", "JobCancelled"})


class _Breaks:
    """Counts breaks, and pauses longer after each."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause
        self._count = 0

    def progress(self) -> None:
        self._count = 0

    def broke(self, error: ClientError) -> None:
        """Wait before the next try. Raises the error when it will not go away by itself."""
        self._count += 1
        if not is_temporary(error) or self._count > MOST_BREAKS:
            raise error
        self._pause(min(FIRST_PAUSE_S * 2 ** (self._count - 1), LONGEST_PAUSE_S))


def follow_events(
    transport: Transport, path: str, after: int | None, pause: Callable[[float], None]
) -> Iterator[Event]:
    """Server-sent events, across connections."""
    breaks = _Breaks(pause)
    of_job = path.startswith("/v1/jobs/")
    while True:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        try:
            with transport.stream(path, headers=headers) as answer:
                for event in parse_events(answer.iter_lines()):
                    breaks.progress()
                    after = event["event_seq"]
                    yield event
                    if of_job and event["kind"] in FINAL_EVENTS:
                        return
        except ClientError as error:
            breaks.broke(error)
        else:
            # The server closes streams when it stops or when the key was revoked; the next try tells which.
            pause(FIRST_PAUSE_S)


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Events of a text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield cast(Event, json.loads("\n".join(data)))
            data = []


def follow_logs(
    transport: Transport, path: str, query: Mapping[str, Any], pause: Callable[[float], None]
) -> Iterator[LogRecord]:
    """Output until the server says that there is no more. What was seen before a break is not repeated."""
    breaks = _Breaks(pause)
    seen: dict[tuple[int, int, str], int] = {}
    while True:
        try:
            with transport.stream(path, query={**query, **_resume(seen)}) as answer:
                for line in answer.iter_lines():
                    if not line:
                        continue
                    record = _unseen(cast(LogRecord, json.loads(line)), seen)
                    if record is None:
                        continue
                    if record.get("note") == "end":
                        return
                    breaks.progress()
                    yield record
                    if "note" in record:
                        return
        except ClientError as error:
            breaks.broke(error)
        else:
            # The server stopped, or the key was revoked: only a note is the end.
            pause(FIRST_PAUSE_S)


def _resume(seen: Mapping[tuple[int, int, str], int]) -> dict[str, Any]:
    """Where the server may go on; with very many streams it begins anew, and what was seen is left out here."""
    if not seen or len(seen) > _MOST_SEEN:
        return {}
    return {"seen": [f"{attempt}:{rank}:{name}:{end}" for (attempt, rank, name), end in sorted(seen.items())]}


def _unseen(record: LogRecord, seen: dict[tuple[int, int, str], int]) -> LogRecord | None:
    """The part of a record beyond what was seen of its stream; None where there is none."""
    if "text" not in record:
        return record
    key = (record["attempt"], record["rank"], record["stream"])
    end = record["end"]
    already = seen.get(key, 0)
    if end <= already:
        return None
    seen[key] = end
    if record["offset"] >= already:
        return record
    # Pieces are cut elsewhere after a break; cut by bytes, as offsets are.
    data = record["text"].encode("utf-8")
    if len(data) != end - record["offset"]:
        return record  # bytes that were no text were replaced: repeating a little beats cutting wrongly
    rest = data[already - record["offset"] :].decode("utf-8", "replace")
    return cast(LogRecord, {**record, "offset": already, "text": rest})
