"""Time stamps, checked by rfc3161-client: the extra `suanli[timestamps]`."""

from __future__ import annotations

from cryptography.x509 import load_pem_x509_certificates

from suanli.evidence.errors import EvidenceError
from suanli.evidence.stamps import STAMP, StampCheck


def stamp_check(authorities: bytes) -> StampCheck:
    """A check against the reader's own authorities (PEM, roots). Raises EvidenceError where it cannot be had."""
    try:
        import rfc3161_client as tsp
    except ImportError:
        want = "the package rfc3161-client: pip install 'suanli[timestamps]'"
        raise EvidenceError("--time-stamp-authority", "no reader of time stamps", want) from None
    try:
        roots = load_pem_x509_certificates(authorities)
    except ValueError as error:
        raise EvidenceError("--time-stamp-authority", str(error), "certificates in PEM") from None
    builder = tsp.VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    verifier = builder.build()

    def check(answer: bytes, stamped: bytes) -> int:
        try:
            response = tsp.decode_timestamp_response(answer)
            verifier.verify_message(response, stamped)
            return round(response.tst_info.gen_time.timestamp() * 1000)
        except (tsp.VerificationError, ValueError) as error:
            raise EvidenceError(
                STAMP, str(error), "a stamp of the reader's authority over this file"
            ) from None

    return check
