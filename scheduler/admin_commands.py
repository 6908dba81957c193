"""`scheduler admin`: what an administrator types at the machine itself."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.process import MISUSED, fail, sentence_of
from scheduler.terminal import AsJson, Data, done, print_json, say, settings_of, wait_for_up

admin = typer.Typer(
    help="At the machine itself: the first operator, join tokens, histories, what would be if.",
    no_args_is_help=True,
)


@admin.command("init")
def admin_init(
    data: Data = None,
    name: Annotated[str, typer.Option(help="Name of the operator.")] = "operator",
    key_file: Annotated[
        Path | None, typer.Option(help="Write the key here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the first operator and print its API key, once."""
    from scheduler.admin import create_first_operator

    settings = settings_of(data=data)
    made = done(settings, create_first_operator(settings, name))
    _hand_over({"name": name, "api_key": made.secret}, "api_key", key_file, as_json)


@admin.command("operator-key")
def admin_operator_key(
    data: Data = None,
    name: Annotated[str, typer.Option(help="Name of the operator.")] = "operator",
    key_file: Annotated[
        Path | None, typer.Option(help="Write the key here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make another key for a principal whose key was lost."""
    from scheduler.admin import create_operator_key

    settings = settings_of(data=data)
    made = done(settings, create_operator_key(settings, name))
    _hand_over({"name": name, "api_key": made.secret}, "api_key", key_file, as_json)


@admin.command("history")
def admin_history(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where to write it (.json or .json.gz), for `suanli simulate`."),
    ],
    data: Data = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="First moment: a date in Asia/Shanghai, or RFC 3339. None: last month."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Moment after the last one, likewise.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a period's jobs, nodes, queues, prices and programs for a rehearsal: sizes and times, no commands."""
    from scheduler.admin import history_period, write_history

    settings = settings_of(data=data)
    try:
        from_ms, to_ms = history_period(from_, to)
    except ValueError as error:
        raise typer.Exit(fail(str(error), MISUSED)) from error
    if output.exists() and not force:
        raise typer.Exit(fail(f"{output} exists: give another --output, or --force", MISUSED))
    try:
        written = done(settings, write_history(settings, from_ms, to_ms, output))
    except OSError as error:
        raise typer.Exit(fail(f"{output} cannot be written: {error.strerror or error}", MISUSED)) from error
    if as_json:
        print_json({"jobs": written, "from_ms": from_ms, "to_ms": to_ms, "output": str(output)})
    else:
        say(f"wrote {written} jobs to {output}")


@admin.command("join-token")
def admin_join_token(
    pool: Annotated[str, typer.Option(help="Pool that the hosts join.")],
    data: Data = None,
    uses: Annotated[int, typer.Option(help="How many hosts may join with it.")] = 1,
    hours: Annotated[int, typer.Option(help="Hours until it expires.")] = 24,
    token_file: Annotated[
        Path | None, typer.Option(help="Write the token here (0600) and print nothing.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a join token for hosts and print it, once."""
    from scheduler.admin import create_join_token

    settings = settings_of(data=data)
    token = done(settings, create_join_token(settings, pool, uses, hours))
    _hand_over({"pool": pool, "uses": uses, "hours": hours, "token": token}, "token", token_file, as_json)


@admin.command("rotate-secret-keys")
def admin_rotate_secret_keys(
    data: Data = None,
    forget_old: Annotated[
        bool,
        typer.Option("--forget-old", help="Drop the earlier keys: when no process seals with them any more."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key for the secrets of firms, and encrypt all of them with it."""
    from scheduler.admin import rotate_secret_keys

    settings = settings_of(data=data)
    sealed = done(settings, rotate_secret_keys(settings, forget_old=forget_old))
    path = settings.secret("secrets.keys")
    if as_json:
        print_json({"sealed": sealed, "keys": str(path)})
    else:
        say(f"{sealed} secrets are encrypted with a new key; give {path} to every api and gateway")


@admin.command("log-vkey")
def admin_log_vkey(data: Data = None, as_json: AsJson = False) -> None:
    """Print the verifier key of the evidence log, for whoever shall check it: witnesses, auditors, firms."""
    from scheduler.secret_files import log_origin
    from scheduler.signing_keys import read_signing_key
    from suanli.evidence.keys import NOTE_ED25519, verifier_key

    settings = settings_of(data=data)
    wait_for_up(settings)
    path = settings.secret("log.key")
    try:
        public_key = read_signing_key(path).public_key
        key = verifier_key(log_origin(settings), NOTE_ED25519, public_key)
    except FileNotFoundError as error:
        raise typer.Exit(
            fail(f"{path} is not there: 'suanli up' makes it, or name its data folder with --data", MISUSED)
        ) from error
    except (OSError, ValueError) as error:
        raise typer.Exit(fail(sentence_of(error), MISUSED)) from error
    print_json({"origin": key.name, "vkey": str(key)}) if as_json else sys.stdout.write(f"{key}\n")


def _hand_over(made: dict[str, Any], secret: str, file: Path | None, as_json: bool) -> None:
    """Print the secret of what was made, once; or write it to `file`, and print no secret at all."""
    from scheduler.secret_files import write_secret

    if file is not None:
        try:
            write_secret(file, (made[secret] + "\n").encode())
        except OSError as error:
            raise typer.Exit(
                fail(f"{sentence_of(error)}; make another with 'suanli admin operator-key'", MISUSED)
            ) from error
        made = {name: value for name, value in made.items() if name != secret} | {f"{secret}_file": str(file)}
    if as_json:
        print_json(made)
    elif file is None:
        sys.stdout.write(made[secret] + "\n")
