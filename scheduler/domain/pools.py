"""A named set of nodes with one backend and policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool and its policy."""

    name: str
    patience_ms: int = DEFAULT_PATIENCE_MS  # how long a node may be silent before its tasks count as lost


@dataclass(frozen=True, slots=True)
class PoolVolume:
    """A folder that the hosts of a pool have at `host_path`, for the firms named.

    `shared`: all firms see the same; otherwise each has a folder of its own in it.
    """

    name: str
    host_path: str
    firms: tuple[str, ...]  # by name
    read_only: bool = True
    shared: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the file and the database have it."""
        return {
            "name": self.name,
            "host_path": self.host_path,
            "firms": list(self.firms),
            "read_only": self.read_only,
            "shared": self.shared,
        }


def volume_from_json(item: Mapping[str, Any]) -> PoolVolume:
    """As `to_json` gave it."""
    return PoolVolume(**{**item, "firms": tuple(item["firms"])})


def volumes_of_firm(volumes: Sequence[Mapping[str, Any]], firm: str) -> dict[str, PoolVolume]:
    """Of the volumes of a pool as they are stored, those that a firm may use, by name."""
    return {item["name"]: volume_from_json(item) for item in volumes if firm in item["firms"]}
