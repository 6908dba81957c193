"""From intervals to windows: tiles time per device, cut at the grid, with no hole and no overlap.

`Meter` holds the open window of a node. `advance` is told what every device did since the last call and
returns the windows that this closed; an interval across a line of the grid is split there in proportion.
The whole state goes into the journal, so a crash loses only the time in which nobody measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from agents.core.readings import UNKNOWN, Interval
from agents.core.separation import NAMESPACE, weakest
from agents.core.tally import Tally

GRID = "grid"
STOP = "stop"
RECOVERY = "recovery"


@dataclass(frozen=True)
class ClosedWindow:
    """A window that is complete but not numbered and signed yet. Tallies by device index, in order."""

    start_ms: int
    end_ms: int
    boot_id: str
    boot_start_ns: int
    boot_end_ns: int
    closed_by: str
    isolation: str
    tallies: Mapping[int, tuple[Tally, ...]]


@dataclass
class OpenWindow:
    """The window being filled; [start_ms, last_ms) is measured."""

    start_ms: int
    last_ms: int
    boot_id: str
    boot_start_ns: int
    boot_last_ns: int
    isolation: str = NAMESPACE  # until a moment of the window is known to have had less
    tallies: dict[int, list[Tally]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "OpenWindow":
        """From the journal."""
        tallies = {int(i): [Tally.from_json(t) for t in tallies] for i, tallies in value["tallies"].items()}
        return cls(**{**value, "tallies": tallies})


class Meter:
    """The windows of one node."""

    def __init__(self, device_indices: tuple[int, ...], window_ms: int, window: OpenWindow) -> None:
        self.device_indices = device_indices
        self.window_ms = window_ms
        self.window = window

    @property
    def last_ms(self) -> int:
        """Up to here everything is accounted for."""
        return self.window.last_ms

    def advance(
        self,
        to_ms: int,
        boot_ns: int,
        intervals: Mapping[int, Sequence[Interval]],
        isolation: str,
        sampled: bool = False,
        closed_by: str = GRID,
        raw: Mapping[int, Sequence[bytes | None]] | None = None,
    ) -> list[ClosedWindow]:
        """Account for [last_ms, to_ms); a device without an interval was not observed: unknown.

        A device of which several allocations hold parts has an interval for each, and one for the rest. `raw`
        are the lines of the raw samples at `to_ms`, by device, one for each of its intervals.
        """
        whole_ms = to_ms - self.last_ms
        if whole_ms <= 0:
            return []
        begin_ms = self.last_ms
        begin_ns = min(self.window.boot_last_ns, boot_ns)
        closed = []
        while self.last_ms < to_ms:
            line_ms = (self.last_ms // self.window_ms + 1) * self.window_ms
            until_ms = min(line_ms, to_ms)
            part = (self.last_ms - begin_ms, until_ms - begin_ms)
            self.window.boot_last_ns = begin_ns + (boot_ns - begin_ns) * part[1] // whole_ms
            self.window.isolation = weakest(self.window.isolation, [isolation])
            for index in self.device_indices:
                at_end = until_ms == to_ms
                lines = raw.get(index, ()) if raw is not None and at_end else ()
                for interval, line in zip_longest(intervals.get(index, (UNKNOWN,)), lines):
                    self._add(index, interval, part, whole_ms, sampled and at_end, line)
            self.window.last_ms = until_ms
            if until_ms == line_ms:
                closed += self.close(closed_by)
        return closed

    def skip(self, to_ms: int, boot_ns: int, isolation: str) -> list[ClosedWindow]:
        """Nobody measured [last_ms, to_ms): unknown for every device; whole windows of it become one."""
        first_ms = -(-self.last_ms // self.window_ms) * self.window_ms
        final_ms = to_ms // self.window_ms * self.window_ms
        if to_ms <= self.last_ms:
            return []
        if final_ms <= first_ms:
            return self.advance(to_ms, boot_ns, {}, isolation, closed_by=RECOVERY)
        whole_ms = to_ms - self.last_ms
        begin_ms, begin_ns = self.last_ms, min(self.window.boot_last_ns, boot_ns)

        def boot_at(ms: int) -> int:
            return begin_ns + (boot_ns - begin_ns) * (ms - begin_ms) // whole_ms

        closed = self.advance(first_ms, boot_at(first_ms), {}, isolation, closed_by=RECOVERY)
        for index in self.device_indices:
            self._add(index, UNKNOWN, (0, final_ms - first_ms), final_ms - first_ms, False)
        self.window.last_ms, self.window.boot_last_ns = final_ms, boot_at(final_ms)
        closed += self.close(RECOVERY)
        return closed + self.advance(to_ms, boot_ns, {}, isolation, closed_by=RECOVERY)

    def close(self, closed_by: str) -> list[ClosedWindow]:
        """Close the window where it stands and open the next; nothing where it is empty."""
        window = self.window
        if window.last_ms == window.start_ms:
            return []
        self.window = OpenWindow(
            window.last_ms, window.last_ms, window.boot_id, window.boot_last_ns, window.boot_last_ns
        )
        tallies = {index: tuple(window.tallies[index]) for index in self.device_indices}
        return [
            ClosedWindow(
                window.start_ms,
                window.last_ms,
                window.boot_id,
                window.boot_start_ns,
                window.boot_last_ns,
                closed_by,
                window.isolation,
                tallies,
            )
        ]

    def rebooted(self, boot_id: str) -> list[ClosedWindow]:
        """The host was started anew: what was open ends where it was measured last; the clock begins at 0."""
        closed = self.close(RECOVERY)
        self.window = OpenWindow(self.last_ms, self.last_ms, boot_id, 0, 0)
        return closed

    def _add(
        self,
        index: int,
        interval: Interval,
        part: tuple[int, int],
        whole_ms: int,
        sampled: bool,
        raw: bytes | None = None,
    ) -> None:
        tallies = self.window.tallies.setdefault(index, [])
        last_ms = self.window.last_ms
        tally = next((t for t in reversed(tallies) if t.end_ms == last_ms and t.takes(interval)), None)
        if tally is None:
            tally = Tally.begin(last_ms, interval)
            tallies.append(tally)
        tally.add(interval, part, whole_ms, sampled, raw)
