"""The installation's secrets: made once, closed, and such that TLS works with them."""

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.verification import PolicyBuilder, Store

from scheduler.secret_files import SecretsIncomplete, log_origin, prepare, role_passwords, write_secret
from scheduler.settings import Settings
from scheduler.storage.embedded import ALL_ROLES


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data=tmp_path / "data", database_url=None, log_origin=None)
    made.log_folder.mkdir(parents=True)
    return made


def _contents(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in settings.secrets_folder.iterdir()}


def test_everything_is_made_closed_and_kept(settings: Settings) -> None:
    before = os.umask(0)
    try:
        prepare(settings, [])
    finally:
        os.umask(before)
    first = _contents(settings)
    assert set(first) == {
        "ca.key", "ca.crt", "server.key", "server.crt", "log.key", "log.pub", "controller.key", "controller.pub",
        "tunnel.key", "webhook.key", "webhook.pub", "secrets.keys",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in settings.secrets_folder.iterdir()} == {0o600}
    assert stat.S_IMODE(settings.secrets_folder.stat().st_mode) == 0o700
    prepare(settings, [])
    assert _contents(settings) == first


def test_the_servers_certificate_is_good_for_every_name_that_agents_dial(settings: Settings) -> None:
    prepare(settings, ["gpu.example.org", "10.1.2.3"])
    secrets = _contents(settings)
    authority, server = (x509.load_pem_x509_certificate(secrets[name]) for name in ("ca.crt", "server.crt"))
    verifier = (
        PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName("gpu.example.org"))
    )
    assert verifier.verify(server, [])[-1] == authority
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {
        "localhost",
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "gpu.example.org",
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.secret("server.crt"), settings.secret("server.key"))


def test_another_name_renews_the_server_but_never_the_authority_that_agents_pinned(
    settings: Settings,
) -> None:
    prepare(settings, [])
    before = _contents(settings)
    prepare(settings, ["new.example.org"])
    after = _contents(settings)
    assert {name for name in before if before[name] != after[name]} == {"server.crt", "server.key"}


def test_public_keys_belong_to_their_private_keys(settings: Settings) -> None:
    prepare(settings, [])
    for name in ("log", "controller"):
        private = load_pem_private_key(settings.secret(f"{name}.key").read_bytes(), None)
        assert private.public_key() == load_pem_public_key(settings.secret(f"{name}.pub").read_bytes())


def test_certificates_bear_a_clock_that_is_a_little_behind(settings: Settings) -> None:
    prepare(settings, [])
    for name in ("ca.crt", "server.crt"):
        certificate = x509.load_pem_x509_certificate(settings.secret(name).read_bytes())
        assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)


def test_a_half_made_authority_is_made_again(settings: Settings) -> None:
    prepare(settings, [])
    settings.secret("ca.crt").unlink()
    prepare(settings, [])
    authority = x509.load_pem_x509_certificate(settings.secret("ca.crt").read_bytes())
    key = load_pem_private_key(settings.secret("ca.key").read_bytes(), None)
    assert authority.public_key() == key.public_key()
    server = x509.load_pem_x509_certificate(settings.secret("server.crt").read_bytes())
    server.verify_directly_issued_by(authority)


def test_a_log_without_its_key_is_not_given_another(settings: Settings) -> None:
    (settings.log_folder / "checkpoint").write_text("signed")
    with pytest.raises(SecretsIncomplete, match="another key would be another log"):
        prepare(settings, [])
    assert not settings.secret("log.key").exists()


def test_the_logs_name_is_chosen_once_unless_it_is_set(settings: Settings, tmp_path: Path) -> None:
    prepare(settings, [])
    assert log_origin(settings) == log_origin(settings)
    assert log_origin(settings).startswith("suanli.invalid/")
    assert log_origin(Settings(data=tmp_path, log_origin="log.example.org/a")) == "log.example.org/a"


def test_role_passwords_are_kept_and_new_roles_get_theirs(settings: Settings) -> None:
    prepare(settings, [])
    first = role_passwords(settings)
    assert set(first) == set(ALL_ROLES)
    assert len(set(first.values())) == len(ALL_ROLES)
    assert role_passwords(settings) == first
    write_secret(settings.secret("roles.json"), b'{"postgres": "kept"}')
    assert role_passwords(settings)["postgres"] == "kept"
    assert set(role_passwords(settings)) == set(ALL_ROLES)


def test_a_secret_replaces_an_open_file_by_a_closed_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
