"""Typed HTTP client of the REST API: what a script of a researcher, a firm or an auditor needs.

Belongs here: the calls, their answers' types, errors, profiles. Does not belong here: printing (`cli`) and
any rule about jobs or money (the API's).
"""

from typing import TYPE_CHECKING

from suanli.client.errors import ClientError, KeyRefused, NoProfile, NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from suanli.client.client import Client

__all__ = ["Client", "ClientError", "KeyRefused", "NoProfile", "NotFound", "Refused", "Unreachable"]


def __getattr__(name: str) -> object:
    # Late: httpx takes longer to load than all the rest, and `suanli --help` needs none of it.
    if name == "Client":
        from suanli.client.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
