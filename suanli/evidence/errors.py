"""The one error of this ring: bytes that are not the evidence they claim to be."""

from __future__ import annotations

_GOT_LIMIT = 200


class EvidenceError(ValueError):
    """A field of a record, note, tile or bundle is not what the format asks for.

    `field` is a dotted path into the record ("device.serial", "segments[3]"), `got` what was found there
    (shortened for people), `want` what the format asks for.
    """

    def __init__(self, field: str, got: object, want: str) -> None:
        self.field = field
        self.got = shorten(got)
        self.want = want
        super().__init__(f"{field}: got {self.got}, want {want}")


def shorten(value: object) -> str:
    """`value` as text for people, cut so that hostile input cannot flood a report."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        # repr of a hundred megabytes would be slower than the check that failed.
        text = repr(value[:_GOT_LIMIT])
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        text = f"an integer of {value.bit_length()} bits"
    else:
        try:
            text = repr(value)
        except RecursionError:
            text = f"a {type(value).__name__} nested too deep"
    return text if len(text) <= _GOT_LIMIT else text[:_GOT_LIMIT] + "…"
