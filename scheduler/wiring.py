"""From settings to each process: which room serves, with which values.

Imports are late, so that each process loads its own room and nothing of the others (memory, start-up).
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from scheduler.process import Announce, Serve
from scheduler.settings import Settings, SettingsError
from scheduler.storage import roles

if TYPE_CHECKING:
    from scheduler.domain.issuers import Issuer
    from scheduler.planner import PlannerConfig

# Process -> the database role that it runs under, in the order of their start.
PROCESSES: Final = {
    "controller": roles.CONTROLLER,
    "ledger": roles.LEDGER,
    "gateway": roles.GATEWAY,
    "api": roles.API,
}
Build = Callable[[Settings, str], Serve]
_C = TypeVar("_C")


def role_url(settings: Settings, role: str) -> str:
    """The database as `role`: the URL that is set, else the embedded server's with the kept password."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    from scheduler.secret_files import role_passwords
    from scheduler.storage.embedded import EmbeddedPostgres

    if not settings.secret("roles.json").exists():
        raise SettingsError(
            f"SUANLI_DATABASE_URL is not set, and {settings.data} holds no installation: "
            "run 'suanli up' there, or name the database"
        )
    return EmbeddedPostgres(settings.data / "pg", role_passwords(settings)).url(role)


def server_of(process: str, settings: Settings, database_url: str) -> Serve:
    """What the process runs."""
    builders: dict[str, Build] = {
        "api": _api,
        "gateway": _gateway,
        "controller": _controller,
        "ledger": _ledger,
    }
    return builders[process](settings, database_url)


def _api(settings: Settings, database_url: str) -> Serve:
    from scheduler.api.config import ApiConfig
    from scheduler.api.outgoing import parse_networks
    from scheduler.api.server import serve
    from scheduler.domain.firms import parse_uid_range
    from scheduler.services.content import Quota

    webhook_key = settings.secret("webhook.key")
    config = ApiConfig(
        database_url=database_url,
        host=settings.host,
        port=settings.api_port,
        socket=settings.api_socket,
        log_place=settings.log_place,
        job_log_folder=settings.job_log_folder,
        content_folder=settings.content_folder,
        content_quota=Quota(settings.content_quota_bytes, settings.content_quota_objects),
        requests_per_s=settings.requests_per_s,
        issuers=_issuers(settings),
        authority=settings.secret("ca.crt"),
        tunnel_secret=settings.secret("tunnel.key"),
        firm_uids=parse_uid_range(settings.firm_uids),
        secret_keys=settings.secret("secrets.keys"),
        webhook_key=webhook_key if webhook_key.exists() else Path(),
        webhook_networks=parse_networks(settings.webhook_networks),
        webhook_authorities=settings.webhook_authorities,
        planner=planner_config(settings),
    )
    return _bound(serve, config)


def planner_config(settings: Settings) -> "PlannerConfig":
    """What the planner weighs in this installation."""
    from scheduler.planner import PlannerConfig

    return PlannerConfig(
        profile=settings.planner_profile,
        moves=settings.planner_moves,
        min_run_ms=settings.planner_min_run_seconds * 1_000,
    )


def _issuers(settings: Settings) -> "tuple[Issuer, ...]":
    from scheduler.services.issuers import load_issuers

    if settings.oidc_file is None:
        return ()
    try:
        return load_issuers(settings.oidc_file)
    except ValueError as error:
        raise SettingsError(f"SUANLI_OIDC_FILE: {error}") from error


def _gateway(settings: Settings, database_url: str) -> Serve:
    from scheduler.rpc.server import GatewayConfig, serve
    from scheduler.services.content import Quota

    config = GatewayConfig(
        database_url=database_url,
        gateway_id=settings.name,
        ca_certificate=settings.secret("ca.crt"),
        ca_key=settings.secret("ca.key"),
        server_certificate=settings.secret("server.crt"),
        server_key=settings.secret("server.key"),
        job_log_folder=settings.job_log_folder,
        content_folder=settings.content_folder,
        content_quota=Quota(settings.content_quota_bytes, settings.content_quota_objects),
        host=settings.host,
        fleet_port=settings.fleet_port,
        enrolment_port=settings.enrolment_port,
        advertised_host=settings.advertised_host,
        window_ms=settings.window_ms,
        tunnel_host=settings.tunnel_host,
        tunnel_port=settings.tunnel_port,
        tunnel_secret=settings.secret("tunnel.key"),
        secret_keys=settings.secret("secrets.keys"),
    )
    return _bound(serve, config)


def _controller(settings: Settings, database_url: str) -> Serve:
    from scheduler.controller.loop import ControllerConfig, serve

    config = ControllerConfig(
        database_url=database_url,
        holder=settings.name,
        key_path=settings.secret("controller.key"),
        planner_config=planner_config(settings),
        machine_code_folder=settings.data / "machine-code",
    )
    return _bound(serve, config)


def _ledger(settings: Settings, database_url: str) -> Serve:
    from scheduler.ledger.loop import LedgerConfig, serve
    from scheduler.secret_files import log_origin

    config = LedgerConfig(
        database_url=database_url,
        holder=settings.name,
        log_key_path=settings.secret("log.key"),
        controller_public_key_path=settings.secret("controller.pub"),
        log_place=settings.log_place,
        payload_place=settings.payload_place,
        ml_dsa_key_path=settings.log_ml_dsa_key,
        origin=log_origin(settings),
        stamp_url=None if settings.stamp_url is None else str(settings.stamp_url),
        stamp_period_ms=settings.stamp_period_hours * 3_600_000,
        witnesses=[(witness.name, witness.url, witness.key) for witness in settings.witnesses],
    )
    return _bound(serve, config)


def _bound(serve: Callable[[_C, asyncio.Event, Announce], Coroutine[Any, Any, None]], config: _C) -> Serve:
    async def run(stop: asyncio.Event, announce: Announce) -> None:
        await serve(config, stop, announce)

    return run
