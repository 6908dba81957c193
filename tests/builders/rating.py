"""Inputs of rating: two devices, one firm, one job, one price; each changed where a test needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from suanli.rating.inputs import (
    Authorisation,
    ObservedUse,
    Price,
    Program,
    RatingInputs,
    RegisteredDevice,
)

T0 = 1_780_272_000_000
GRID = 300_000
HOUR = 3_600_000
MODEL = "ascend-910b3"


def use(start_ms: int = 0, end_ms: int = HOUR, **changes: object) -> ObservedUse:
    """d-1 in use for al-1 over [T0 + start, T0 + end), live all the time, busy for half of it."""
    length = end_ms - start_ms
    base = ObservedUse(
        "d-1", MODEL, T0 + start_ms, T0 + end_ms, "in_use", "al-1", 1_000_000, length, length // 2
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def authorisation(**changes: object) -> Authorisation:
    """al-1: d-1 for job-1 of firm-a from T0 to a day later."""
    base = Authorisation(
        allocation_id="al-1",
        job_id="job-1",
        attempt=1,
        rank=0,
        firm_id="firm-a",
        project="vision",
        share_ppm_of={"d-1": 1_000_000},
        granted_ms=T0,
        ended_ms=T0 + 24 * HOUR,
        time_limit_ms=2 * HOUR,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def price(**changes: object) -> Price:
    """10 CNY per device hour of MODEL, always."""
    return replace(Price("p-1", MODEL, 10_000_000_000, 0, None, 1), **changes)  # type: ignore[arg-type]


def program(**changes: object) -> Program:
    """30% of settled fees for MODEL, always, without a cap."""
    base = Program("etown", 1, 300_000, "allocated", True, frozenset({MODEL}), None, 0, None, 2)
    return replace(base, **changes)  # type: ignore[arg-type]


def inputs(
    usage: Iterable[ObservedUse] = (),
    authorisations: Iterable[Authorisation] = (),
    prices: Iterable[Price] = (price(),),
    programs: Iterable[Program] = (),
    **changes: object,
) -> RatingInputs:
    """Inputs over two registered devices."""
    base = RatingInputs(
        usage=list(usage),
        authorisations={a.allocation_id: a for a in (list(authorisations) or [authorisation()])},
        prices=list(prices),
        programs=list(programs),
        firm_names={"firm-a": "甲公司", "firm-b": "乙公司"},
        devices=[RegisteredDevice("d-1", MODEL, T0, None), RegisteredDevice("d-2", MODEL, T0, None)],
        log_size=10,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
