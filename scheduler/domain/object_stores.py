"""Object stores (S3 and what speaks like it): those of a pool, and what a job says of objects in them."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

OBJECT_SCHEME = "s3://"
DEFAULT_REGION = "us-east-1"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PER_JOB = frozenset({"job_id", "array_index"})
PLACEHOLDERS = ("job_id", "attempt", "rank", "array_index")


class Addressing(StrEnum):
    """Where the bucket's name stands in a request."""

    PATH = "path"  # https://host/bucket/key: MinIO, Ceph
    VIRTUAL = "virtual"  # https://bucket.host/key: OBS, OSS, S3


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A store that the nodes of a pool reach at `endpoint`; what a job may do there, its own key decides."""

    name: str
    endpoint: str  # https://host or https://host:port; http where the operator says so
    region: str = DEFAULT_REGION
    addressing: Addressing = Addressing.PATH

    def to_json(self) -> dict[str, Any]:
        """As the file and the database have it."""
        return {
            "name": self.name,
            "endpoint": self.endpoint,
            "region": self.region,
            "addressing": self.addressing.value,
        }


@dataclass(frozen=True, slots=True)
class StoreCredentials:
    """By which requests are signed."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "StoreCredentials()"


def store_from_json(item: Mapping[str, Any]) -> ObjectStore:
    """As `to_json` gave it."""
    return ObjectStore(**{**item, "addressing": Addressing(item["addressing"])})


def stores_by_name(stored: Sequence[Mapping[str, Any]]) -> dict[str, ObjectStore]:
    """The stores of a pool as they are kept, by name."""
    return {item["name"]: store_from_json(item) for item in stored}


def chosen(stores: Mapping[str, ObjectStore], name: str | None) -> ObjectStore | None:
    """The store that is named; where none is, the only one."""
    if name is not None:
        return stores.get(name)
    return next(iter(stores.values())) if len(stores) == 1 else None


def bucket_and_key(place: str) -> tuple[str, str]:
    """Of `s3://bucket/key`; a key that ends with a slash, or is empty, names what lies below it."""
    bucket, _, key = place.removeprefix(OBJECT_SCHEME).partition("/")
    return bucket, key


def filled(place: str, values: Mapping[str, object]) -> str:
    """The path with its placeholders replaced."""
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), place)


def wrong_placeholder(place: str, *, in_array: bool) -> str | None:
    """A placeholder that the job does not have; None where all is well."""
    known = PLACEHOLDERS if in_array else PLACEHOLDERS[:-1]
    inside = _PLACEHOLDER.findall(place)
    wrong = next((name for name in inside if name not in known), None)
    if wrong is None and ("{" in _PLACEHOLDER.sub("", place) or "}" in _PLACEHOLDER.sub("", place)):
        return ""
    return wrong


def tells_jobs_apart(place: str) -> bool:
    """Whether the jobs of an array each have a place of their own."""
    return not _PER_JOB.isdisjoint(_PLACEHOLDER.findall(place))


def is_endpoint(text: str) -> bool:
    """Whether it is the address of a server that nodes may be sent to: never that of a host's own metadata."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = f"{parts.scheme}://{parts.netloc}" == text.rstrip("/") and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not host or not plain or not text.isascii():
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host) is not None
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)


def read_credentials(value: bytes) -> StoreCredentials | None:
    """Out of a secret: lines `NAME=value` as in `~/.aws/credentials` or in a file of variables; None where a key
    is missing. Other names, sections and comments are passed over.
    """
    found: dict[str, str] = {}
    for line in value.decode(errors="replace").splitlines():
        name, sign, text = line.strip().removeprefix("export ").partition("=")
        if sign and not name.startswith("#"):
            found[name.strip().lower()] = text.strip().strip("\"'")
    access, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if not access or not secret:
        return None
    return StoreCredentials(access, secret, found.get("aws_session_token", ""))
