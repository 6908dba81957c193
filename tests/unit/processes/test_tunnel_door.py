"""How many tunnels a gateway opens, and for whom."""

import asyncio

from scheduler.rpc.connections import Connections
from scheduler.rpc.tunnels import MOST_TUNNELS_OF_A_FIRM, MOST_TUNNELS_OF_A_TASK, Tunnel, TunnelDoor
from scheduler.storage.engine import Database
from scheduler.tunnels.frames import FrameStream


async def test_a_firm_with_many_tasks_leaves_room_for_the_others() -> None:
    reader, writer = asyncio.StreamReader(), None
    line = FrameStream(reader, writer)  # type: ignore[arg-type]
    door = TunnelDoor(Connections(Database("postgresql://unused@/unused", "test", 1), "gateway"))
    for number in range(MOST_TUNNELS_OF_A_FIRM):
        door.open[str(number)] = Tunnel("greedy", "node", f"task-{number % 8}", line)
    assert door._full("greedy", "task-9") is not None
    assert door._full("other", "task-10") is None
    door.open.clear()
    for number in range(MOST_TUNNELS_OF_A_TASK):
        door.open[str(number)] = Tunnel("greedy", "node", "task", line)
    assert door._full("greedy", "task") is not None
    assert door._full("greedy", "another-task") is None
