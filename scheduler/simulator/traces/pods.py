"""Pods and nodes of packing traces: what a pod asks for, what a node has (cluster-trace-gpu-v2023 columns)."""

from pathlib import Path
from typing import NamedTuple

from scheduler.simulator.traces.kinds import Kind
from scheduler.simulator.traces.tables import BadTrace, read_rows

WHOLE_MILLI = 1000
MOST_DEVICES = 64  # on a node


class Pod(NamedTuple):
    """What one pod asks for, on one node."""

    cpu_milli: int
    memory_mib: int
    devices: int
    device_milli: int  # of each device; below 1000: a share of one
    models: tuple[str, ...]  # allowed device models, sorted; empty: any

    @property
    def asked_milli(self) -> int:
        """Devices asked for in thousandths."""
        return self.devices * self.device_milli


class TraceNode(NamedTuple):
    """What one node has."""

    name: str
    cpu_milli: int
    memory_mib: int
    devices: int
    model: str


def read_pods(path: Path) -> list[Pod]:
    """The pods in the order of the table. Raises BadTrace."""
    pods = []
    for row in read_rows(path, Kind.PODS.value):
        devices = row.integer("num_gpu", high=MOST_DEVICES)
        milli = row.integer("gpu_milli", high=WHOLE_MILLI)
        if devices == 0 and milli != 0:
            raise row.wrong("gpu_milli", "0 where num_gpu is 0")
        if devices and milli == 0:
            raise row.wrong("gpu_milli", f"1 to {WHOLE_MILLI} where num_gpu is not 0")
        if devices > 1 and milli != WHOLE_MILLI:
            raise row.wrong("gpu_milli", f"{WHOLE_MILLI} where num_gpu is above 1")
        models = tuple(sorted(filter(None, row.text("gpu_spec", "").split("|"))))
        pods.append(Pod(row.integer("cpu_milli"), row.integer("memory_mib"), devices, milli, models))
    if not pods:
        raise BadTrace(f"{path}: no pods")
    return pods


def read_nodes(path: Path) -> list[TraceNode]:
    """The nodes in the order of the table. Raises BadTrace."""
    nodes = [
        TraceNode(
            row.text("sn"),
            row.integer("cpu_milli"),
            row.integer("memory_mib"),
            row.integer("gpu", high=MOST_DEVICES),
            row.text("model"),
        )
        for row in read_rows(path, Kind.NODES.value)
    ]
    if len({node.name for node in nodes}) != len(nodes):
        raise BadTrace(f"{path}: two nodes have one name")
    if not nodes:
        raise BadTrace(f"{path}: no nodes")
    return nodes


def read_fleet(path: Path) -> list[TraceNode]:
    """Nodes of a fleet table, which knows no memory (0 here). Raises BadTrace."""
    nodes = [
        TraceNode(
            row.text("node_name"),
            row.integer("cpu_num") * 1000,
            0,
            row.integer("gpu_capacity_num", high=MOST_DEVICES),
            row.text("gpu_model"),
        )
        for row in read_rows(path, Kind.FLEET.value)
    ]
    if not nodes:
        raise BadTrace(f"{path}: no nodes")
    return nodes
