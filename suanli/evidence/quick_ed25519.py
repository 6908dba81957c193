"""Ed25519 by libsodium, where PyNaCl is installed (`suanli[fast]`): it says yes in half the time of OpenSSL.

Only its yes counts. What it accepts OpenSSL accepts too: both ask for RFC 8032's equation without the cofactor, byte
for byte in R, and libsodium refuses keys of small order besides. What it does not accept `keys` asks OpenSSL about, so
that the answer is the same with and without it. A libsodium that multiplied by the cofactor would accept more: it is
tried with a signature that only such a one accepts before it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

Accepts = Callable[[bytes, bytes, bytes], bool]
"""(public key of 32 bytes, message, signature of 64 bytes) -> whether it is surely valid."""

# R is off by a point of order eight: valid only where both sides are multiplied by the cofactor.
_TORSION_KEY = bytes.fromhex("6077a07e1fe163278bc369c2bb377fcbe7e1e803b9a0ca91128e8d51c0f6c4c4")
_TORSION_SIGNATURE = bytes.fromhex(
    "54afd8ffa70308c2855faa5bd58295fa176c2aafeee25a0e02a116033f97c682"
    "43c3132e0b76bdad45f6886bbd1960f31a73e8750ad2b8e50034607b3c3c000f"
)
_TORSION_MESSAGE = b"suanli"


def keeps_to_rfc_8032(accepts: Accepts) -> bool:
    """Whether a library refuses what holds with the cofactor only."""
    return not accepts(_TORSION_KEY, _TORSION_MESSAGE, _TORSION_SIGNATURE)


def find_quick() -> Accepts | None:
    """The quick way, or None where there is none or it would accept too much."""
    try:
        # By name: whoever does without it need not even know it. PyNaCl's own function hands out a copy of each
        # message; libsodium's makes none where it is given no place for it.
        sodium = importlib.import_module("nacl._sodium")
        nowhere: object = sodium.ffi.NULL
        open_signed: Callable[..., int] = sodium.lib.crypto_sign_open
        if sodium.lib.sodium_init() < 0:
            return None
    except (ImportError, AttributeError):
        return None

    def accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
        signed = signature + message
        return open_signed(nowhere, nowhere, signed, len(signed), public_key) == 0

    return accepts if keeps_to_rfc_8032(accepts) else None
