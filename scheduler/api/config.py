"""What the API process is told when it starts."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp

from scheduler.api.outgoing import Network
from scheduler.domain.firms import UidRange
from scheduler.domain.ids import Ids
from scheduler.domain.issuers import Issuer
from scheduler.planner import PlannerConfig
from scheduler.services.content import USUAL_QUOTA, Quota
from scheduler.storage.objects import Place


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Addresses and folders; the clock and the random numbers come in here and nowhere else."""

    database_url: str = field(repr=False)  # may hold a password
    host: str
    port: int  # 0: any free one; the announcement tells which
    log_place: Place  # the public evidence log: checkpoint, tile/...
    job_log_folder: Path  # output of jobs: <firm>/<job>/<attempt>/<rank>.<local>.<stdout|stderr>
    # Descriptor of a socket that listens there already, inherited; absent: one is opened.
    socket: int | None = None
    # By which gateways are known, and by which they know us; absent: no tunnels.
    authority: Path = Path()
    tunnel_secret: Path = Path()
    # Content of firms, shared with the gateways, and how much of it a firm may keep.
    content_folder: Path = Path("content")
    content_quota: Quota = USUAL_QUOTA
    # The Ed25519 key (PEM) by which webhooks are signed; absent: nothing is delivered from here.
    webhook_key: Path = Path()
    webhook_networks: tuple[Network, ...] = ()  # which they may reach although they are not public
    webhook_authorities: Path | None = None  # PEM: trusted beside the system's
    # Under which the secrets of firms are encrypted; shared with the gateways.
    secret_keys: Path = Path("secrets.keys")
    planner: PlannerConfig = field(default_factory=PlannerConfig)  # the controller's, for trials
    pool_size: int = 8
    # User ids that new firms are given; the agents' --firm-uids must hold them.
    firm_uids: UidRange = field(default_factory=UidRange)
    # Requests a second that one principal may send to this process, ten seconds' worth of them at once; 0: any.
    requests_per_s: int = 500
    # Who else says who somebody is: OpenID Connect issuers that the operator trusts.
    issuers: tuple[Issuer, ...] = ()
    # Longest time that open requests get to finish when the process stops.
    drain_s: float = 3.0
    # Applications below paths of their own, open to everybody (the console's pages hold no data).
    mounts: tuple[tuple[str, ASGIApp], ...] = ()
    now_ms: Callable[[], int] = _wall_clock_ms
    ids: Ids = field(default_factory=lambda: Ids(os.urandom))
