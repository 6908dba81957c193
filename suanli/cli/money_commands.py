"""Usage, its price and its proof: usage, bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suanli.cli.session import AsJson, ProfileName, open_client

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Beginning: a date or a time, in Asia/Shanghai where it names no zone; absent: of this month.",
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", help="End: a date or a time, in Asia/Shanghai where it names no zone; absent: now."),
]


def _period(from_: str | None, to: str | None) -> tuple[str | None, str | None]:
    """What was typed of a period, with its zone."""
    from suanli.cli.moments import billing_moment

    begin, end = (
        None if text is None else billing_moment(text, option)
        for option, text in (("--from", from_), ("--to", to))
    )
    return begin, end


def usage(
    from_: From = None,
    to: To = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Where every device's time went; operators and auditors.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Show usage and what it costs, by job and device model."""
    from suanli.cli.output import print_json
    from suanli.cli.refusals import of_period
    from suanli.cli.usage_tables import print_balance, print_usage

    begin, end = _period(from_, to)
    with open_client(profile) as client, of_period(as_json=as_json):
        ask = client.balance if balance else client.usage
        answer = ask(from_=begin, to=end)
    if as_json:
        print_json(answer)
    elif balance:
        print_balance(answer)
    else:
        print_usage(answer)


def close(
    from_: Annotated[
        str,
        typer.Option("--from", help="Beginning: a date or a time, in Asia/Shanghai where it names no zone."),
    ],
    to: Annotated[
        str, typer.Option("--to", help="End, written alike, when all windows up to it are logged.")
    ],
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Close a period for good: its statements become entries of the evidence log. Operators."""
    from suanli.cli.moments import BILLING_CLOCK, billing_time
    from suanli.cli.output import print_json, say
    from suanli.cli.refusals import of_period
    from suanli.cli.usage_tables import cny

    begin, end = _period(from_, to)
    with open_client(profile) as client, of_period(as_json=as_json):
        closed = client.close_period(begin or "", end or "")
    if as_json:
        print_json(closed)
        return
    begin, end = billing_time(closed["from"]), billing_time(closed["to"])
    say(f"Closed {begin} to {end}, {BILLING_CLOCK}, at log size {closed['log_size']}")
    for statement in closed["statements"]:
        say(f"{statement['firm']}: {cny(statement['net_fen'])} CNY, statement {statement['sha256'][:16]}...")
    say(
        "What is logged of it later is a correction. suanli bundle of just this period shows these statements"
    )


def bundle(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (ZIP).")] = Path(
        "suanli-bundle.zip"
    ),
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Beginning: a date or a time, in Asia/Shanghai where it names no zone; absent: of the log.",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="End, written alike; absent: as far as all windows are logged.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Download the evidence of a period: what suanli verify checks."""
    from suanli.cli.errors import MISUSED, CliError
    from suanli.cli.output import print_json, refuse_existing, say
    from suanli.cli.refusals import of_period

    begin, end = _period(from_, to)
    refuse_existing(output, force=force)
    try:
        with open_client(profile) as client, of_period(as_json=as_json):
            size_bytes = client.bundle(output, from_=begin, to=end)
    except OSError as error:
        raise CliError(f"{output} cannot be written: {error.strerror or error}", MISUSED) from None
    if as_json:
        print_json({"file": str(output), "bytes": size_bytes})
    else:
        say(f"Wrote {output} ({size_bytes:,} bytes). Check it with: suanli verify {output} --policy POLICY")
