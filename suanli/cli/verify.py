"""`suanli verify`: check a bundle offline by the reader's own policy."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from suanli.cli.algorithms import load_algorithms
from suanli.cli.errors import reason_of
from suanli.cli.output import colours, refuse_existing, width_of_output, write_file
from suanli.cli.time_stamps import stamp_check
from suanli.cli.verify_html import html_report
from suanli.cli.verify_report import print_verdict
from suanli.cli.verify_text import Words, language_of
from suanli.cli.verify_work import processes_for, shown
from suanli.evidence.bundle import ENTRY_TILES
from suanli.evidence.bundle_files import BundleFiles
from suanli.evidence.bundle_io import open_bundle
from suanli.evidence.device_list import parse_device_list
from suanli.evidence.errors import EvidenceError
from suanli.evidence.findings import Verdict
from suanli.evidence.keys import SIGNATURES_BY
from suanli.evidence.limits import LANGUAGES
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.policy import parse_firm_keys, parse_policy
from suanli.evidence.result import sign_result
from suanli.evidence.signed_note import parse_note
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.steps.samples import SampleWanted
from suanli.evidence.strict_json import printable
from suanli.evidence.verify import verify
from suanli.rating.attribution import CLOCK_TOLERANCE_MS
from suanli.sentences.words import said

UNREADABLE = 2
"""Exit code when the bundle or a file that an option names cannot be used at all."""

BundlePath = Annotated[Path, typer.Argument(help="Bundle: a ZIP file or a folder.")]
PolicyFile = Annotated[
    Path | None, typer.Option(help="Your own policy file (C2SP tlog-policy). Without it nothing is verified.")
]
After = Annotated[
    Path | None,
    typer.Option(
        "--sample-after", help="Log checkpoint published after the period closed: it gives the sample's seed."
    ),
]
Since = Annotated[
    Path | None,
    typer.Option(help="Log checkpoint that you kept from before, or the auditor's: this log must extend it."),
]
FirmKeys = Annotated[
    Path | None,
    typer.Option(help="Your list of firms' keys, a vkey a line (suanli receipt key): who signs receipts."),
]
RegisterFile = Annotated[
    Path | None,
    typer.Option(
        help="Your own list of devices (CSV: serial, uuid or device_id; vendor, model, from, to): the register"
        " is compared with it."
    ),
]
Authorities = Annotated[
    Path | None,
    typer.Option(
        help="Certificates (PEM) of your time-stamping authority's root: the log's stamp is checked."
    ),
]
ToleranceMs = Annotated[
    int, typer.Option(min=0, help="By how much clocks of nodes and controller may differ.")
]
SampleSize = Annotated[
    int, typer.Option("--sample-size", min=1, max=1000, help="How many to draw of each stratum.")
]
EverySignature = Annotated[
    bool,
    typer.Option(
        "--every-signature",
        help="Also check signatures of windows that the next window of the same key vouches for: slower.",
    ),
]
ResultFile = Annotated[
    Path | None, typer.Option(help="Also write a signed result (a signed note; needs --sign-with).")
]
SigningFolder = Annotated[
    Path | None, typer.Option(help="Folder of your witness, whose key signs the result.")
]
Processes = Annotated[
    int | None, typer.Option(min=1, max=256, help="Processes to share the work; absent: as is useful.")
]


def _refuse_language(value: str | None) -> str | None:
    if value is not None and value not in LANGUAGES:
        raise typer.BadParameter(f"{value}: one of {', '.join(LANGUAGES)}")
    return value


def verify_command(  # noqa: PLR0913, PLR0917 - each is an option that somebody types
    context: typer.Context,
    bundle: BundlePath,
    policy: PolicyFile = None,
    since: Since = None,
    firm: Annotated[
        str | None, typer.Option(help="Your firm's id: the bundle must be made for this firm alone.")
    ] = None,
    firm_keys: FirmKeys = None,
    register: RegisterFile = None,
    time_stamp_authority: Authorities = None,
    sample: Annotated[
        Path | None, typer.Option(help="Proof packet that came back for the sample (needs --sample-after).")
    ] = None,
    sample_after: After = None,
    sample_size: SampleSize = 3,
    tolerance_ms: ToleranceMs = CLOCK_TOLERANCE_MS,
    every_signature: EverySignature = False,
    processes: Processes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the report as an HTML page.")] = None,
    language: Annotated[
        str | None, typer.Option(callback=_refuse_language, help="Of the reports for people: en or zh.")
    ] = None,
    result: ResultFile = None,
    sign_with: SigningFolder = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Verify a bundle offline.

    Exit code 0: both questions answered with yes under your policy. 1: something is wrong. 2: it was typed wrongly, or
    the bundle or a file that an option names cannot be used. 3: nothing wrong was found, but without a policy nothing
    is verified.
    """
    if sample is not None and sample_after is None:
        raise typer.BadParameter("the seed of the sample: give --sample-after", param_hint="--sample")
    if (result is None) != (sign_with is None):
        raise typer.BadParameter("--result and --sign-with go together", param_hint="--result")
    for option, path in (("--html", html), ("--result", result)):
        if path is not None:
            refuse_existing(path, force=force, option=option)
    words = Words(language_of(language))
    tool = f"suanli {version('suanli')} ({SIGNATURES_BY})"
    try:
        settings = VerifySettings(
            clock_tolerance_ms=tolerance_ms,
            now_ms=time.time_ns() // 1_000_000,
            firm_id=firm,
            firm_keys=None if firm_keys is None else parse_firm_keys(firm_keys.read_bytes()),
            device_list=None if register is None else parse_device_list(register.read_bytes()),
            every_signature=every_signature,
        )
        wanted = (sample_after, sample_size, sample)
        verdict = run_verify(bundle, policy, since, settings, processes, wanted, time_stamp_authority)
        text = json.dumps({"tool": tool, **verdict.as_json()}, ensure_ascii=False, indent=2)
        if html is not None:
            files = _files_read(context.params, words)
            write_file(html, html_report(verdict, words, tool, files).encode(), force=force)
        if result is not None and sign_with is not None:
            from suanli.witness.folder import WitnessFolder

            folder = WitnessFolder(sign_with)
            signed = sign_result(verdict, tool, text, folder.name(), folder.key())
            write_file(result, signed, force=force)
    except (EvidenceError, OSError) as error:
        say_unreadable(error, words, as_json=as_json)
        raise typer.Exit(UNREADABLE) from error
    out = Console(width=width_of_output(), color_system=colours())
    typer.echo(text) if as_json else print_verdict(verdict, out, words)
    raise typer.Exit(verdict.exit_code)


