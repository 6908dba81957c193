"""Hosts with their switches, narrowest last: core, aggregation, top of rack (Lingjun's columns)."""

from pathlib import Path
from typing import NamedTuple

from scheduler.simulator.traces.kinds import Kind
from scheduler.simulator.traces.tables import BadTrace, read_rows


class Host(NamedTuple):
    """A host and what it hangs on."""

    name: str
    core: str
    spine: str
    leaf: str


def read_topology(path: Path) -> list[Host]:
    """The hosts in the order of the table. Raises BadTrace."""
    hosts = [
        Host(row.text("ip"), row.text("DSW"), row.text("PSW"), row.text("ASW"))
        for row in read_rows(path, Kind.TOPOLOGY.value)
    ]
    if len({host.name for host in hosts}) != len(hosts):
        raise BadTrace(f"{path}: two hosts have one name")
    if not hosts:
        raise BadTrace(f"{path}: no hosts")
    return hosts
