"""What is on offer: models, pools, prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suanli.cli.session import AsJson, ProfileName, open_client

if TYPE_CHECKING:
    from suanli.client.types import Free, Pool, Price, Program, Queue

GIB = 1 << 30
_MEASURES = {"allocated": "of billed use", "live": "of live use", "busy": "of worked use"}


def models(
    every: Annotated[bool, typer.Option("--all", help="Also those that nobody here has.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """List device models: what is in the pools, with prices; --all for the whole catalogue."""
    from suanli.cli.output import print_json, print_table

    with open_client(profile) as client:
        catalogue = client.models()
        prices = {price["device_model"]: price for price in client.prices() if price["in_force"]}
        here: Counter[str] = Counter()
        simulated: Counter[str] = Counter()
        for free in client.nodes()["free"]:
            here[free["device_model"]] += free["devices"]
            simulated[free["device_model"]] += free["simulated"]
    shown = [model for model in catalogue if every or here[model["model"]]]
    if as_json:
        print_json(shown)
        return
    rows = [
        [
            model["model"],
            model["vendor"],
            "" if model["memory_bytes"] is None else f"{model['memory_bytes'] / GIB:.0f} GiB",
            "" if model["fp16_tflops"] is None else f"{model['fp16_tflops']:g}",
            counted(here[model["model"]], simulated[model["model"]]),
            prices[model["model"]]["price_cny_per_device_hour"] if model["model"] in prices else "",
        ]
        for model in shown
    ]
    columns = ["MODEL", "VENDOR", "MEMORY", "FP16 TFLOPS", "DEVICES", "CNY/HOUR"]
    print_table(columns, rows, right=(2, 3, 4, 5), empty="No devices yet (--all shows the catalogue).")


def counted(devices: int, simulated: int) -> str:
    """`16`, or `16 (simulated)`: what has no hardware behind it says so."""
    if not simulated:
        return str(devices or "")
    from suanli.sentences.words import said

    return said(f"{devices} (simulated)" if simulated == devices else f"{devices} ({simulated} simulated)")


def pools(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List pools: devices in all, free and in use by model, and whose queues may use them."""
    from suanli.cli.output import print_json, print_table

    with open_client(profile) as client:
        free = client.nodes()["free"]
        queues = client.queues()
        found = [_with_use(pool, free, queues) for pool in client.pools()]
    if as_json:
        print_json(found)
        return
    print_table(
        ["POOL", "DEVICE MODEL", "DEVICES", "FREE", "IN USE", "NOT USABLE", "QUEUES", "VOLUMES"],
        [row for pool in found for row in _pool_rows(pool)],
        right=(2, 3, 4, 5),
        optional=(5, 7),
        empty="No pools that your queues use.",
    )


def _with_use(pool: Pool, free: list[Free], queues: list[Queue]) -> dict[str, Any]:
    """A pool with what is in it and who may use it."""
    devices = [
        {name: count for name, count in one.items() if name != "pool"}
        for one in free
        if one["pool"] == pool["name"]
    ]
    using = [f"{queue['firm']}/{queue['name']}" for queue in queues if pool["name"] in queue["pools"]]
    return {**pool, "devices": devices, "queues": using}


def free_of(counts: Mapping[str, Any]) -> str:
    """`7`, or `7 + 0.75 in parts`: a gang of whole devices has no use for what is left of shared ones."""
    from suanli.cli.device_counts import amount
    from suanli.sentences.words import said

    parts = counts["free_parts_ppm"]
    return said(f"{counts['free']} + {amount(parts)} in parts") if parts else str(counts["free"])


def _not_usable(counts: Mapping[str, Any]) -> int:
    """Devices that are faulty or away: those that other firms hold are in use, though a firm is not told how far."""
    return int(counts["devices"] - counts["free"] - counts["in_use"])


def _pool_rows(pool: dict[str, Any]) -> list[list[object]]:
    from suanli.cli.device_counts import amount

    volumes = [volume["name"] + (" (read only)" if volume["read_only"] else "") for volume in pool["volumes"]]
    said = [", ".join(pool["queues"]), ", ".join(volumes)]
    rows = [
        [
            pool["name"],
            one["device_model"],
            counted(one["devices"], one["simulated"]),
            free_of(one),
            amount(one["in_use_ppm"]),
            _not_usable(one) or "",
            *said,
        ]
        for one in pool["devices"]
    ]
    return rows or [[pool["name"], "", 0, 0, 0, "", *said]]


def prices(
    every: Annotated[
        bool, typer.Option("--all", help="Also versions of the past and of the future.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """List prices in force, in CNY per device-hour, with the programs that support them."""
    from suanli.cli.moments import BILLING_CLOCK
    from suanli.cli.output import print_json, print_table, say

    since = f"SINCE, {BILLING_CLOCK}"
    with open_client(profile) as client:
        versions = [price for price in client.prices() if every or price["in_force"]]
        programs = [program for program in client.programs() if every or program["in_force"]]
    found = [
        {**price, "programs": [_named(p) for p in programs if _supports(p, price)]} for price in versions
    ]
    if as_json:
        print_json({"prices": found, "programs": programs})
        return
    columns = ["MODEL", "CNY/HOUR", since, "SUPPORT"]
    rows = [_price_row(price) for price in found]
    if every:
        columns += ["IN FORCE", "PRICE ID"]
        for row, price in zip(rows, found, strict=True):
            row += ["yes" if price["in_force"] else "", price["price_id"]]
    print_table(columns, rows, right=(1,), optional=(3,), empty="No prices: use costs nothing.")
    if programs:
        say("")
        print_table(
            ["PROGRAM", "VERSION", "SUPPORT", "AT MOST CNY", since, "TITLE"],
            [_program_row(program) for program in programs],
            right=(1, 3),
        )


def _price_row(price: dict[str, Any]) -> list[object]:
    from suanli.cli.moments import billing_time

    supports = (f"{_percent(p)} {p['program_id']} v{p['version']}" for p in price["programs"])
    return [
        price["device_model"],
        price["price_cny_per_device_hour"],
        billing_time(price["effective_from"]),
        ", ".join(supports),
    ]


def _supports(program: Program, price: Price) -> bool:
    """Whether use of a model may be supported (suanli.rating: domestic programs name their models)."""
    return not program["domestic_only"] or price["device_model"] in program["domestic_models"]


def _named(program: Program) -> dict[str, Any]:
    return {name: program[name] for name in ("program_id", "version", "rate_ppm", "usage_measure")}


def _percent(program: Program | dict[str, Any]) -> str:
    return f"{program['rate_ppm'] / 10_000:g} %"


def _program_row(program: Program) -> list[object]:
    from suanli.cli.moments import billing_time
    from suanli.cli.usage_tables import cny

    cap = program["per_firm_cap_fen"]
    return [
        program["program_id"],
        program["version"],
        f"{_percent(program)} {_MEASURES[program['usage_measure']]}",
        "no limit" if cap is None else cny(cap),
        billing_time(program["effective_from"]),
        program["title"],
    ]
