"""Which gateways live: a dead gateway is not 2,000 dead nodes, but its nodes are silent."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.ids import GatewayId
from scheduler.domain.nodes import NodeState
from scheduler.machine.messages import GatewayLost, GatewaySeen, Message
from scheduler.machine.state import ClusterState

_SEEN = text(
    "SELECT gateway_id FROM gateways WHERE seen_at > now() - make_interval(secs => :timeout_ms / 1000.0)"
)


async def look_at_gateways(session: AsyncSession, state: ClusterState, timeout_ms: int) -> list[Message]:
    """Where the rows' last signs of life and the nodes disagree. Cost: O(nodes).

    From the state alone and not from what was seen before: a connection through a gateway that had died by
    then may be heard of late. The database's own clock judges, for gateways' clocks may differ.
    """
    rows = await session.execute(_SEEN, {"timeout_ms": timeout_ms})
    seen = {GatewayId(row.gateway_id) for row in rows}
    wrong = {
        node.gateway_id
        for node in state.nodes.values()
        if node.gateway_id is not None and (node.state is NodeState.CONNECTED) != (node.gateway_id in seen)
    }
    return [GatewaySeen(one) if one in seen else GatewayLost(one) for one in sorted(wrong)]
