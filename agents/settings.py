"""What the operator told the agent, by arguments or SUANLI_AGENT_* variables; nothing secret is among it."""

from dataclasses import dataclass
from pathlib import Path

from agents.runtime.isolation import UidRange

AGENT_VERSION = "0.1.0"
PROTOCOL = 1
# What a task may ask of this agent that older ones pass over.
UNDERSTANDS = ("object_stores", "output_patterns")


@dataclass(frozen=True)
class Place:
    """Where the node hangs in the network; an empty name was not said. `position` along the wires of a leaf."""

    zone: str = ""
    supernode: str = ""
    leaf: str = ""
    position: int = 0


@dataclass(frozen=True)
class Settings:
    """Settings of `suanli-agent run`."""

    state: Path
    gateway: str
    enrolment: str
    authority: Path
    join_token_file: Path | None
    node_name: str
    driver: str
    simulate: str | None
    rendezvous_address: str
    accept_no_isolation: bool
    sample_ms: int
    metrics: str | None
    metrics_token: str | None
    checkpoint_root: Path | None
    volume_roots: tuple[str, ...]
    firm_uids: UidRange
    stop_tasks_on_exit: bool
    samples_days: int = 90
    samples_gib: int = 8
    attach_idle_s: float = 3600.0
    place: Place = Place()
    image_registries: tuple[str, ...] = ()  # from which images may come; none: no container is run
    images_gib: int = 500  # that all images together may take
    images_free_gib: int = 5  # of the disk that a pull must leave free
    container_engine: str = "podman"
    container_runtime: str = ""  # program and options; empty: the first that is there
