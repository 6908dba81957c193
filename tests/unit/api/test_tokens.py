"""Tokens that should open nothing, and rules that should not be rules."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scheduler.api.key_sets import IssuerAway
from scheduler.api.tokens import Tokens
from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from scheduler.domain.issuers import Identity, identity_of, issuers_from
from scheduler.domain.principals import Role, Scope
from scheduler.services.issuers import load_issuers

ISSUER = "https://sso.example/realm"
NOW_S = 1_800_000_000
RSA = rsa.generate_private_key(65537, 2048)
SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what must be refused
CURVE = ec.generate_private_key(ec.SECP256R1())


def configuration(**changes: Any) -> dict[str, Any]:
    rule = {"claims": {"groups": "vision"}, "role": "researcher", "firm": "lanjing"}
    return {"issuers": [{"issuer": ISSUER, "audience": "suanli", "rules": [rule], **changes}]}


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    made: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**made, "kid": kid, **more}


class Web:
    """What the issuer publishes."""

    def __init__(self, keys: Sequence[Mapping[str, Any]], **document: Any) -> None:
        self.pages: dict[str, Any] = {
            f"{ISSUER}/.well-known/openid-configuration": {
                "issuer": ISSUER, "jwks_uri": "https://sso.example/keys", **document,
            },
            "https://sso.example/keys": {"keys": list(keys)},
        }  # fmt: skip
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise IssuerAway(url)
        return json.dumps(self.pages[url]).encode()


class Everybody:
    """Stands for the table of principals."""

    async def principals(self, asked: Sequence[Identity], now_ms: int) -> list[Principal | Exception]:
        return [Principal(f"p-{one.subject}", one.name, "user", one.role, "f", one.scope) for one in asked]


def tokens(web: Web, now_ms: Callable[[], int] = lambda: NOW_S * 1000, **changes: Any) -> Tokens:
    people: Any = Everybody()
    return Tokens(issuers_from(configuration(**changes)), people, now_ms, lambda _: web.fetch)


def token(key: Any = RSA, algorithm: str | None = "RS256", headers: Any = None, **changes: Any) -> str:
    claims = {
        "iss": ISSUER, "sub": "u1", "aud": "suanli", "iat": NOW_S, "exp": NOW_S + 300, "groups": ["vision"],
        **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": "a", **(headers or {})})


async def test_a_good_token_opens_and_asks_the_issuer_once() -> None:
    web = Web([public(RSA, "a", use="sig"), public(CURVE, "b")])
    known = tokens(web)
    assert (await known.principal(token(preferred_username="Li Wei"))).name == "Li Wei"
    assert (await known.principal(token(CURVE, "ES256", {"kid": "b"}))).role is Role.RESEARCHER
    assert (await known.principal(token(RSA, "PS256"))).role is Role.RESEARCHER
    assert len(web.asked) == 2


def forged_hmac() -> str:
    """HMAC with the public key as its secret: what a verifier that lets the token choose would take."""
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {
        "iss": ISSUER,
        "sub": "u1",
        "aud": "suanli",
        "iat": NOW_S,
        "exp": NOW_S + 300,
        "groups": ["vision"],
    }
    signed = ".".join(part(json.dumps(one).encode()) for one in ({"alg": "HS256", "kid": "a"}, claims))
    return f"{signed}.{part(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


BAD = {
    "unsigned": lambda: token(None, "none") + "AA",
    "signed by the public key": forged_hmac,
    "another key": lambda: token(rsa.generate_private_key(65537, 2048)),
    "a key that is not published": lambda: token(headers={"kid": "zz"}),
    "a key for encryption": lambda: token(headers={"kid": "enc"}),
    "an algorithm that the operator left out": lambda: token(algorithm="RS512"),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="grafana"),
    "no audience": lambda: token(aud=None),
    "no end": lambda: token(exp=None),
    "an end that is no number": lambda: token(exp=float("1e13")),
    "expired": lambda: token(exp=NOW_S - 61),
    "not yet": lambda: token(nbf=NOW_S + 61),
    "of the future": lambda: token(iat=NOW_S + 61),
    "no subject": lambda: token(sub=None),
    "an empty subject": lambda: token(sub=""),
    "a subject for terminals": lambda: token(sub="\x1b[2J"),
    "a long subject": lambda: token(sub="u" * 256),
    "a logout token": lambda: token(headers={"typ": "logout+jwt"}),
    "a changed claim": lambda: ".".join(
        [token().split(".")[0], token(sub="root").split(".")[1], token().split(".")[2]]
    ),
    "no token": lambda: "a.b.c",
    "four parts": lambda: token() + ".AAAA",
    "deep": lambda: f"{base64.urlsafe_b64encode(b'[' * 20_000).decode().rstrip('=')}.e30.AA",
}


@pytest.mark.parametrize("kind", sorted(BAD))
async def test_a_bad_token_opens_nothing(kind: str) -> None:
    secret = {"kty": "oct", "k": "AAAA", "kid": "o"}
    web = Web([public(RSA, "a"), public(RSA, "enc", use="enc"), secret])
    with pytest.raises(Unauthenticated) as refusal:
        await tokens(web).principal(BAD[kind]())
    assert str(refusal.value)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_short_key_opens_nothing() -> None:
    with pytest.raises(Unauthenticated, match="1024 bits"):
        await tokens(Web([public(SMALL, "small")])).principal(token(SMALL, headers={"kid": "small"}))


async def test_clocks_may_differ_by_the_leeway() -> None:
    known = tokens(Web([public(RSA, "a")]))
    assert await known.principal(token(exp=NOW_S - 59, iat=NOW_S + 59, nbf=NOW_S + 59))
    strict = tokens(Web([public(RSA, "a")]), leeway=0)
    with pytest.raises(Unauthenticated):
        await strict.principal(token(exp=NOW_S))


async def test_unknown_keys_make_nobody_ask_in_a_loop() -> None:
    web = Web([public(RSA, "a")])
    known = tokens(web)
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await known.principal(token(headers={"kid": f"x{number}"}))
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    "document", [{"issuer": "https://evil.example"}, {"jwks_uri": "http://sso.example/keys"}, {"jwks_uri": 1}]
)
async def test_a_document_that_is_not_the_issuers_gives_no_keys(document: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        await tokens(Web([public(RSA, "a")], **document)).principal(token())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"algorithms": ["none"]}, "issuers[0].algorithms[0]"),
        ({"algorithms": ["RS256", "HS256"]}, "issuers[0].algorithms[1]"),
        ({"issuer": "http://sso.example"}, "issuers[0].issuer"),
        ({"audience": None}, "issuers[0].audience"),
        ({"audience": []}, "issuers[0].audience"),
        ({"rules": []}, "issuers[0].rules"),
        ({"rules": [{"claims": {}, "role": "operator"}]}, "issuers[0].rules[0].claims"),
        ({"rules": [{"claims": {"a": "b"}, "role": "researcher"}]}, "issuers[0].rules[0].firm"),
        ({"rules": [{"claims": {"a": "b"}, "role": "operator", "firm": "x"}]}, "issuers[0].rules[0].firm"),
        ({"rules": [{"claims": {"a": 1.5}, "role": "operator"}]}, "issuers[0].rules[0].claims.a"),
        ({"leeway": "2h"}, "issuers[0].leeway"),
        ({"algoritms": "RS256"}, "issuers[0].algoritms"),
    ],
)
def test_a_wrong_file_names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        issuers_from(configuration(**changes))
    assert field in [problem.field for problem in refusal.value.problems]


def test_the_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "sign-in.md").read_text(encoding="utf-8")
    file = tmp_path / "oidc.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    (issuer,) = load_issuers(file)
    who = identity_of(issuer, {"sub": "u", "groups": ["lanjing-vision"], "email_verified": True})
    assert (who.firm, who.projects) == ("lanjing", ("vision",))
    file.write_text("issuers: [{issuer: ftp://x}]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"oidc\.yaml: issuers\[0\]\.issuer: got 'ftp://x'"):
        load_issuers(file)


def test_the_first_rule_that_fits_decides_and_types_are_told_apart() -> None:
    rules = [
        {"claims": {"admin": True}, "role": "operator"},
        {"claims": {"groups": "a", "level": 1}, "role": "researcher", "firm": "x", "scope": "read"},
        {"claims": {"groups": "a"}, "role": "auditor"},
    ]
    (issuer,) = issuers_from(configuration(rules=rules))

    def role(**claims: Any) -> Role:
        return identity_of(issuer, {"sub": "u", **claims}).role

    assert role(admin=True, groups=["a"]) is Role.OPERATOR
    assert role(groups=["b", "a"], level=1) is Role.RESEARCHER
    assert role(groups="a", level=True) is Role.AUDITOR
    assert identity_of(issuer, {"sub": "u", "groups": ["a"], "level": 1}).scope is Scope.READ
    for nobody in ({}, {"admin": "true"}, {"admin": 1}, {"groups": "aa"}, {"groups": {"a": 1}}):
        with pytest.raises(Forbidden):
            role(**nobody)
