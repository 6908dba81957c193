"""What there is: nodes, queues, quotas, the calendar; and what operators do with nodes: cordon, join-token."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.session import AsJson, ProfileName, label_of, open_client

if TYPE_CHECKING:
    from suanli.client.types import Device, Node


def nodes(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Show nodes with their devices, and what is free."""
    from suanli.cli.offer_commands import free_of
    from suanli.cli.output import print_json, print_table, say

    with open_client(profile) as client:
        answer = client.nodes()
        own = not as_json and client.whoami()["firm"] is not None
    if as_json:
        print_json(answer)
        return
    print_table(
        ["NODE", "POOL", "STATE", "YOUR DEVICES" if own else "DEVICES", "HELD", "FAULTY", "ISOLATION"],
        [_node_row(node) for node in answer["nodes"]],
        empty="No nodes run tasks of yours."
        if own
        else "No nodes yet: suanli join-token POOL lets a host join.",
    )
    if answer["free"]:
        say("")
        print_table(
            ["POOL", "DEVICE MODEL", "DEVICES", "FREE"],
            [[f["pool"], f["device_model"], f["devices"], free_of(f)] for f in answer["free"]],
            right=(2, 3),
        )


def _node_row(node: Node) -> list[object]:
    models = Counter(_model(device) for device in node["devices"])
    return [
        node["name"],
        node["pool"],
        node["state"] + (", cordoned" if node["cordoned"] else ""),
        ", ".join(f"{count} {model}" for model, count in sorted(models.items())),
        _held(node["devices"]),
        sum(device["health"] == "faulty" for device in node["devices"]) or "",
        node["isolation"],
    ]


def _model(device: Device) -> str:
    from suanli.sentences.words import said

    return said(f"{device['model']} (simulated)") if device["simulated"] else device["model"]


def _held(devices: list[Device]) -> str:
    from suanli.cli.device_counts import amount

    held_ppm: Counter[str] = Counter()
    for device in devices:
        for task in device["shared_by"]:
            held_ppm[label_of(task["job_name"], task["array_index"])] += task["share_ppm"]
    return ", ".join(f"{amount(ppm)} {name}" for name, ppm in sorted(held_ppm.items()))


def cordon(
    node: Annotated[str, typer.Argument(help="The node's name or id.")],
    undo: Annotated[bool, typer.Option("--undo", help="Take new tasks again.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Place no new tasks on a node."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        client.cordon(node, cordoned=not undo)
    if as_json:
        print_json({"node": node, "cordoned": not undo})
    else:
        say(f"{node} takes new tasks again." if undo else f"{node} takes no new tasks; what runs goes on.")


def join_token(
    pool: Annotated[str, typer.Argument(help="Pool that the hosts join.")],
    uses: Annotated[int, typer.Option(min=1, help="How many hosts may join with it.")] = 1,
    hours: Annotated[int, typer.Option(min=1, max=366 * 24, help="Hours until it expires.")] = 24,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with which hosts become nodes, and print it, once."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        made = client.create_join_token(pool, uses=uses, lifetime_seconds=hours * 3600)
    if as_json:
        print_json(made)
    else:
        say(made["token"])


def queues(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List queues with their pools and quota."""
    from suanli.cli.output import print_json, print_table

    with open_client(profile) as client:
        found = client.queues()
    if as_json:
        print_json(found)
        return
    print_table(
        ["FIRM", "QUEUE", "POOLS", "QUOTA", "WEIGHT", "COHORT"],
        [
            [
                queue["firm"],
                queue["name"],
                ", ".join(queue["pools"]),
                ", ".join(f"{count} {model}" for model, count in sorted(queue["nominal"].items()))
                or "no limit",
                queue["weight"],
                queue["cohort"] or "",
            ]
            for queue in found
        ],
        right=(4,),
        empty="No queues.",
    )


def quotas(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Show quotas: what is held of each, and what may still be taken, own or borrowed."""
    from suanli.cli.output import print_json, print_table

    with open_client(profile) as client:
        found = client.quotas()
    if as_json:
        print_json(found)
        return
    print_table(
        ["OF", "COHORT", "DEVICE MODEL", "NOMINAL", "HELD", "AVAILABLE", "BORROWS AT MOST", "LENDS AT MOST"],
        [
            [
                f"cohort {line['name']}" if line["firm"] is None else f"{line['firm']}/{line['name']}",
                line["cohort"] or "",
                line["key"],
                line["nominal"],
                line["held"],
                *(
                    "no limit" if line[name] is None else line[name]
                    for name in ("available", "borrowing", "lending")
                ),
            ]
            for line in found
        ],
        right=(3, 4, 5, 6, 7),
        empty="No quotas: every queue may hold what is free.",
    )


def calendar(
    end: Annotated[str | None, typer.Option(metavar="NAME", help="End this entry now; operators.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Show maintenance windows and advance reservations (suanli apply -f enters them)."""
    from suanli.cli.moments import BILLING_CLOCK, billing_time
    from suanli.cli.output import print_json, print_table, say

    with open_client(profile) as client:
        if end is not None:
            client.end_calendar_entry(end)
            print_json({"name": end, "ended": True}) if as_json else say(f"{end} is over.")
            return
        found = client.calendar()
    if as_json:
        print_json(found)
        return
    print_table(
        ["NAME", "FOR", f"FROM, {BILLING_CLOCK}", "UNTIL", "NODES", "WHY"],
        [
            [
                entry["name"],
                "maintenance" if entry["firm"] is None else f"{entry['firm']}/{entry['queue']}",
                billing_time(entry["begins"]),
                billing_time(entry["ends"]),
                ", ".join(entry["nodes"]),
                entry["why"],
            ]
            for entry in found
        ],
        empty="Nothing is planned.",
    )
