"""TLS of the gateway: the installation's own authority, and the credentials of the two ports.

TLS keys are ECDSA P-256, because BoringSSL does not do Ed25519 certificates; windows are signed by another
key. Revocation is not in certificates: every stream looks up whether its node's key still stands.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import structlog
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

_log = structlog.get_logger(__name__)


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


class ServerCertificate:
    """The gateway's own certificate and key, read anew when their files change.

    While a pair is being replaced its halves may not belong together for a moment: then the one before goes on.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError, ValueError or TypeError for files that are no pair."""
        self._certificate, self._key = certificate, key
        self._seen = self._stamps()
        self.key_pem, self.certificate_pem = self._read()

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        found = [path.stat() for path in (self._certificate, self._key)]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)

    def _read(self) -> tuple[bytes, bytes]:
        key_pem, certificate_pem = self._key.read_bytes(), self._certificate.read_bytes()
        key = serialization.load_pem_private_key(key_pem, password=None)
        if key.public_key() != x509.load_pem_x509_certificate(certificate_pem).public_key():
            raise ValueError(f"{self._key} is not the key of {self._certificate}")
        return key_pem, certificate_pem

    def renewed(self) -> bool:
        """Whether there is another pair since the last look, which is then in use. Cost: two looks at files."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return False
            self.key_pem, self.certificate_pem = self._read()
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            _log.warning("server_certificate_not_renewed", reason=str(error))
            return False
        self._seen = stamps
        _log.info("server_certificate_renewed", certificate=str(self._certificate))
        return True

    def credentials(self, authority: bytes | None = None) -> grpc.ServerCredentials:
        """TLS for one port: each new connection gets the newest certificate.

        With `authority` both sides prove themselves, clients by a certificate of that authority; without it the
        gateway alone does, because hosts have no certificate yet.
        """

        def configuration() -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(self.key_pem, self.certificate_pem)], root_certificates=authority
            )

        given = self.certificate_pem

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            self.renewed()
            if self.certificate_pem == given:
                return None
            given = self.certificate_pem
            return configuration()

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            fetch,  # type: ignore[arg-type]  # None means "as before", which the types leave out
            require_client_authentication=authority is not None,
        )