def _files_read(typed: Mapping[str, object], words: Words) -> str:
    """The bundle and the files that options name, but for those that are written."""
    read = {
        name: path
        for name, path in typed.items()
        if isinstance(path, Path) and name not in {"html", "result", "sign_with"}
    }
    bundle = read.pop("bundle", None)
    options = (f"--{name.replace('_', '-')} {path}" for name, path in read.items())
    return words.listed([str(bundle), *options])


def run_verify(
    bundle: Path,
    policy: Path | None,
    since: Path | None,
    settings: VerifySettings,
    processes: int | None,
    sample: tuple[Path | None, int, Path | None],
    authorities: Path | None = None,
) -> Verdict:
    """The verdict on a bundle; `sample` is seed, size and packet. Raises EvidenceError, OSError."""
    load_algorithms()
    trusted = None if policy is None else parse_policy(policy.read_bytes())
    earlier = None if since is None else checkpoint_file(since, "--since")
    after, size, packet = sample
    with ExitStack() as stack:
        files: BundleFiles = stack.enter_context(open_bundle(bundle))
        wanted = None
        if after is not None:
            returned: BundleFiles | None = None
            if packet is not None:
                returned = stack.enter_context(open_bundle(packet))
            wanted = SampleWanted(checkpoint_file(after, "--sample-after"), size, returned)
        work = stack.enter_context(shown(Console(stderr=True, color_system=colours())))
        entries_bytes = sum(n for path, n in files.sizes().items() if path.startswith(ENTRY_TILES))
        return verify(
            files,
            policy=trusted,
            since=earlier,
            settings=settings,
            parts=processes_for(entries_bytes, processes),
            run=work.run,
            progress=work,
            sample=wanted,
            check_stamp=None if authorities is None else stamp_check(authorities.read_bytes()),
        )


def checkpoint_file(path: Path, option: str) -> bytes:
    """A signed log checkpoint that the reader names; who signed it is for later. Raises EvidenceError, OSError."""
    data = path.read_bytes()
    try:
        parse_log_checkpoint(parse_note(data).text)
    except EvidenceError:
        want = "a signed log checkpoint, such as the file checkpoint of a bundle"
        raise EvidenceError(option, str(path), want) from None
    return data


def say_unreadable(error: Exception, words: Words, *, as_json: bool) -> None:
    """What cannot be read at all, and why."""
    reason = reason_of(error)
    if as_json:
        value = {"schema": "suanli.verdict.v1", "verified": False, "unreadable": reason}
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        text = escape(said(printable(reason), chinese=words.language == "zh"))
        Console(stderr=True, color_system=colours()).print(
            f"[red]{words('unreadable')}[/red]{text}", highlight=False
        )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(verify_command)
