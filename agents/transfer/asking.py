"""Opening a bucket, and its errors in words of ours. Nothing else chooses what is connected to."""

import ipaddress
import re
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.exceptions import (
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from agents.transfer.telling import Problem

if TYPE_CHECKING:
    from obstore.store import S3Config

CONNECT_S = 5
# Hosts' own metadata, beside link-local addresses: Alibaba Cloud's and Amazon's.
_METADATA = frozenset({ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254")})
CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
# What stores answer about a key, with whatever status.
_OF_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccessDenied"}
)


def require_reachable(endpoint: str) -> None:
    """Refuse what is a host's own metadata; the operator chose the endpoint, whoever answers for its name did not.

    Raises Problem.
    """
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise Problem("away", f"the name {host} of the store is not found: {error.strerror}") from None
    for text in found:
        address = ipaddress.ip_address(str(text).partition("%")[0])
        judged = getattr(address, "ipv4_mapped", None) or address
        if judged.is_link_local or judged.is_multicast or judged.is_unspecified or judged in _METADATA:
            raise Problem("refused", f"{host} leads to an address that is no store's")


def open_store(request: dict[str, Any]) -> S3Store:
    """The bucket. Raises Problem."""
    endpoint, bucket = request["endpoint"], request["bucket"]
    if request["virtual_hosted"]:
        parts = urlsplit(endpoint)
        endpoint = f"{parts.scheme}://{bucket}.{parts.netloc}"
    require_reachable(endpoint)
    patience = timedelta(seconds=request["patience_s"])
    config: S3Config = {
        "endpoint": endpoint,
        "region": request["region"],
        "virtual_hosted_style_request": request["virtual_hosted"],
    }
    if request["access_key"]:
        config["access_key_id"], config["secret_access_key"] = request["access_key"], request["secret_key"]
        if request["session_token"]:
            config["session_token"] = request["session_token"]
    else:
        config["skip_signature"] = True  # else it would ask the host's metadata for a key
    return S3Store(
        bucket,
        config=config,
        client_options={
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=60),
            "timeout": timedelta(minutes=30),  # of one part
            "allow_http": endpoint.startswith("http://"),
            "user_agent": "suanli-agent",
        },
        retry_config={"max_retries": 30, "retry_timeout": patience},
    )


def problem_of(error: Exception, request: dict[str, Any]) -> Problem:
    """What went wrong, in words of ours: the library's hold parts of requests."""
    text = str(error)
    found = CODE.search(text)
    answer = found[1] if found else ""
    code = f" ({answer})" if answer else ""
    bucket, endpoint = request["bucket"], request["endpoint"]
    if answer == "NoSuchBucket" or isinstance(error, NotFoundError | FileNotFoundError):
        return Problem("refused", f"{endpoint} has no bucket {bucket}{code}")
    if answer in _OF_KEYS or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        how = "with this key" if request["access_key"] else "without a key (credentials)"
        return Problem("refused", f"access denied to bucket {bucket} at {endpoint} {how}{code}")
    if not answer and request["session_token"] and "400 Bad Request" in text:
        # What a HEAD is answered, which has no room for a code.
        return Problem("refused", f"{endpoint} refuses this key: its session token is wrong or has expired")
    if isinstance(error, PreconditionError):
        return Problem("away", f"an object in bucket {bucket} was changed while it was fetched")
    if "redirect" in text:
        return Problem("refused", f"{endpoint} sends elsewhere: its region may be wrong")
    if "InvalidCertificate(" in text:
        return Problem("away", f"{endpoint} cannot be reached: this node does not trust its certificate")
    if "status code" not in text and "response" not in text:
        return Problem("away", f"{endpoint} cannot be reached")
    return Problem("away", f"{endpoint} fails{code or ' (no answer that is one of S3)'}")


def told_of(error: Exception, request: dict[str, Any]) -> Problem:
    """The same of errors of this host too, which have a number; those of the library have none."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return Problem("local", f"{where}{error.strerror}")
    return problem_of(error, request)
