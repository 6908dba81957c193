"""The planner's inner loop: what a placement on each row costs, and where it costs least.

Plain functions on arrays. For a small fleet Python runs them as they are; numba makes machine
code of them (scheduler/machine_code.py).
"""

from math import inf
from typing import NamedTuple

import numpy as np

from scheduler.planner.rows import Floats, Ints, Rows

GRID = 1000  # a grid for shares, fine enough for vendors' smallest parts
GRAIN = 1_000_000 // GRID
_SUSPECT = 1e2
_DEGRADED = 1e3
# Between equal losses: the node with less room, and the device with the smaller remainder.
_TIGHT = 0.001
_ROUND = 1e-6  # a copy that fits exactly must not be lost to rounding
_FINE = 1e9  # losses are told apart to so many parts of a device: never by how a sum was rounded


class Typical(NamedTuple):
    """Typical demands, those for shares first."""

    shares: int  # how many of them are for shares
    pieces: Floats  # (grains, shares): how often each fits into a device with so much room
    useful: Floats  # (grains, shares): devices that it could use of it at all
    column: Ints  # (wholes): column of the number of devices
    devices: Floats  # (wholes)
    per_cpu: Floats  # copies for a thousandth of a core
    per_memory: Floats  # copies for a byte
    for_copies: Floats  # (models, typical): worth of a copy
    for_fit: Floats  # (models, typical): worth of a device that it could use at all
    of_host: bool  # whether any asks for a part of the host
    waste: Floats  # (grains): what of a partly used device counts as lost, in devices


class Tables(NamedTuple):
    """Free sets of whole devices (layouts.States)."""

    copies: Floats
    left: Floats
    cost: Floats
    whole: Floats


class Room(NamedTuple):
    """What each row offers the typical demands as it is, kept up to date by the kernels."""

    at: Ints  # the change up to which the row is worked out
    copies: Floats  # (rows, typical)
    usable: Floats  # (rows, typical)
    worth: Floats
    scratch: Floats  # (2, typical)
    todo: Ints
    twin: Ints


class Weighed(NamedTuple):
    """All that a loss depends on beside rows and demand."""

    room: Room
    typical: Typical
    tables: Tables


class Losses(NamedTuple):
    """What a demand costs on each row."""

    seen: Ints  # (cells): the clock when each was looked at last
    score: Floats
    device: Ints  # for a share: which; -1: any whole one


class Asked(NamedTuple):
    """A demand in numbers."""

    devices: int
    column: int
    ppm: int
    device_bytes: float
    cpu: float
    memory: float
    firm: int  # whose; of a share


def _worth(
    row: int, copies: Floats, usable: Floats, cpu: float, memory: float, typical: Typical, model: int
) -> float:
    """What typical demands, each alone, could still use."""
    worth = 0.0
    per_cpu, per_memory = typical.per_cpu, typical.per_memory
    for_copies, for_fit = typical.for_copies, typical.for_fit
    if typical.of_host:
        for t in range(copies.shape[1]):
            by_cpu, by_memory = np.floor(cpu * per_cpu[t] + _ROUND), np.floor(memory * per_memory[t] + _ROUND)
            most = by_cpu if by_cpu < by_memory else by_memory
            fits = usable[row, t] if most >= 1.0 else 0.0
            most = copies[row, t] if copies[row, t] < most else most
            worth += for_copies[model, t] * most + for_fit[model, t] * fits
    else:
        for t in range(copies.shape[1]):
            worth += for_copies[model, t] * copies[row, t] + for_fit[model, t] * usable[row, t]
    return worth


