"""Which devices of one node a task takes: sets that the vendor allows, kept together by fast links."""

from collections.abc import Callable, Iterable, Sequence

from scheduler.catalogue import ShapeRule
from scheduler.planner.snapshot import DeviceView

Devices = Sequence[DeviceView]


def choose_devices(rule: ShapeRule, free: Devices, count: int) -> tuple[DeviceView, ...] | None:
    """An allowed set of `count` of the free devices (by index), or None.

    Prefers one fast-link group, and there the smallest sufficient hole, so that larger holes stay whole.
    Cost: O(free log free); free is one node's devices.
    """
    if len(free) < count or not rule.allows_count(count):
        return None
    if rule.package > 1:
        chosen = _packages(rule.package, free, count)
    elif count <= rule.stay_in_block_up_to:
        chosen = _in_one(lambda device: device.number // rule.block, free, count)
    elif count <= rule.stay_in_group_up_to:
        chosen = _in_one(_group, free, count)
    elif rule.even_split_above_group:
        chosen = _even_split(free, count)
    else:
        chosen = _in_one(_group, free, count) or _spread(free, count)
    return None if chosen is None else tuple(sorted(chosen))


def allowed_set(rule: ShapeRule, devices: Devices) -> bool:
    """Whether a set of devices of one node may be taken by a task; shares no code with the choice."""
    count = len(devices)
    if count == 0 or not rule.allows_count(count):
        return False
    if rule.package > 1 and count % 2 == 0:
        members = _sizes(device.number // rule.package for device in devices)
        return all(size == rule.package for size in members)
    if count <= rule.stay_in_block_up_to:
        return len({device.number // rule.block for device in devices}) == 1
    groups = _sizes(device.group for device in devices)
    if count <= rule.stay_in_group_up_to:
        return len(groups) == 1
    if rule.even_split_above_group:
        return len(groups) == 2 and groups[0] == groups[1]
    return True


def in_one_group(devices: Devices) -> bool:
    """Whether all the devices are joined by fast links."""
    return len({device.group for device in devices}) <= 1


def _group(device: DeviceView) -> int:
    return device.group


def _sizes(keys: Iterable[int]) -> list[int]:
    sizes: dict[int, int] = {}
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    return list(sizes.values())


def _holes(key: Callable[[DeviceView], int], free: Devices) -> list[list[DeviceView]]:
    """Free devices by group, the smallest hole first (ties: by index)."""
    holes: dict[int, list[DeviceView]] = {}
    for device in free:
        holes.setdefault(key(device), []).append(device)
    return sorted(holes.values(), key=lambda hole: (len(hole), hole[0].number))


def _in_one(key: Callable[[DeviceView], int], free: Devices, count: int) -> list[DeviceView] | None:
    for hole in _holes(key, free):
        if len(hole) >= count:
            return hole[:count]
    return None


def _spread(free: Devices, count: int) -> list[DeviceView]:
    """From the largest holes, so that as few groups as possible are crossed."""
    devices = [device for hole in reversed(_holes(_group, free)) for device in hole]
    return devices[:count]


def _even_split(free: Devices, count: int) -> list[DeviceView] | None:
    if count % 2 != 0:
        return None
    half = count // 2
    holes = [hole for hole in _holes(_group, free) if len(hole) >= half][:2]
    return holes[0][:half] + holes[1][:half] if len(holes) == 2 else None


def _packages(size: int, free: Devices, count: int) -> list[DeviceView] | None:
    """Whole packages for an even number; a single device preferably out of a broken package."""
    holes = _holes(lambda device: device.number // size, free)
    if count % 2 != 0:
        return _in_one(lambda device: device.number // size, free, count)
    whole = [hole for hole in holes if len(hole) == size]
    if len(whole) * size < count or count % size != 0:
        return None
    # Packages that lie in one fast-link group first.
    by_group: dict[int, list[list[DeviceView]]] = {}
    for hole in whole:
        by_group.setdefault(hole[0].group, []).append(hole)
    sufficient = [holes for holes in by_group.values() if len(holes) * size >= count]
    source = min(sufficient, key=len) if sufficient else sorted(whole, key=lambda hole: hole[0].number)
    return [device for hole in source[: count // size] for device in hole]
