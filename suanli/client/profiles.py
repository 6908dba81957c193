"""Which server, which key or sign-in: from the environment, else from a profile in a file of the user alone (0600).

SUANLI_SERVER with SUANLI_API_KEY or SUANLI_API_KEY_FILE win over profiles; SUANLI_PROFILE chooses one.
"""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from suanli.client.errors import NoProfile

if TYPE_CHECKING:
    from suanli.client.sign_in import SignIn

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(r"sk_[A-Za-z0-9_-]{43}")
# What an issuer of OpenID Connect gives to programs, for instance to a job of a CI system.
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Profile:
    """A server and the key for it, or a sign-in at an issuer that the server trusts."""

    name: str
    server: str
    api_key: str = field(repr=False)
    sign_in: SignIn | None = field(repr=False, default=None)
    path: Path | None = field(repr=False, default=None, compare=False)  # the file that a sign-in is kept in

    def bearer(self) -> str:
        """What opens the server now; a token that is about to end is refreshed first. Raises SignInFailed."""
        if self.sign_in is None:
            return self.api_key
        return _current(self)


@dataclass(frozen=True)
class Profiles:
    """The file's content."""

    current: str
    by_name: Mapping[str, Profile]


def profiles_path(environment: Mapping[str, str]) -> Path:
    """`~/.config/suanli/profiles.toml`, or below XDG_CONFIG_HOME."""
    base = environment.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path(environment.get("HOME") or Path.home()) / ".config"
    return folder / "suanli" / "profiles.toml"


def check_server(server: str) -> str:
    """The server's URL without a slash at its end. Raises NoProfile and says what is wrong with it."""
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NoProfile(f"the server must be an URL like https://suanli.example, not {server!r}")
    if parts.username or parts.password:
        raise NoProfile("the server's URL holds a user name or password; the API key is given apart")
    return server.rstrip("/")


def check_key(api_key: str) -> str:
    """The key without surrounding white space. Raises NoProfile; never repeats the key."""
    stripped = api_key.strip()
    if not (_KEY.fullmatch(stripped) or _TOKEN.fullmatch(stripped)):
        raise NoProfile("the API key does not look like one: sk_ and 43 letters, digits, - or _")
    return stripped


def resolve(environment: Mapping[str, str], name: str | None = None) -> Profile:
    """The profile to use. Raises NoProfile with the way to get one."""
    server = environment.get("SUANLI_SERVER")
    key = _key_of(environment)
    if name is None and server and key:
        return Profile("environment", check_server(server), check_key(key))
    wanted = name or environment.get("SUANLI_PROFILE")
    known = load(profiles_path(environment))
    profile = known.by_name.get(wanted or known.current)
    if profile is None and wanted:
        names = ", ".join(sorted(known.by_name)) or "none yet"
        raise NoProfile(f"there is no profile {wanted!r} (there are: {names})")
    if profile is None and not (server or key):
        raise NoProfile(
            "no server is known: run 'suanli login SERVER', or set SUANLI_SERVER and SUANLI_API_KEY"
        )
    if name is None:
        # One of the two alone replaces its half of the profile.
        server = server or (profile.server if profile else None)
        if key is None and profile is not None and profile.sign_in is not None:
            # Signed in for that server; to another one the token is not sent.
            if server is not None and check_server(server) == profile.server:
                return profile
            profile = None
        key = key or (profile.api_key if profile else None)
    elif profile is not None:
        if profile.sign_in is not None:
            return profile
        server, key = profile.server, profile.api_key
    if not server:
        raise NoProfile("SUANLI_SERVER is not set and there is no profile")
    if not key:
        raise NoProfile("no API key: set SUANLI_API_KEY or SUANLI_API_KEY_FILE, or run 'suanli login SERVER'")
    return Profile(profile.name if profile else "environment", check_server(server), check_key(key))


def _key_of(environment: Mapping[str, str]) -> str | None:
    key = environment.get("SUANLI_API_KEY")
    file = environment.get("SUANLI_API_KEY_FILE")
    if key or not file:
        return key or None
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoProfile(f"SUANLI_API_KEY_FILE: {file} cannot be read ({error})") from None


