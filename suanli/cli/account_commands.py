"""Who I am here: whoami, login, profile, keys, users."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suanli.cli.errors import MISUSED, CliError
from suanli.cli.session import AsJson, ProfileName, ask_hidden, open_client

if TYPE_CHECKING:
    from suanli.client.sign_in import Invitation, SignIn

keys = typer.Typer(help="API keys: list, create, revoke.", no_args_is_help=True, rich_markup_mode=None)
profiles = typer.Typer(
    help="Stored servers and keys: list, use, remove.", no_args_is_help=True, rich_markup_mode=None
)
users = typer.Typer(help="Principals: list, create, disable.", no_args_is_help=True, rich_markup_mode=None)


def whoami(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """Show who you are here."""
    from suanli.cli.output import print_fields, print_json

    with open_client(profile) as client:
        who = client.whoami()
        server = client.server
    if as_json:
        print_json({**who, "server": server})
    else:
        print_fields(
            [
                ("Name", who["name"]),
                ("Role", who["role"].replace("_", " ")),
                ("Firm", who["firm"]),
                ("Firm id", who["firm_id"]),
                ("Projects", ", ".join(who["projects"] or ())),
                ("Server", server),
            ]
        )


def login(
    server: Annotated[str, typer.Argument(help="URL of the API, for instance https://suanli.example.")],
    name: Annotated[str, typer.Option("--name", help="Name of the profile.")] = "default",
    key_file: Annotated[
        Path | None,
        typer.Option(help="File with an API key; else it is asked for, or read from standard input."),
    ] = None,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Ask for an API key, also where people sign in.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Sign in with the browser of this machine, without a code.")
    ] = False,
    issuer: Annotated[
        str | None,
        typer.Option(help="Sign in at this issuer, where the server trusts several.", metavar="URL"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign in, or store an API key; either is tried first and kept for you alone.

    Where the server trusts an OpenID Connect issuer, you are given an address and a code for a browser on any device.
    """
    from suanli.cli.output import print_json, say
    from suanli.client.client import Client
    from suanli.client.profiles import Profile, check_key, check_server, profiles_path, store
    from suanli.sentences.words import word

    url = check_server(server)
    person = browser or issuer is not None or sys.stdin.isatty()
    wants_key = with_key or key_file is not None or not person
    signed_in = None if wants_key else _sign_in(url, issuer, browser=browser)
    secret = "" if signed_in is not None else check_key(_ask_key(key_file))
    path = profiles_path(os.environ)
    # The token as it is: what refreshes it is good once, and belongs to the file that keeps it.
    with Client(url, secret if signed_in is None else signed_in.token) as client:
        who = client.whoami()
    store(path, Profile(name, url, secret, signed_in))
    if as_json:
        print_json({"profile": name, "server": url, "file": str(path), **who})
    else:
        role = word(who["role"].replace("_", " "))
        said = "{name}, {role} of {firm}" if who["firm"] else "{name}, {role}"
        you = word(said, name=who["name"], role=role, firm=who["firm"])
        say(word("You are {who}. Stored as profile {name} in {path}.", who=you, name=name, path=path))


def _sign_in(server: str, wanted: str | None, *, browser: bool) -> SignIn | None:
    """Sign in at an issuer that the server trusts; None where it trusts none and none was wanted."""
    from suanli.client.browser_sign_in import sign_in_here
    from suanli.client.client import Client
    from suanli.client.errors import Refused
    from suanli.client.sign_in import sign_in

    try:
        with Client(server, "") as client:
            known = {item["issuer"]: item for item in client.issuers()}
    except Refused:  # an older server
        known = {}
    if not known and wanted is None and not browser:
        return None
    if not known and wanted is None:
        raise CliError(f"{server} trusts no issuer: leave out --browser and store an API key")
    if wanted is not None and wanted not in known:
        raise CliError(
            f"{server} does not trust {wanted} (it trusts: {', '.join(known) or 'API keys alone'})"
        )
    if wanted is None and len(known) > 1:
        raise CliError(f"{server} trusts several issuers: choose with --issuer, one of {', '.join(known)}")
    chosen = known[wanted or next(iter(known))]
    if browser:
        return sign_in_here(chosen["issuer"], chosen["client_id"], chosen["scopes"], _open)
    return sign_in(chosen["issuer"], chosen["client_id"], chosen["scopes"], _invite)


def _open(address: str) -> None:
    """In the browser, and written down for where none opens."""
    import webbrowser

    from suanli.cli.output import note
    from suanli.sentences.words import word

    note(word("Sign in with your browser; if none opens, open {address}", address=address))
    webbrowser.open(address)


def _invite(invitation: Invitation) -> None:
    from suanli.cli.output import note
    from suanli.sentences.words import word

    note(
        word(
            "Open {address} in a browser and enter the code {code}",
            address=invitation.address,
            code=invitation.code,
        )
    )
    if invitation.whole_address is not None:
        note(word("or open {address}", address=invitation.whole_address))
    minutes = round(invitation.expires_s / 60)
    note(word("Waiting for you (at most {minutes} minutes; Ctrl-C ends it) ...", minutes=minutes))


