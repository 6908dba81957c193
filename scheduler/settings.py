"""What an operator can set: environment variables beginning with SUANLI_, and their defaults.

Secrets come in by file or by environment, never by command line, which every user of a host can read.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

WINDOW_GRID_MS: Final = 300_000
PREFIX: Final = "SUANLI_"
Port = Annotated[int, Field(ge=0, le=65_535)]
S3Address = Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?$")]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable."""


class Witness(BaseModel):
    """Who cosigns the log: `key` is the witness's public vkey."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    url: str = Field(pattern=r"^https?://")
    key: str = Field(min_length=1)


def default_data() -> Path:
    """Where data lies unless told otherwise: the system's place for root, the user's own for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/suanli")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "suanli"


class Settings(BaseSettings):
    """Every setting of the control plane. Each process reads those that it needs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data: Path = Field(default_factory=default_data)
    # Parts of the data folder that may lie elsewhere (containers mount them one by one).
    secrets_folder: Path = Path()
    log_folder: Path = Path()
    payload_folder: Path = Path()
    job_log_folder: Path = Path()
    content_folder: Path = Path()
    # The evidence log and its payloads in an S3-compatible store instead: s3://bucket/prefix, two prefixes.
    log_store: S3Address | None = None
    payload_store: S3Address | None = None

    # `up` and `migrate`: as the owner. Processes: as their own role. Absent: the embedded server of `data`.
    database_url: SecretStr | None = None
    # A folder with other programs `postgres` and `initdb` than the packaged ones.
    postgres_folder: Path | None = None

    host: str = "127.0.0.1"
    api_port: Port = 8470
    fleet_port: Port = 8471
    enrolment_port: Port = 8472
    # The address that agents dial, where it is not the one listened on.
    advertised_host: str | None = None
    # Where a gateway takes tunnels from the API: an address that the API reaches, and nobody else needs to.
    tunnel_host: str = "127.0.0.1"
    tunnel_port: Port = 0

    # Requests a second that one principal may send to an API process, ten times as many at once; 0: any.
    requests_per_s: Annotated[int, Field(ge=0)] = 500

    # Processes that serve the API on its one port; `up` takes one for every four processors, four at most.
    api_workers: Annotated[int, Field(ge=1, le=64)] | None = None
    # Not for people: which of them a process is, and the descriptor of the socket that it was given.
    api_worker: int | None = None
    api_socket: int | None = None

    # OpenID Connect: a YAML file of issuers and of what their claims make of somebody (docs/sign-in.md).
    oidc_file: Path | None = None

    window_ms: int = WINDOW_GRID_MS
    log_origin: str | None = None
    # ML-DSA-44 key (PKCS #8 PEM) that signs log checkpoints beside log.key: openssl genpkey -algorithm ML-DSA-44
    log_ml_dsa_key: Path | None = None
    witnesses: Annotated[tuple[Witness, ...], NoDecode] = ()

    # A time-stamping authority (RFC 3161) that stamps the newest log checkpoint; absent: none is asked.
    stamp_url: Annotated[str | None, Field(pattern="^https?://")] = None
    stamp_period_hours: Annotated[int, Field(ge=1)] = 168

    # Networks that webhooks may reach although they are not public (`10.1.0.0/16, fd00::/8`), and authorities
    # (PEM) whose certificates they trust beside the system's.
    webhook_networks: str = ""
    webhook_authorities: Path | None = None

    # User ids that firms' tasks run under on the nodes, given to each new firm; within the agents' --firm-uids.
    firm_uids: str = "400000-499999"
    # Uploads and results: how much a firm may keep here.
    content_quota_bytes: Annotated[int, Field(ge=0)] = 100 << 30
    content_quota_objects: Annotated[int, Field(ge=0)] = 1_000_000

    # What the planner weighs (`suanli simulate` rehearses another), and whether it may stop a running job that
    # resumes for a gain alone: to go on on a faster model, or with more devices.
    planner_profile: Literal["balanced", "throughput", "packing"] = "balanced"
    planner_moves: bool = True
    # Nobody is stopped for others, or for such a gain, before it has run for so long.
    planner_min_run_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300

    # Name of this process among its replicas.
    name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")

    metrics_host: str | None = None  # absent: as `host`
    metrics_port: Port | None = None  # absent: no exporter; 0: any free port, announced
    # Holds what readers of the metrics must bear: they name the queues and budgets of all firms.
    metrics_token_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("window_ms")
    @classmethod
    def _on_the_grid(cls, value: int) -> int:
        if value < 1 or WINDOW_GRID_MS % value:
            raise ValueError(f"must divide {WINDOW_GRID_MS} (milliseconds)")
        return value

    @field_validator("firm_uids")
    @classmethod
    def _uid_range(cls, value: str) -> str:
        from scheduler.domain.firms import parse_uid_range

        parse_uid_range(value)
        return value

    @field_validator("oidc_file", "metrics_token_file", mode="before")
    @classmethod
    def _no_file(cls, value: object) -> object:
        return value or None  # compose hands on a variable that nobody set as an empty one

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        import ipaddress

        for part in value.split(","):
            if part.strip():
                ipaddress.ip_network(part.strip())
        return value

    @field_validator("witnesses", mode="before")
    @classmethod
    def _read_witnesses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        import json

        try:
            return json.loads(value or "[]")
        except json.JSONDecodeError as error:
            raise ValueError('must be JSON: [{"name": ..., "url": ..., "key": ...}]') from error

    @model_validator(mode="after")
    def _place_folders(self) -> Self:
        data = self.data.expanduser().absolute()
        places = {
            "data": data,
            "secrets_folder": _place(self.secrets_folder, data / "secrets"),
            "log_folder": _place(self.log_folder, data / "log"),
            "payload_folder": _place(self.payload_folder, data / "payloads"),
            "job_log_folder": _place(self.job_log_folder, data / "logs"),
            "content_folder": _place(self.content_folder, data / "content"),
        }
        if (self.log_store is None) != (self.payload_store is None) or (
            self.log_store is not None and self.log_store == self.payload_store
        ):
            # The log is public, what opens it is not; and half of it on one machine is half of a backup.
            raise ValueError("log_store and payload_store want two addresses, or none")
        for name, place in places.items():
            object.__setattr__(self, name, place)
        return self

    @property
    def log_place(self) -> Path | str:
        """Where the public log lies."""
        return self.log_store or self.log_folder

    @property
    def payload_place(self) -> Path | str:
        """Where what opens the log's entries lies."""
        return self.payload_store or self.payload_folder

    @property
    def run_folder(self) -> Path:
        """Where processes announce themselves."""
        return self.data / "run"

    def secret(self, name: str) -> Path:
        """Path of a file among the secrets."""
        return self.secrets_folder / name


def _place(given: Path, default: Path) -> Path:
    return default if given == Path() else given.expanduser().absolute()


def load(**given: Any) -> Settings:
    """Read the environment, with what was given on the command line above it. Raises SettingsError."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(problem) for problem in error.errors())) from error


def _sentence(problem: Any) -> str:
    place = [str(part) for part in problem["loc"]]
    name = PREFIX + place[0].upper() if place else PREFIX + "*"
    inner = f" at {'.'.join(place[1:])}" if len(place) > 1 else ""
    return f"{name}{inner}: {problem['msg'].removeprefix('Value error, ')}"
