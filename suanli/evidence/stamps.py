"""Time stamps (RFC 3161) of log checkpoints: where a bundle carries one, and what checking it means.

A time-stamping authority signs that the signed log checkpoint was there at a time: should every witness be asleep,
the log is still not older or younger than the stamp lets it be. Reading the authority's answer is the work of a
package that not every reader has; the verifier is given a `StampCheck`, or says that it did not check.
"""

from __future__ import annotations

from collections.abc import Callable

STAMP = "timestamp/answer.tsr"
"""The authority's answer (DER), exactly as it came."""
STAMPED = "timestamp/checkpoint"
"""The signed log checkpoint that was stamped: the bytes whose SHA-256 the authority signed."""
STAMP_LIMIT_BYTES = 64 << 10

StampCheck = Callable[[bytes, bytes], int]
"""Answer and stamped bytes to the time of the stamp in milliseconds. Raises EvidenceError for a false one."""
