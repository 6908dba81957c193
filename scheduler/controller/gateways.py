"""Which gateways live: a dead gateway is not 2,000 dead nodes, but its nodes are silent."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.ids import GatewayId
from scheduler.machine.messages import GatewayLost, GatewaySeen, Message
from scheduler.machine.state import ClusterState

_SEEN = text(
    "SELECT gateway_id FROM gateways WHERE seen_at > now() - make_interval(secs => :timeout_ms / 1000.0)"
)


class GatewayWatch:
    """Turns the rows' last signs of life into messages, once for each change."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._alive: dict[GatewayId, bool] = {}

    async def look(self, session: AsyncSession, state: ClusterState) -> list[Message]:
        """What changed since the last look. The database's own clock judges: gateways' clocks may differ."""
        rows = await session.execute(_SEEN, {"timeout_ms": self._timeout_ms})
        seen = {GatewayId(row.gateway_id) for row in rows}
        used = {node.gateway_id for node in state.nodes.values() if node.gateway_id is not None}
        messages: list[Message] = []
        for gateway_id in sorted(seen | used | self._alive.keys()):
            alive = gateway_id in seen
            if self._alive.get(gateway_id) is not alive:
                messages.append(GatewaySeen(gateway_id) if alive else GatewayLost(gateway_id))
            self._alive[gateway_id] = alive
        return messages
