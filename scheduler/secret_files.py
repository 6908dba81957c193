"""The installation's secrets in `<data>/secrets`: made once, never replaced silently."""

import ipaddress
import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scheduler.services.sealing import new_key_file
from scheduler.settings import Settings
from scheduler.storage.embedded import ALL_ROLES

CA_LIFETIME: Final = timedelta(days=20 * 366)
SERVER_LIFETIME: Final = timedelta(days=2 * 366)
RENEW_BEFORE: Final = timedelta(days=90)
# A host whose clock is a little behind must not find its new certificate in the future.
BACKDATED: Final = timedelta(minutes=5)
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class SecretsIncomplete(Exception):
    """A secret is gone that cannot be made again; the message says which and why it matters."""


def make_folder(path: Path) -> None:
    """Make a folder of ours, closed to others; one that is there keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that is 0600 from its first byte and whole from the moment it has its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def prepare(settings: Settings, hosts: Iterable[str]) -> None:
    """Make what is missing: the authority, the gateway's certificate, the keys of the log, the controller and
    webhooks, those under which firms' secrets are encrypted, and the secret by which the API proves itself.

    `hosts` are further names or addresses that agents dial. Raises SecretsIncomplete, OSError.
    """
    make_folder(settings.secrets_folder)
    _refuse_lost_log_key(settings)
    for name in ("log", "controller", "webhook"):
        _make_signing_key(settings, name)
    if not settings.secret("ca.key").exists() or not settings.secret("ca.crt").exists():
        _make_authority(settings)
    if not settings.secret("tunnel.key").exists():
        write_secret(settings.secret("tunnel.key"), secrets.token_hex(32).encode() + b"\n")
    if not settings.secret("secrets.keys").exists():
        write_secret(settings.secret("secrets.keys"), new_key_file().encode())
    names = sorted({*LOCAL_NAMES, *hosts})
    if not _server_certificate_serves(settings, names):
        _make_server_certificate(settings, names)


def log_origin(settings: Settings) -> str:
    """The log's name in its checkpoints: the one set, else a random one that is kept."""
    if settings.log_origin:
        return settings.log_origin
    path = settings.secret("log.origin")
    if not path.exists():
        write_secret(path, f"suanli.invalid/{secrets.token_hex(8)}\n".encode())
    return path.read_text().strip()


def role_passwords(settings: Settings) -> dict[str, str]:
    """Passwords of the database's roles, role -> password; made at the first call."""
    path = settings.secret("roles.json")
    passwords: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = {role: secrets.token_urlsafe(32) for role in ALL_ROLES if role not in passwords}
    if missing:
        passwords |= missing
        write_secret(path, (json.dumps(passwords, indent=1, sort_keys=True) + "\n").encode())
    return passwords


def _refuse_lost_log_key(settings: Settings) -> None:
    from scheduler.storage.tile_store import TileStore

    if not settings.secret("log.key").exists() and TileStore(settings.log_place).checkpoint() is not None:
        raise SecretsIncomplete(
            f"{settings.secret('log.key')} is gone, but {settings.log_place} holds a log signed with it: "
            "bring the key back from a backup; another key would be another log"
        )


def _make_signing_key(settings: Settings, name: str) -> None:
    path = settings.secret(f"{name}.key")
    if path.exists():
        loaded = _load_key(path)
        if not isinstance(loaded, ed25519.Ed25519PrivateKey):
            raise SecretsIncomplete(f"{path} holds no Ed25519 key")
        key = loaded
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        write_secret(path, _private_pem(key))
    public = settings.secret(f"{name}.pub")
    if not public.exists():
        write_secret(
            public,
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )


def _load_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SecretsIncomplete(
            f"{path} holds no key that can be read: bring it back from a backup"
        ) from error


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise SecretsIncomplete(
            f"{path} holds no certificate that can be read: bring it back from a backup"
        ) from error


def _private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_authority(settings: Settings) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Suanli installation {secrets.token_hex(4)}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The certificate last: both there means both are of one pair.
    settings.secret("ca.crt").unlink(missing_ok=True)
    write_secret(settings.secret("ca.key"), _private_pem(key))
    write_secret(settings.secret("ca.crt"), certificate.public_bytes(serialization.Encoding.PEM))


def _server_certificate_serves(settings: Settings, names: list[str]) -> bool:
    path = settings.secret("server.crt")
    if not path.exists() or not settings.secret("server.key").exists():
        return False
    certificate = _load_certificate(path)
    authority = _load_certificate(settings.secret("ca.crt"))
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    named = sorted(str(name.value) for name in alternatives)
    return (
        named == names
        and certificate.issuer == authority.subject
        and certificate.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)
    )


def _make_server_certificate(settings: Settings, names: list[str]) -> None:
    authority = _load_certificate(settings.secret("ca.crt"))
    authority_key = _load_key(settings.secret("ca.key"))
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise SecretsIncomplete(f"{settings.secret('ca.key')} holds no ECDSA key")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Suanli gateway")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + SERVER_LIFETIME, authority.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    settings.secret("server.crt").unlink(missing_ok=True)
    write_secret(settings.secret("server.key"), _private_pem(key))
    write_secret(settings.secret("server.crt"), certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
