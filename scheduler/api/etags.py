"""ETags: of a job the revision of its spec, which the API owns (its state is the controller's and has no part in it);
of what is configured a digest.

Who read a thing and changes it sends the ETag back in If-Match (RFC 9110, 13.1.1): two who change it at once cannot
both believe that they changed what they had read.
"""

import re
from typing import Annotated

from fastapi import Header

from scheduler.domain.errors import FieldProblem, Invalid, PreconditionFailed

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        description='ETags of which it must have one, such as "3"; * or none: whatever it has.',
    ),
]
_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


def etag(tag: int | str) -> str:
    """The ETag of a revision, or of a digest."""
    return f'"{tag}"'


def require_match(if_match: str | None, tag: int | str) -> None:
    """Raise PreconditionFailed where it is not as the caller read it, Invalid for what is no list of ETags."""
    if if_match is None or if_match.strip() == "*":
        return
    if not _TAGS.fullmatch(if_match):
        raise Invalid([FieldProblem("header If-Match", repr(if_match)[:60], 'ETags, such as "3", or *')])
    # Comparison is strong: a weak tag (W/"3") never matches.
    if etag(tag) not in _TAG.findall(if_match):
        raise PreconditionFailed(
            f"it was changed since: its ETag is {etag(tag)}, not {if_match.strip()}; read it and try again",
            {"etag": etag(tag)},
        )