def _ask_key(key_file: Path | None) -> str:
    if key_file is not None:
        try:
            return key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"--key-file: {key_file} cannot be read ({error})", MISUSED) from None
    if sys.stdin.isatty():
        return ask_hidden("API key")
    return sys.stdin.readline()


@profiles.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List profiles; the one in use has a star."""
    from suanli.cli.output import print_json, print_table
    from suanli.client.profiles import load, profiles_path

    known = load(profiles_path(os.environ))
    found = [
        {
            "name": p.name,
            "server": p.server,
            "current": p.name == known.current,
            "issuer": None if p.sign_in is None else p.sign_in.issuer,
        }
        for _, p in sorted(known.by_name.items())
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ["", "PROFILE", "SERVER", "OPENED BY"],
        [["*" if p["current"] else "", p["name"], p["server"], p["issuer"] or "API key"] for p in found],
        empty="No profiles yet: suanli login SERVER",
    )


@profiles.command("use")
def use_profile(name: str, as_json: AsJson = False) -> None:
    """Use a profile from now on."""
    from suanli.cli.output import print_json, say
    from suanli.client.profiles import choose, profiles_path

    choose(profiles_path(os.environ), name)
    print_json({"current": name}) if as_json else say(f"Profile {name} is used from now on.")


@profiles.command("remove")
def remove_profile(name: str, as_json: AsJson = False) -> None:
    """Forget a profile and its key. The key stays valid: revoke it too when it is not needed."""
    from suanli.cli.output import print_json, say
    from suanli.client.profiles import profiles_path, remove

    remove(profiles_path(os.environ), name)
    print_json({"removed": name}) if as_json else say(f"Profile {name} is forgotten.")


@keys.command("list")
def list_keys(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List keys that you may revoke, without their texts."""
    from suanli.cli.moments import local, zone_name
    from suanli.cli.output import print_json, print_table
    from suanli.sentences.words import said

    with open_client(profile) as client:
        found = client.api_keys()
    if as_json:
        print_json(found)
        return
    rows = [
        [
            key["api_key_id"],
            key["principal"],
            said("everything (administration)") if key["scope"] == "administration" else key["scope"],
            local(key["created_at"]),
            local(key["expires_at"]),
            local(key["revoked_at"]),
        ]
        for key in found
    ]
    print_table(["KEY", "PRINCIPAL", "SCOPE", f"CREATED, {zone_name()}", "EXPIRES", "REVOKED"], rows)


@keys.command("create")
def create_key(
    principal: Annotated[str | None, typer.Argument(help="For whom; absent: for yourself.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="Days until it expires; absent: never.")
    ] = None,
    scope: Annotated[
        str, typer.Option(help="What it is good for: read, jobs (and read), or administration (everything).")
    ] = "administration",
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it, once."""
    from suanli.cli.output import note, print_json, say

    with open_client(profile) as client:
        made = client.create_api_key(principal, expires_in_days=days, scope=scope)
    if as_json:
        print_json(made)
        return
    note(f"Key {made['api_key_id']} of {made['principal']}; it is shown this once:")
    say(made["api_key"])


@keys.command("revoke")
def revoke_key(key: str, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """End a key at once."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        client.revoke_api_key(key)
    print_json({"revoked": key}) if as_json else say(f"Key {key} is revoked.")


@users.command("list")
def list_users(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List principals that you manage."""
    from suanli.cli.output import print_json, print_table
    from suanli.sentences.words import said

    with open_client(profile) as client:
        found = client.principals()
    if as_json:
        print_json(found)
        return
    print_table(
        ["NAME", "ROLE", "FIRM", "KIND", "SIGNS IN AT", "DISABLED"],
        [
            [p["name"], p["role"], p["firm"], said(p["kind"]), p["issuer"], "yes" if p["disabled"] else ""]
            for p in found
        ],
    )


@users.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="Name, for instance li.wei.")],
    role: Annotated[
        str, typer.Option(help="researcher, firm_administrator, operator or auditor.")
    ] = "researcher",
    firm: Annotated[str | None, typer.Option(help="Firm of a researcher or firm administrator.")] = None,
    service: Annotated[bool, typer.Option("--service", help="A program, not a person.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Make a principal. Give it a key with: suanli keys create NAME."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        made = client.create_principal(name, role, firm=firm, kind="service" if service else "user")
    print_json(made) if as_json else say(f"Made {made['role'].replace('_', ' ')} {made['name']}.")


@users.command("disable")
def disable_user(name: str, profile: ProfileName = None, as_json: AsJson = False) -> None:
    """End every key of a principal at once and for good."""
    from suanli.cli.output import print_json, say

    with open_client(profile) as client:
        client.disable_principal(name)
    print_json({"disabled": name}) if as_json else say(f"{name} is disabled.")