def _work_out_rooms(todo: Ints, rows: Rows, room: Room, typical: Typical, tables: Tables) -> None:
    shares = typical.shares
    copies, usable = room.copies, room.usable
    for row in todo:
        if room.at[row] >= rows.changed[row]:
            continue
        room.at[row] = rows.changed[row]
        copies[row, :] = 0.0
        usable[row, :] = 0.0
        for at in range(rows.ppm.shape[1] if shares else 0):
            grain = rows.ppm[row, at] // GRAIN
            if grain > 0:
                for t in range(shares):
                    copies[row, t] += typical.pieces[grain, t]
                    usable[row, t] += typical.useful[grain, t]
        state = rows.state[row]
        for t in range(len(typical.column)):
            held = tables.copies[state, typical.column[t]]
            copies[row, shares + t] = held
            usable[row, shares + t] = tables.whole[state] if held > 0 else 0.0
        room.worth[row] = _worth(
            row, copies, usable, rows.cpu[row], rows.memory[row], typical, rows.model[row]
        )


def _host(todo: Ints, asked: Asked, rows: Rows, room: Room, typical: Typical, score: Floats) -> None:
    """The losses of a demand without devices."""
    for row in todo:
        cpu, memory = rows.cpu[row] - asked.cpu, rows.memory[row] - asked.memory
        after = _worth(row, room.copies, room.usable, cpu, memory, typical, rows.model[row])
        score[row] = room.worth[row] - after


def _whole(
    todo: Ints, asked: Asked, rows: Rows, room: Room, typical: Typical, tables: Tables, score: Floats
) -> None:
    """The losses of a set of whole devices."""
    copies, usable = room.scratch[0:1], room.scratch[1:2]
    shares = typical.shares
    for row in todo:
        state = rows.state[row]
        cost = tables.cost[state, asked.column]
        if cost == inf:
            score[row] = inf
            continue
        for t in range(shares):
            copies[0, t] = room.copies[row, t] - asked.devices * typical.pieces[GRID, t]
            usable[0, t] = room.usable[row, t] - asked.devices
        whole = tables.whole[state] - asked.devices
        for t in range(len(typical.column)):
            held = tables.left[state, asked.column, typical.column[t]]
            copies[0, shares + t] = held
            usable[0, shares + t] = whole if held > 0 else 0.0
        cpu, memory = rows.cpu[row] - asked.cpu, rows.memory[row] - asked.memory
        after = _worth(0, copies, usable, cpu, memory, typical, rows.model[row])
        score[row] = cost + room.worth[row] - after


def _share(
    todo: Ints, asked: Asked, rows: Rows, room: Room, typical: Typical, tables: Tables, score: Floats,
    device: Ints,
) -> None:  # fmt: skip
    """The losses of a share on the best device of each row, and which device that is; -1: any whole one."""
    copies, usable = room.scratch[0:1], room.scratch[1:2]
    shares, typicals = typical.shares, room.scratch.shape[1]
    for row in todo:
        score[row] = inf
        cpu, memory = rows.cpu[row] - asked.cpu, rows.memory[row] - asked.memory
        state = rows.state[row]
        whole_left = tables.whole[state] > 0 and tables.cost[state, 0] < inf
        seen = -1
        for at in range(rows.ppm.shape[1]):
            now = rows.ppm[row, at]
            if rows.firm[row, at] >= 0 and rows.firm[row, at] != asked.firm:
                continue  # parts of it are another firm's, and the node does not keep firms apart
            if now < asked.ppm or now == seen or rows.device_bytes[row, at] < asked.device_bytes:
                continue
            whole = now >= GRID * GRAIN
            if whole and not whole_left:
                continue
            seen = now
            before, after = now // GRAIN, (now - asked.ppm) // GRAIN
            for t in range(shares):
                copies[0, t] = room.copies[row, t] + typical.pieces[after, t] - typical.pieces[before, t]
                usable[0, t] = room.usable[row, t] + typical.useful[after, t] - typical.useful[before, t]
            if whole:
                whole_left = False
                for t in range(len(typical.column)):
                    held = tables.left[state, 0, typical.column[t]]
                    copies[0, shares + t] = held
                    usable[0, shares + t] = tables.whole[state] - 1.0 if held > 0 else 0.0
            else:
                for t in range(shares, typicals):
                    copies[0, t], usable[0, t] = room.copies[row, t], room.usable[row, t]
            loss = room.worth[row] - _worth(0, copies, usable, cpu, memory, typical, rows.model[row])
            loss += typical.waste[after] - typical.waste[before]
            loss += _TIGHT * (now - asked.ppm) / (GRID * GRAIN)
            if whole and tables.cost[state, 0] >= _DEGRADED:
                loss += _DEGRADED
            if loss < score[row]:
                score[row], device[row] = loss, (-1 if whole else at)


