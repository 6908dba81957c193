"""TLS of the gateway: the installation's own authority, and the credentials of the two ports.

TLS keys are ECDSA P-256, because BoringSSL does not do Ed25519 certificates; windows are signed by another
key. Revocation is not in certificates: every stream looks up whether its node's key still stands.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scheduler.domain.errors import FieldProblem, Invalid

# Agents ask for another one when a third of it is left; a host that was away for longer enrols again.
CERTIFICATE_LIFETIME = timedelta(days=90)
# A host whose clock is a little behind must not find its new certificate in the future.
BACKDATED = timedelta(minutes=5)
MOST_REQUEST_BYTES = 16 * 1024


class CertificateAuthority:
    """Signs the TLS certificates of agents."""

    def __init__(
        self, certificate_pem: bytes, key_pem: bytes, lifetime: timedelta = CERTIFICATE_LIFETIME
    ) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key must be an ECDSA key")
        if key.public_key() != self._certificate.public_key():
            raise ValueError("the authority's key does not belong to its certificate")
        self._key = key
        self._lifetime = lifetime
        self.certificate_pem = certificate_pem

    @classmethod
    def load(
        cls, certificate: Path, key: Path, lifetime: timedelta = CERTIFICATE_LIFETIME
    ) -> "CertificateAuthority":
        """The authority from its two PEM files. Raises OSError, ValueError or TypeError."""
        return cls(certificate.read_bytes(), key.read_bytes(), lifetime)

    def sign(self, request_pem: bytes, node_id: str) -> bytes:
        """A client certificate for the request's key, named `node_id`. Raises Invalid.

        Of the request only the key counts: whatever name it asks for, it gets its node's.
        """
        public_key = _requested_key(request_pem)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(
                max(now - min(BACKDATED, self._lifetime), self._certificate.not_valid_before_utc)
            )
            .not_valid_after(min(now + self._lifetime, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    def refuse(got: str) -> Invalid:
        return Invalid(
            [FieldProblem("certificate_request_pem", got, "a signed request of an ECDSA P-256 key")]
        )

    if len(request_pem) > MOST_REQUEST_BYTES:
        raise refuse(f"{len(request_pem)} bytes")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise refuse("something else") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise refuse("another kind of key")
    if not signed:
        raise refuse("a request that its key did not sign")
    return key


def enrolment_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """TLS that proves the gateway only: hosts have no certificate yet."""
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])


def fleet_credentials(certificate: Path, key: Path, authority: bytes) -> grpc.ServerCredentials:
    """TLS on which both sides prove themselves; clients by a certificate of the installation's authority."""
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority,
        require_client_auth=True,
    )
