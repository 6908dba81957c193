"""Every case by its id (the table is in the README of this folder)."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.harness import Row
from benchmarks.planner import churn, gavel, packing, queueing
from benchmarks.planner.settings import Settings

Case = Callable[[Settings], Iterator[Row]]

CASES: Mapping[str, Case] = {
    "B1": packing.b1,
    "B2": packing.b2,
    "B3": packing.b3,
    "B4": packing.b4,
    **{
        f"B{n}": case
        for n, case in zip(range(5, 10), (gavel.b5, gavel.b6, gavel.b7, gavel.b8, gavel.b9), strict=True)
    },
    "B14": queueing.b14,
    "B17": churn.b17,
}