def _same(row: int, other: int, rows: Rows) -> bool:
    """Whether two rows are alike in everything that a loss depends on."""
    if (
        rows.state[row] != rows.state[other]
        or rows.cpu[row] != rows.cpu[other]
        or rows.memory[row] != rows.memory[other]
        or rows.penalty[row] != rows.penalty[other]
        or rows.model[row] != rows.model[other]
    ):
        return False
    for at in range(rows.ppm.shape[1]):
        if (
            rows.ppm[row, at] != rows.ppm[other, at]
            or rows.device_bytes[row, at] != rows.device_bytes[other, at]
            or rows.firm[row, at] != rows.firm[other, at]
        ):
            return False
    return True


def _changed(
    stretches: Ints, seen: Ints, now: int, asked: Asked, rows: Rows, room: Room, score: Floats
) -> int:
    """Fills room.todo with the rows that have to be worked out, and says how many they are.

    Those that do not fit are done; one that is like the last before it follows it (room.twin).
    """
    number = 0
    for stretch in range(len(stretches)):
        cell, begin, end = stretches[stretch]
        since, before = seen[cell], -1
        seen[cell] = now
        for row in range(begin, end):
            if rows.changed[row] > since:
                room.twin[row] = -1
                if rows.cpu[row] < asked.cpu or rows.memory[row] < asked.memory:
                    score[row] = inf
                    continue
                if before >= 0 and _same(row, before, rows):
                    room.twin[row] = before
                else:
                    room.todo[number] = before = row
                    number += 1
    return number


def lightest(stretches: Ints, now: int, asked: Asked, rows: Rows, weighed: Weighed, losses: Losses) -> int:
    """The row where least is lost, -1 for none. Works out what changed since the stretch was looked at last.

    `stretches` (number, begin, end) of cells. Cost: one comparison a row, and the typical demands for each
    changed one.
    """
    room, typical, tables = weighed
    seen, score, device = losses
    news = False
    for stretch in range(len(stretches)):
        news |= seen[stretches[stretch, 0]] < now
    if news:
        todo = room.todo[: _changed(stretches, seen, now, asked, rows, room, score)]
        _work_out_rooms(todo, rows, room, typical, tables)
        if not asked.devices:
            _host(todo, asked, rows, room, typical, score)
        elif asked.ppm < GRID * GRAIN:
            _share(todo, asked, rows, room, typical, tables, score, device)
        else:
            _whole(todo, asked, rows, room, typical, tables, score)
        for row in todo:
            open_ppm = 0
            for at in range(rows.ppm.shape[1]):
                open_ppm += rows.ppm[row, at]
            loss = score[row] + _TIGHT * open_ppm / (GRID * GRAIN) + _SUSPECT * rows.penalty[row]
            score[row] = np.floor(loss * _FINE + 0.5) / _FINE
    best, found = inf, -1
    for stretch in range(len(stretches)):
        for row in range(stretches[stretch, 1], stretches[stretch, 2]):
            if room.twin[row] >= 0:
                score[row], device[row] = score[room.twin[row]], device[room.twin[row]]
                room.twin[row] = -1
            if score[row] < best:
                best, found = score[row], row
    return found


def room_for(rows: int, typical: int) -> Room:
    """Nothing worked out."""
    return Room(
        np.full(rows, -1, dtype=np.int64),
        np.zeros((rows, typical)),
        np.zeros((rows, typical)),
        np.zeros(rows),
        np.zeros((2, typical)),
        np.zeros(rows, dtype=np.int64),
        np.full(rows, -1, dtype=np.int64),
    )
