"""Step 19: the reader's signed result, a C2SP signed note over what was verified and what came of it."""

from __future__ import annotations

import hashlib

from suanli.evidence.findings import Verdict
from suanli.evidence.keys import Signer
from suanli.evidence.signed_note import sign_note
from suanli.evidence.strict_json import printable

HEADING = "suanli/result/v1"
"""First line: no origin of a log, so that a result can never be taken for a log checkpoint."""


def sign_result(verdict: Verdict, tool: str, verdict_json: str, name: str, signer: Signer) -> bytes:
    """The note's bytes. `verdict_json` is the text of the verdict whose hash is signed. Raises EvidenceError."""
    log = verdict.facts.get("log")
    origin, size, root = (
        (log["origin"], log["size"], log["root"]) if isinstance(log, dict) else ("none", 0, "")
    )
    lines = [
        HEADING,
        f"verified {_word(verdict.verified)}",
        f"integrity {_word(verdict.integrity)}",
        f"completeness {_word(verdict.completeness)}",
        f"bundle {verdict.facts.get('bundle_sha256', 'none')}",
        f"log {printable(str(origin))} {size} {root}",
        f"steps {' '.join(str(step) for step in verdict.steps_run)}",
        f"tool {tool}",
        f"verdict {hashlib.sha256(verdict_json.encode('utf-8')).hexdigest()}",
    ]
    return sign_note("".join(line + "\n" for line in lines), name, signer.public_key, signer.sign).encode()


def _word(answer: object) -> str:
    return "yes" if answer else "no"
