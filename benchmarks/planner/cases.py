"""Every case by its id (the table is in the README of this folder)."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.harness import Row
from benchmarks.planner import (
    allocation,
    churn,
    cost,
    firms,
    gavel,
    network,
    packing,
    product,
    queueing,
    tuned,
)
from benchmarks.planner.settings import Settings

Case = Callable[[Settings], Iterator[Row]]

CASES: Mapping[str, Case] = {
    "B1": packing.b1,
    "B2": packing.b2,
    "B3": packing.b3,
    "B4": packing.b4,
    "B5": gavel.b5,
    "B6": gavel.b6,
    "B7": gavel.b7,
    "B8": gavel.b8,
    "B9": gavel.b9,
    "B10": allocation.b10,
    "B11": tuned.b11,
    "B14": queueing.b14,
    "B15": firms.b15,
    "B17": churn.b17,
    "B18": network.b18,
    "B19": product.b19,
    "COST": cost.cost,
}
