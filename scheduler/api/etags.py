"""ETags: of a job the revision of its spec, which the API owns (its state is the controller's and has no part in it);
of what is configured a digest.

Who read a thing and changes it sends the ETag back in If-Match (RFC 9110, 13.1.1): two who change it at once cannot
both believe that they changed what they had read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header

from scheduler.domain.errors import FieldProblem, Invalid, PreconditionFailed
from scheduler.services.application import Document, Judge

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        description='ETags of which it must have one, such as "3"; * or none: whatever it has.',
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", max_length=10, description="*: only where there is none yet.")
]
_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


def etag(tag: int | str) -> str:
    """The ETag of a revision, or of a digest."""
    return f'"{tag}"'


def tag_of(document: Mapping[str, Any]) -> str:
    """What an ETag says of a document: it changes exactly when the document does."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def judge_of(if_match: str | None, if_none_match: str | None = None) -> Judge:
    """Judges the document of what is configured, before it is changed, by what the request is conditional on."""

    def judge(now: Document | None) -> None:
        if now is None:
            if if_match is not None:
                raise PreconditionFailed("there is none yet, and so it has no ETag: leave If-Match out")
            return
        if if_none_match is not None and if_none_match.strip() == "*":
            raise PreconditionFailed("there is one already", {"etag": etag(tag_of(now))})
        require_match(if_match, tag_of(now))

    return judge


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
