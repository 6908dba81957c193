"""`suanli sample`: draw a random sample for inspection, of a bundle or of the server's whole log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from suanli.cli.output import colours, refuse_existing, say, width_of_output, write_file
from suanli.cli.session import ProfileName, open_client
from suanli.cli.verify import (
    UNREADABLE,
    After,
    PolicyFile,
    Processes,
    SampleSize,
    Since,
    run_verify,
    say_unreadable,
)
from suanli.cli.verify_report import print_verdict
from suanli.cli.verify_text import Words, language_of
from suanli.evidence.errors import EvidenceError
from suanli.evidence.sampling import encode_request
from suanli.evidence.steps.case import VerifySettings

Samples = Annotated[
    Path | None,
    typer.Option(help="With --server and --sample-after: raw samples that came back from the nodes."),
]
Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch", help="Of a bundle: fetch the raw samples from the server, too, beside the request."
    ),
]


def sample_command(  # noqa: PLR0913, PLR0917 - each is an option that somebody types
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle: a ZIP file or a folder; none with --server.")
    ] = None,
    sample_after: After = None,
    policy: PolicyFile = None,
    sample_size: SampleSize = 3,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Request to write, for the operator; with --server, the packet."),
    ] = None,
    processes: Processes = None,
    server: Annotated[
        bool,
        typer.Option(
            "--server",
            help="Draw from the server's whole log, fetch the drawn entries with proofs, check them.",
        ),
    ] = False,
    entries: Annotated[int, typer.Option(min=1, max=1000, help="With --server: how many to draw.")] = 100,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="With --server: end of the inspected period, which must have closed: a date or a time, in"
            " Asia/Shanghai where it names no zone.",
        ),
    ] = None,
    since: Since = None,
    samples: Samples = None,
    fetch: Fetch = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    profile: ProfileName = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --server: print JSON for programs.")] = False,
) -> None:
    """Draw a random sample for inspection, under a seed that the operator could not know.

    Of a bundle: the request for raw samples is written, and sent with --fetch; the bundle is verified on the way. The
    same bundle, seed and size draw the same sample again when the packet comes back: suanli verify --sample-after ...
    --sample PACKET.

    With --server no bundle is needed: log entries are drawn, fetched with what opens them and a proof of each under
    the seed's log checkpoint, and checked by your policy; so are the raw samples of them that nodes keep. Exit code
    0: all good; 1: something is wrong.
    """
    if server == (bundle is not None):
        raise typer.BadParameter("give a bundle, or --server", param_hint="BUNDLE")
    if server:
        from suanli.cli.sample_server import Wanted, beside, inspect_server

        if policy is None:
            raise typer.BadParameter("whom do you trust? Give your own policy file", param_hint="--policy")
        packet = output or Path("suanli-proofs.zip")
        wanted = Wanted(policy, sample_after, since, entries, to, samples, packet, force)
        refuse_existing(packet, *beside(packet), force=force)
        try:
            code = inspect_server(wanted, profile, as_json=as_json)
        except (EvidenceError, OSError) as error:
            say_unreadable(error, Words(language_of(None)), as_json=as_json)
            raise typer.Exit(UNREADABLE) from error
        raise typer.Exit(code)
    if sample_after is None or bundle is None:
        raise typer.BadParameter("the seed must come from a log checkpoint", param_hint="--sample-after")
    given = (sample_after, sample_size, None)
    file = output or Path("sample-request.json")
    refuse_existing(file, *([_packet_of(file)] if fetch else []), force=force)
    code = _write_request(bundle, policy, since, processes, given, file, force=force)
    if fetch:
        _fetch(file, profile)
    raise typer.Exit(code)


def _packet_of(request: Path) -> Path:
    return request.parent / f"{request.stem}.zip"  # of a folder, too, for `refuse_existing` to say so


def _fetch(request: Path, profile: str | None) -> None:
    """The raw samples of a request, from the nodes through the server. Raises ClientError, CliError."""
    packet = _packet_of(request)
    with open_client(profile) as client:
        size = client.sample_packet(packet, request.read_bytes())
    say(f"Wrote {packet}, {size} bytes: suanli verify --sample-after ... --sample {packet} checks it")


def _write_request(
    bundle: Path,
    policy: Path | None,
    since: Path | None,
    processes: int | None,
    given: tuple[Path, int, Path | None],
    file: Path,
    *,
    force: bool,
) -> int:
    """Verify the bundle and write what to ask for; returns the verdict's code. Raises typer.Exit."""
    settings = VerifySettings(now_ms=time.time_ns() // 1_000_000)
    try:
        verdict = run_verify(bundle, policy, since, settings, processes, given)
        if verdict.drawn is not None and verdict.exit_code != 1:
            segments, devices = verdict.drawn.segments(), verdict.drawn.devices()
            write_file(file, encode_request(verdict.drawn.seed, segments, devices), force=force)
    except (EvidenceError, OSError) as error:
        say_unreadable(error, Words(language_of(None)), as_json=False)
        raise typer.Exit(UNREADABLE) from error
    if verdict.drawn is None or verdict.exit_code == 1:
        print_verdict(
            verdict, Console(width=width_of_output(), color_system=colours()), Words(language_of(None))
        )
        raise typer.Exit(1)
    say(f"Wrote {file}: {len(segments)} segments, {len(devices)} devices to visit")
    return verdict.exit_code


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(sample_command)
