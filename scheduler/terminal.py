"""What the verbs of the command line share: settings, sentences, JSON, and patience with a start."""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from scheduler.process import MISUSED, announcement_path, fail, sentence_of
from scheduler.settings import Settings, SettingsError, load
from suanli.sentences.words import said

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (SUANLI_DATA).", show_default=False)]
UP_START_S = 60.0
UP_APPEARS_S = 5.0
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
_T = TypeVar("_T")


def settings_of(**given: Any) -> Settings:
    """Read the settings; what is wrong with them is a sentence and the end."""
    try:
        return load(**given)
    except SettingsError as error:
        raise typer.Exit(fail(str(error), MISUSED)) from error


def say(sentence: str) -> None:
    """A sentence on standard output."""
    sys.stdout.write(f"suanli: {said(sentence)}\n")
    sys.stdout.flush()


def note(sentence: str) -> None:
    """A sentence beside the result, on standard error."""
    sys.stderr.write(f"suanli: {said(sentence)}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """One JSON document on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def done(settings: Settings, work: Coroutine[Any, Any, _T], *, patient: bool = True) -> _T:
    """Run a short piece of work; its refusals are sentences for the person. `patient`: `up` may just be starting."""
    from scheduler.admin import AlreadyInitialised
    from scheduler.domain.errors import DomainError
    from scheduler.storage.engine import DatabaseAway

    if patient:
        wait_for_up(settings)
    try:
        return asyncio.run(work)
    except SettingsError as error:
        raise typer.Exit(fail(sentence_of(error), MISUSED)) from error
    except (AlreadyInitialised, DomainError, DatabaseAway) as error:
        raise typer.Exit(fail(sentence_of(error))) from error


def wait_for_up(settings: Settings) -> None:
    """Whoever typed `up &` a moment ago need not time the next command; what never serves says so itself."""
    if settings.database_url is not None:
        return
    announced = announcement_path(settings.run_folder, "up")
    begun_s = time.monotonic()
    while not announced.exists():
        # A folder that is not there yet may be made in a moment, or have been typed wrongly.
        patience_s = UP_START_S if settings.data.exists() else UP_APPEARS_S
        if time.monotonic() > begun_s + patience_s:
            return
        time.sleep(0.05)
