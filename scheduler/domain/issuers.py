"""OpenID Connect issuers that the operator trusts, and whom their claims make of a person.

Read strictly. Each has rules, of which the first that fits decides; nobody is let in whom no rule names. Claims as in
OpenID Connect Core 1.0, section 5.1, or whatever else the issuer puts in its tokens.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scheduler.domain.errors import FieldProblem, Forbidden
from scheduler.domain.job_limits import NAME_PATTERN
from scheduler.domain.principals import FIRM_ROLES, Role, Scope
from scheduler.domain.reading import Reader

# Signatures that only the issuer can make: never `none`, never HMAC, whose key verifiers would have to share.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
DEFAULT_SCOPES = ("openid", "profile", "email", "offline_access")
DEFAULT_LEEWAY_S = 60
_TEXT = r"[^\x00-\x1f\x7f]{1,256}"
_CLAIM = r"[A-Za-z0-9_.:/-]{1,128}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who has all these claims (each equal to the value, or a list that holds it) is that to the installation."""

    claims: Mapping[str, str | bool | int]
    role: Role
    firm: str | None
    projects: tuple[str, ...] | None  # None: all of the firm's
    scope: Scope

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Whether every claim is there. Values of another type are other values: true is not 1."""
        return all(_holds(claims.get(name), wanted) for name, wanted in self.claims.items())


def _holds(value: object, wanted: str | bool | int) -> bool:
    found = value if isinstance(value, list) else [value]
    return any(type(item) is type(wanted) and item == wanted for item in found)


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, what its tokens must say, and what `suanli login` tells it."""

    url: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway_ms: int
    name_claim: str
    client_id: str
    scopes: tuple[str, ...]
    ca_file: str | None  # path of a file with certificates
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks for. The same person in another role or firm is another principal."""

    issuer: str
    subject: str
    name: str  # as the issuer calls the person; a wish
    role: Role
    firm: str | None
    projects: tuple[str, ...] | None
    scope: Scope

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """What one principal is kept under."""
        return self.issuer, self.subject, self.role.value, self.firm


def identity_of(issuer: Issuer, claims: Mapping[str, Any]) -> Identity:
    """Whom the claims of a verified token make of its subject. Raises Forbidden where no rule fits."""
    subject = str(claims["sub"])
    rule = next((rule for rule in issuer.rules if rule.fits(claims)), None)
    if rule is None:
        raise Forbidden(
            f"{issuer.url} vouches for you, but no rule of this installation says who you are here: "
            "ask the operator for one",
            {"issuer": issuer.url, "subject": subject},
        )
    named = claims.get(issuer.name_claim)
    name = named if isinstance(named, str) and named else subject
    return Identity(issuer.url, subject, name, rule.role, rule.firm, rule.projects, rule.scope)


def issuers_from(value: object) -> tuple[Issuer, ...]:
    """Read issuers. Raises Invalid with every problem."""
    reader = Reader(value)
    issuers = tuple(reader.each("issuers", _issuer))
    if not issuers and not reader.problems:
        reader.problem("issuers", reader.raw("issuers"), "at least one issuer")
    for number, issuer in enumerate(issuers):
        if issuer.url in [other.url for other in issuers[:number]]:
            reader.problem(f"issuers[{number}].issuer", issuer.url, "each one once")
    reader.finish()
    return issuers


def _issuer(reader: Reader) -> Issuer:
    url = reader.text("issuer", pattern=_TEXT, want="the issuer's URL, as its tokens say it in `iss`")
    if url and not is_safe_url(url):
        reader.problem(reader.at("issuer"), url, "an https URL (http on loopback only)")
    audiences = _texts(reader, "audience", _TEXT)
    algorithms = _texts(reader, "algorithms", _TEXT) or DEFAULT_ALGORITHMS
    for number, algorithm in enumerate(algorithms):
        if algorithm not in ALGORITHMS:
            reader.problem(
                f"{reader.at('algorithms')}[{number}]", algorithm, "one of " + ", ".join(ALGORITHMS)
            )
    if not audiences:
        reader.problem(
            reader.at("audience"), reader.raw("audience"), "for whom its tokens are: text, or a list"
        )
    rules = tuple(reader.each("rules", _rule))
    if not rules:
        reader.problem(reader.at("rules"), reader.raw("rules"), "at least one rule: nobody is let in without")
    return Issuer(
        url=url,
        audiences=audiences or ("",),
        algorithms=algorithms,
        leeway_ms=(reader.seconds("leeway", DEFAULT_LEEWAY_S, low=0, high=600) or 0) * 1000,
        name_claim=reader.text("name_claim", "preferred_username", pattern=_CLAIM, want="name of a claim"),
        client_id=reader.text(
            "client_id", (audiences or ("",))[0], pattern=_TEXT, want="id of a public client"
        ),
        scopes=_texts(reader, "scopes", r"[\x21\x23-\x5b\x5d-\x7e]{1,128}") or DEFAULT_SCOPES,
        ca_file=reader.optional_text("ca_file", pattern=_TEXT, want="path of a file with certificates"),
        rules=rules,
    )


def _rule(reader: Reader) -> Rule:
    role = Role(reader.choice("role", Role))
    firm = reader.optional_text("firm", pattern=NAME_PATTERN, want="name of a firm")
    if reader.raw("role") in list(Role) and (role in FIRM_ROLES) != (firm is not None):
        want = "the name of a firm" if role in FIRM_ROLES else f"nothing: {role}s belong to no firm"
        reader.problem(reader.at("firm"), firm, want)
    projects = _texts(reader, "projects", NAME_PATTERN)
    if projects is not None and role is not Role.RESEARCHER:
        reader.problem(reader.at("projects"), list(projects), f"nothing: {role}s are not kept to projects")
    return Rule(
        claims=_claims(reader),
        role=role,
        firm=firm,
        projects=projects,
        scope=Scope(reader.choice("scope", Scope, Scope.ADMINISTRATION)),
    )


def _claims(reader: Reader) -> dict[str, str | bool | int]:
    value = reader.raw("claims")
    where = reader.at("claims")
    if not isinstance(value, Mapping) or not value:
        reader.problem(where, value, "an object: claim -> the value that it must have, or hold in its list")
        return {}
    wanted: dict[str, str | bool | int] = {}
    for name, item in value.items():
        if not isinstance(name, str) or re.fullmatch(_CLAIM, name) is None:
            reader.problem(where, name, "the name of a claim")
        elif not isinstance(item, str | bool | int):
            reader.problem(f"{where}.{name}", item, "text, a whole number, true or false")
        else:
            wanted[name] = item
    return wanted


def _texts(reader: Reader, key: str, pattern: str) -> tuple[str, ...] | None:
    """A text, or a list of texts; None where the key is absent."""
    value = reader.raw(key)
    if value is None:
        return None
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    good = [item for item in listed if isinstance(item, str) and re.fullmatch(pattern, item)]
    if len(good) != len(listed) or not good:
        reader.problems.append(FieldProblem(reader.at(key), repr(value)[:60], "text, or a list of texts"))
    return tuple(good)


def is_safe_url(url: str) -> bool:
    """Whether what is read from there can be believed: HTTPS, or this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def is_loopback(host: str) -> bool:
    """Whether what is there stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
