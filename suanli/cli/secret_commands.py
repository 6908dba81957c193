"""Secrets: set, list, delete. Values come from standard input or a file, never from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from suanli.cli.errors import MISUSED, CliError
from suanli.cli.session import AsJson, ProfileName, ask_hidden, open_client

secret = typer.Typer(
    help="Secrets that jobs name: set, list, delete.", no_args_is_help=True, rich_markup_mode=None
)
Project = Annotated[
    str | None, typer.Option("--project", help="Of this project only; absent: of the whole firm.")
]


@secret.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(help="By which jobs name it.")],
    file: Annotated[
        Path | None,
        typer.Option(
            help="Take every byte of this file; absent: standard input, without the newline at its end."
        ),
    ] = None,
    project: Project = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Make a secret or replace its value. It is encrypted, and never shown again."""
    from suanli.cli.output import print_json, say
    from suanli.sentences.words import word

    value = _value(file)
    if not value:
        raise CliError(
            "the secret is empty: its value is read from standard input, or from the file of --file", MISUSED
        )
    with open_client(profile) as client:
        made = client.set_secret(name, value, project=project)
    if as_json:
        print_json(made)
    else:
        say(word("Secret {name} is set ({bytes} bytes).", name=made["name"], bytes=made["bytes"]))


def _value(file: Path | None) -> bytes:
    if file is not None:
        try:
            return file.read_bytes()
        except OSError as error:
            raise CliError(f"--file: {file}: {error.strerror}", MISUSED) from None
    if sys.stdin.isatty():
        return ask_hidden("Value").encode()
    value = sys.stdin.buffer.read()
    return value[:-1] if value.endswith(b"\n") else value


@secret.command("list")
def list_secrets(profile: ProfileName = None, as_json: AsJson = False) -> None:
    """List the firm's secrets, without their values."""
    from suanli.cli.moments import local, zone_name
    from suanli.cli.output import print_json, print_table
    from suanli.sentences.words import word

    with open_client(profile) as client:
        found = client.secrets()
    if as_json:
        print_json(found)
        return
    rows = [
        [s["name"], s["project"] or "", s["bytes"], s["updated_by"], local(s["updated_at"])] for s in found
    ]
    print_table(
        ["NAME", "PROJECT", "BYTES", "SET BY", f"SET AT, {zone_name()}"],
        rows,
        empty=word("No secrets: suanli secret set NAME"),
    )


@secret.command("delete")
def delete_secret(
    name: Annotated[str, typer.Argument(help="Its name.")],
    project: Project = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Forget a secret; jobs that name it do not start any more."""
    from suanli.cli.output import print_json, say
    from suanli.sentences.words import word

    with open_client(profile) as client:
        client.delete_secret(name, project=project)
    print_json({"deleted": name}) if as_json else say(word("Secret {name} is deleted.", name=name))
