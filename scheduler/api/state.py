"""What all requests of one API process share, and how a route gets at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from scheduler.api.config import ApiConfig
from scheduler.api.pulse import Pulse
from scheduler.catalogue import Catalogue
from scheduler.services.possible import EnrolledDevices
from scheduler.storage.engine import Database
from scheduler.storage.job_logs import JobLogs
from scheduler.tunnels.dial import TunnelDialer


@dataclass(slots=True)
class Api:
    """Made once for each application."""

    config: ApiConfig
    database: Database
    catalogue: Catalogue
    job_logs: JobLogs
    pulse: Pulse
    tunnels: TunnelDialer
    enrolled: EnrolledDevices = field(default_factory=EnrolledDevices)
    versions: Mapping[str, str] = field(default_factory=dict)

    def now_ms(self) -> int:
        """The moment, in ms UTC."""
        return self.config.now_ms()


def api_of(connection: HTTPConnection) -> Api:
    """The shared state of the application that serves this connection."""
    return cast(Api, connection.app.state.api)


def _api(request: Request) -> Api:
    return api_of(request)


ApiState = Annotated[Api, Depends(_api)]
