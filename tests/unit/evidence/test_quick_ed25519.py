"""A second library may say yes faster; it never makes a signature valid that OpenSSL refuses."""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from suanli.evidence import quick_ed25519
from suanli.evidence.keys import SIGNATURES_BY, SigningKey
from tests.shared_data import shared_path

KEY = SigningKey(bytes(range(32)))


def _openssl(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.fixture(scope="module")
def accepts():
    found = (
        quick_ed25519.find_quick()
    )  # the control plane asks for PyNaCl: where it does not load, all is slower
    assert found is not None
    return found


def test_the_fast_library_is_the_one_that_is_asked(accepts):
    assert SIGNATURES_BY == "libsodium"


def test_what_a_key_signed_is_accepted_and_nothing_else(accepts):
    message = b"a window"
    signature = KEY.sign(message)
    assert accepts(KEY.public_key, message, signature)
    for place in range(0, 64, 7):
        spoiled = bytearray(signature)
        spoiled[place] ^= 1
        assert not accepts(KEY.public_key, message, bytes(spoiled))
    assert not accepts(KEY.public_key, message + b"!", signature)


def test_it_accepts_nothing_that_openssl_refuses(accepts):
    accepted = 0
    for group in json.loads(shared_path("ledger/vectors/ed25519/ed25519_test.json").read_text())[
        "testGroups"
    ]:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
            if len(signature) == 64 and accepts(public_key, message, signature):
                accepted += 1
                assert _openssl(public_key, message, signature)
    assert accepted > 50


def test_a_library_that_multiplies_by_the_cofactor_is_left_alone(accepts):
    assert quick_ed25519.keeps_to_rfc_8032(accepts)
    assert quick_ed25519.keeps_to_rfc_8032(_openssl)
    assert not quick_ed25519.keeps_to_rfc_8032(lambda _key, _message, _signature: True)
