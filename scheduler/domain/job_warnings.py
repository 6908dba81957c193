"""What an accepted job says, and can hardly mean."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from scheduler.domain.errors import FieldProblem
from scheduler.domain.time import from_rfc3339, to_rfc3339


def warnings_of(spec: Mapping[str, Any]) -> list[FieldProblem]:
    """Of a spec with every default filled in, by itself: asked for every job that is answered."""
    estimate_s, limit_s = spec.get("estimate_seconds"), spec.get("time_limit_seconds")
    if estimate_s is None or limit_s is None or estimate_s <= limit_s:
        return []
    want = f"at most {limit_s}, its time limit, at which it is stopped"
    return [FieldProblem("estimate_seconds", str(estimate_s), want)]


def estimated_seconds(estimate_s: int | None, limit_s: int | None) -> int | None:
    """How long a job runs by its estimate: at its time limit it is stopped. None: it has none."""
    return estimate_s if estimate_s is None or limit_s is None else min(estimate_s, limit_s)


class Late(NamedTuple):
    """A job that most likely does not start, or by its estimate does not end, before its deadline."""

    deadline: str
    moment_ms: int  # about when it would
    starts: bool  # it does not even start; else it does not end

    @property
    def warning(self) -> FieldProblem:
        """For somebody who may still change it."""
        moment = to_rfc3339(self.moment_ms)
        want = f"a time after {moment}, about when it most likely ends, by its estimate"
        if self.starts:
            want = f"a time after {moment}, about when it most likely starts"
        return FieldProblem("deadline", self.deadline, want)

    @property
    def sentence(self) -> str:
        """For somebody who looks at it."""
        moment = to_rfc3339(self.moment_ms)
        if self.starts:
            return f"Its deadline, {self.deadline}, comes before it most likely starts, about {moment}."
        return f"Its deadline, {self.deadline}, comes before it most likely ends by its estimate, about {moment}."


def late(spec: Mapping[str, Any], starts_ms: int | None) -> Late | None:
    """Of a job that most likely starts then. None: it may well keep its deadline, or nobody knows."""
    deadline = spec.get("deadline")
    if deadline is None or starts_ms is None:
        return None
    runs_s = estimated_seconds(spec.get("estimate_seconds"), spec.get("time_limit_seconds")) or 0
    deadline_ms, ends_ms = from_rfc3339(deadline), starts_ms + 1000 * runs_s
    if starts_ms >= deadline_ms:
        return Late(deadline, starts_ms, starts=True)
    return Late(deadline, ends_ms, starts=False) if ends_ms > deadline_ms else None
