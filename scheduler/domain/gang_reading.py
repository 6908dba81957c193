"""Reads the shape of a job: its gang, how close together, which part of each device, and its command."""

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.gangs import Domain, Elastic, Gang, Share, TaskGroup, Topology
from scheduler.domain.job_limits import (
    LEAST_SHARE_BYTES,
    MOST_COMMAND_BYTES,
    MOST_DEVICES,
    MOST_GROUPS,
    MOST_PROCESSES_PER_NODE,
    MOST_SPARE_NODES,
    NAME_PATTERN,
    NAME_WANTED,
)
from scheduler.domain.reading import Reader


def read_gang(reader: Reader) -> Gang:
    spare = reader.integer("spare_nodes", 0, low=0, high=MOST_SPARE_NODES)
    gang = _uniform(reader, spare) if reader.raw("groups") in (None, []) else _grouped(reader, spare)
    reader.refuse_unknown()
    return gang


def _uniform(reader: Reader, spare: int) -> Gang:
    devices = reader.integer("devices", 1, low=1, high=MOST_DEVICES)
    per_node = reader.integer("devices_per_node", devices, low=1, high=MOST_DEVICES)
    if devices % per_node != 0:
        reader.problem(reader.at("devices_per_node"), per_node, f"a divisor of devices ({devices})")
        per_node = devices
    processes = reader.integer("processes_per_node", per_node, low=1, high=MOST_PROCESSES_PER_NODE)
    return Gang(devices, per_node, processes, read_elastic(reader, devices, per_node), (), spare)


def read_elastic(reader: Reader, devices: int, per_node: int) -> Elastic | None:
    """The range of an elastic gang of so many devices; None where it has none."""
    if not reader.has("elastic"):
        reader.raw("elastic")
        return None
    child = reader.child("elastic")
    least = child.integer("min_devices", devices, low=1, high=devices)
    most = child.integer("max_devices", devices, low=devices, high=MOST_DEVICES)
    for key, number in (("min_devices", least), ("max_devices", most)):
        if number % per_node:
            child.problem(child.at(key), number, f"a multiple of devices_per_node ({per_node})")
    child.refuse_unknown()
    return Elastic(least, most)


def _grouped(reader: Reader, spare: int) -> Gang:
    """Either the groups or the numbers; what is stored has both, and they agree."""
    groups = tuple(reader.each("groups", _group, most=MOST_GROUPS))
    names = [group.name for group in groups]
    for number, name in enumerate(names):
        if name in names[:number]:
            reader.problem(f"{reader.at('groups')}[{number}].name", name, "a name that no other group has")
    if reader.has("elastic"):
        reader.problem(reader.at("elastic"), "a range", "no range beside groups")
    reader.raw("elastic")
    sums = {
        "devices": sum(group.tasks * group.devices_per_task for group in groups),
        "devices_per_node": max((group.devices_per_task for group in groups), default=1),
        "processes_per_node": max((group.processes_per_task for group in groups), default=1),
    }
    for key, total in sums.items():
        if reader.raw(key) not in (None, total):
            reader.problem(reader.at(key), reader.raw(key), f"nothing beside groups, or {total}")
    if spare:
        reader.problem(reader.at("spare_nodes"), spare, "no spare nodes beside groups")
    if sums["devices"] > MOST_DEVICES:
        reader.problem(reader.at("groups"), f"{sums['devices']} devices", f"at most {MOST_DEVICES} devices")
    return Gang(**sums, elastic=None, groups=groups, spare_nodes=spare)


def _group(reader: Reader) -> TaskGroup:
    devices = reader.integer("devices_per_task", 1, low=1, high=MOST_DEVICES)
    return TaskGroup(
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME_WANTED),
        tasks=reader.integer("tasks", 1, low=1, high=MOST_DEVICES),
        devices_per_task=devices,
        processes_per_task=reader.integer("processes_per_task", devices, low=1, high=MOST_PROCESSES_PER_NODE),
        command=read_command(reader) if reader.raw("command") not in (None, []) else (),
    )


def read_topology(reader: Reader) -> Topology:
    def domain(key: str) -> Domain | None:
        return Domain(reader.choice(key, Domain)) if reader.has(key) else reader.raw(key)

    topology = Topology(domain("required"), domain("preferred"))
    reader.refuse_unknown()
    return topology


def read_share(reader: Reader) -> Share | None:
    if not reader.has("share"):
        reader.raw("share")
        return None
    child = reader.child("share")
    share = Share(
        ppm=child.optional_integer("ppm", low=1, high=WHOLE_PPM),
        memory_bytes=child.bytes("memory_bytes", low=LEAST_SHARE_BYTES, high=1 << 50),
    )
    if share == Share():
        child.problem(child.path, "neither ppm nor memory_bytes", "at least one of the two")
    child.refuse_unknown()
    return share


def read_command(reader: Reader) -> tuple[str, ...]:
    value = reader.raw("command")
    if isinstance(value, str) and value.strip():
        parts: tuple[str, ...] = ("/bin/sh", "-c", value)
    elif isinstance(value, list) and value and all(isinstance(part, str) for part in value) and value[0]:
        parts = tuple(value)
    else:
        reader.problem(reader.at("command"), value, "text for a shell, or a list of program and arguments")
        return ()
    whole = "".join(parts)
    size = size_of(whole)
    if size > MOST_COMMAND_BYTES:
        reader.problem(reader.at("command"), f"{size} bytes", f"at most {MOST_COMMAND_BYTES} bytes")
    if "\0" in whole:
        reader.problem(reader.at("command"), "a NUL character", "text without NUL characters")
    return parts


def size_of(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
