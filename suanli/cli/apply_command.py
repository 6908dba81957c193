"""apply: make the installation as a file says."""

from __future__ import annotations

from typing import Annotated

import typer

from suanli.cli.session import AsJson, ProfileName, open_client


def apply(
    file: Annotated[
        str, typer.Option("--file", "-f", help="Configuration file (YAML); - reads standard input.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Apply a configuration file: firms, pools, prices, programs, users."""
    from suanli.cli.errors import CliError
    from suanli.cli.moments import with_billing_times
    from suanli.cli.output import print_json, print_table, say
    from suanli.cli.refusals import of_file, warn
    from suanli.client.errors import Refused
    from suanli.client.yaml_files import read_yaml

    read = read_yaml(file)
    with open_client(profile) as client:
        try:
            applied = client.apply(read.content, dry_run=dry_run)
        except Refused as error:
            refusal = of_file(error, read, as_json=as_json)
            if isinstance(refusal, CliError):  # its times as `calendar` and `prices` show them
                raise CliError(with_billing_times(str(refusal)), refusal.exit_code) from None
            raise refusal from None
    if as_json:
        print_json(applied)
        return
    warn(applied.get("warnings", ()), read)  # a control plane of before says none
    changes = [change for change in applied["changes"] if change["outcome"] != "unchanged"]
    unchanged = len(applied["changes"]) - len(changes)
    rows = [
        [
            change["outcome"],
            change["kind"],
            change["name"],
            with_billing_times(
                "; ".join(
                    f"{d['field']}: {_shown(d['was'])} -> {_shown(d['now'])}" for d in change["differences"]
                )
            ),
        ]
        for change in changes
    ]
    if rows:
        print_table(["", "KIND", "NAME", "DIFFERENCE"], rows)
    number = len(changes)
    if dry_run:
        say(f"{number} would change, {unchanged} as they were.")
    else:
        say(f"{number} changed, {unchanged} as they were.")


def _shown(value: object) -> object:
    """Amounts by model and lists of names as people write them; other values as they are."""
    from suanli.sentences.words import word

    if (
        isinstance(value, dict)
        and value
        and not any(isinstance(amount, dict | list) for amount in value.values())
    ):
        return ", ".join(f"{amount} {name}" for name, amount in sorted(value.items()))
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return word("none") if value in (None, {}, []) else value