def load(path: Path) -> Profiles:
    """The profiles of a file; none where it is not there. Raises NoProfile for a broken or open file."""
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise NoProfile(f"{path} holds API keys and others can read it: run chmod 600 {path}")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles(DEFAULT, {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NoProfile(f"{path} cannot be read: {error}") from None
    table = content.get("profiles", {})
    by_name = {
        name: _profile(path, name, item)
        for name, item in (table.items() if isinstance(table, dict) else ())
        if isinstance(item, dict) and "server" in item and ("api_key" in item or "token" in item)
    }
    return Profiles(str(content.get("current", DEFAULT)), by_name)


def _profile(path: Path, name: str, item: Mapping[str, Any]) -> Profile:
    if "token" not in item:
        return Profile(name, str(item["server"]), str(item["api_key"]))
    from suanli.client.sign_in import SignIn

    refresh = item.get("refresh_token")
    signed_in = SignIn(
        str(item.get("issuer", "")),
        str(item.get("client_id", "")),
        str(item["token"]),
        None if refresh is None else str(refresh),
    )
    return Profile(name, str(item["server"]), "", signed_in, path)


def _lines(profile: Profile) -> list[str]:
    facts = {"server": profile.server}
    if profile.sign_in is None:
        facts["api_key"] = profile.api_key
    else:
        kept = profile.sign_in
        facts |= {"issuer": kept.issuer, "client_id": kept.client_id, "token": kept.token}
        if kept.refresh_token is not None:
            facts["refresh_token"] = kept.refresh_token
    # A text of JSON in ASCII is one of TOML.
    return [f"{name} = {json.dumps(value)}" for name, value in facts.items()]


def _current(profile: Profile) -> str:
    """The token of a sign-in; refreshed, and kept, by one process at a time: a refresh token is good once."""
    from suanli.client.sign_in import EARLY_S, refreshed

    path, signed_in = profile.path, profile.sign_in
    assert signed_in is not None and path is not None  # noqa: S101, PT018 - a sign-in comes from a file
    if signed_in.expires_s - EARLY_S > time.time():
        return signed_in.token
    with _locked(path):
        known = load(path)
        stored = known.by_name.get(profile.name, profile)
        kept = stored.sign_in or signed_in
        if kept.expires_s - EARLY_S <= time.time():
            kept = refreshed(kept)
            save(
                path,
                Profiles(known.current, {**known.by_name, profile.name: replace(stored, sign_in=kept)}),
            )
    return kept.token


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time, where the system can do that."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def save(path: Path, profiles: Profiles) -> None:
    """Write the file whole, for its owner alone."""
    lines = [f'current = "{profiles.current}"']
    for name, profile in sorted(profiles.by_name.items()):
        lines += ["", f"[profiles.{name}]", *_lines(profile)]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    temporary.replace(path)


def store(path: Path, profile: Profile, *, make_current: bool = True) -> None:
    """Add or replace a profile. Raises NoProfile for a name, server or key that cannot be one."""
    if not NAME.fullmatch(profile.name):
        raise NoProfile(f"a profile's name is 1 to 64 letters, digits, - or _, not {profile.name!r}")
    server = check_server(profile.server)
    if any(character in server for character in '"\\') or not server.isprintable():
        raise NoProfile("the server's URL holds characters that no URL has")
    known = load(path)
    if profile.sign_in is None:
        profile = replace(profile, api_key=check_key(profile.api_key))
    checked = replace(profile, server=server)
    save(
        path,
        Profiles(profile.name if make_current else known.current, {**known.by_name, profile.name: checked}),
    )


def choose(path: Path, name: str) -> None:
    """Make a profile the one that is used. Raises NoProfile where there is none of that name."""
    known = load(path)
    if name not in known.by_name:
        names = ", ".join(sorted(known.by_name)) or "none yet"
        raise NoProfile(f"there is no profile {name!r} (there are: {names})")
    save(path, Profiles(name, known.by_name))


def remove(path: Path, name: str) -> None:
    """Forget a profile. Raises NoProfile where there is none of that name."""
    known = load(path)
    if name not in known.by_name:
        raise NoProfile(f"there is no profile {name!r}")
    rest = {key: profile for key, profile in known.by_name.items() if key != name}
    current = known.current if known.current in rest else next(iter(sorted(rest)), DEFAULT)
    save(path, Profiles(current, rest))
