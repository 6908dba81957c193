"""A refusal as sentences: what is wrong, where, and what would be right."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from suanli.cli.errors import FAILED, MISUSED, CliError
from suanli.cli.moments import with_billing_times, with_zoned_times
from suanli.cli.output import note
from suanli.client.errors import ClientError, FieldError, KeyRefused, Refused, Unusable

if TYPE_CHECKING:
    from suanli.client.types import Refusal, Wrong
    from suanli.client.yaml_files import YamlFile

_SHORT = 3  # letters of a name that say what it is short for
_MEANT = re.compile(r"(?P<name>\S+)\? \(")
_ONE_OF = re.compile(r"(?:^|\()one of: (?P<names>[^()]*)")


def report(error: ClientError | CliError, *, as_json: bool) -> int:
    """Print an error; returns the exit code."""
    code = _exit_code(error)
    if as_json:
        sys.stderr.write(json.dumps(_document(error), ensure_ascii=False) + "\n")
        return code
    note(f"suanli: {with_zoned_times(_in_words(error))}")
    return code


def _exit_code(error: ClientError | CliError) -> int:
    """Fields that the server refuses were typed wrongly, as are those that are refused here."""
    if isinstance(error, CliError):
        return error.exit_code
    misused = isinstance(error, Unusable) or (isinstance(error, Refused) and bool(error.problem.errors))
    return MISUSED if misused else FAILED


def _in_words(error: ClientError | CliError) -> str:
    if isinstance(error, KeyRefused):
        return f"the server refused the API key: {error} (suanli login SERVER stores another one)"
    if not isinstance(error, Refused):
        return str(error)
    if error.problem.errors:
        return _joined(error.code, _titled(error), [sentence(item) for item in error.problem.errors])
    request = f" [request {error.problem.request_id}]" if error.status >= 500 else ""
    return f"{_titled(error)}{request}"


def _titled(error: Refused) -> str:
    """The detail; in Chinese behind the title that the server gave, since not every detail is translated."""
    from suanli.sentences.words import said

    title = error.problem.title
    if title.isascii():
        return str(error)
    detail = said(str(error))
    return detail if detail.startswith(title) else f"{title}：{detail}"


def _document(error: ClientError | CliError) -> dict[str, object]:
    if not isinstance(error, Refused):
        return {"error": {"code": "client", "detail": str(error)}}
    problem = error.problem
    return {
        "error": {
            "status": problem.status,
            "code": problem.code,
            "detail": str(error),
            "errors": [{"field": e.field, "got": e.got, "want": e.want} for e in problem.errors],
            "facts": dict(problem.facts),
            "request_id": problem.request_id,
        }
    }


def sentence(error: FieldError, where: str = "") -> str:
    """One wrong field; what the wire calls a parameter of the query or the path was typed as an option or argument."""
    field = error.field
    if field.startswith("query "):
        field = "--" + field.removeprefix("query ").replace("_", "-")
    elif field.startswith("path "):
        field = field.removeprefix("path ").upper()
    if error.got == "an unknown field":
        name = error.field.rsplit(".", 1)[-1]
        match = _ONE_OF.search(error.want)
        known = [] if match is None else [part.strip() for part in match["names"].split(",")]
        meant = _MEANT.match(error.want)
        near = (
            ([] if meant is None else [meant["name"]])
            or get_close_matches(name, known, 1, 0.7)
            or [field for field in known if len(name) >= _SHORT and field.startswith(name)]
        )
        if near:
            return f"{where}{field}: there is no such field; did you mean {near[0]}?"
        return f"{where}{field}: there is no such field, want {error.want}"
    return f"{where}{field}: got {error.got}, want {error.want}"


@contextmanager
def naming_options(options: Mapping[str, str], *, as_json: bool) -> Iterator[None]:
    """A refusal in the block names the option that was typed (`--time-limit`) where the wire names its field; programs
    are told the field.
    """
    try:
        yield
    except Refused as error:
        if as_json or not error.problem.errors:
            raise
        fields = [replace(item, field=options.get(item.field, item.field)) for item in error.problem.errors]
        raise CliError("\n        ".join(map(sentence, fields)), MISUSED) from error


@contextmanager
def of_period(*, as_json: bool) -> Iterator[None]:
    """A refusal of a period of bills in the block names the options and says its times on the clock of the bills;
    programs are told fields and UTC.
    """
    try:
        with naming_options({"from": "--from", "to": "--to"}, as_json=as_json):
            yield
    except (Refused, CliError) as error:
        if as_json or isinstance(error, KeyRefused):
            raise
        raise CliError(with_billing_times(_in_words(error)), _exit_code(error)) from error


def of_file(error: Refused, file: YamlFile, *, as_json: bool) -> CliError | Refused:
    """A refusal of a file's content, with the file's lines; for programs as the server said it."""
    if as_json or not error.problem.errors:
        return error
    fields = [of_field(item, file) for item in error.problem.errors]
    return CliError(_joined(error.code, _titled(error), fields), MISUSED)


def of_item(refusal: Refusal, file: YamlFile) -> str:
    """The refusal of one job of a file, with the file's lines."""
    fields = [of_field(FieldError(**wrong), file) for wrong in refusal["errors"]]
    return _joined(refusal["code"], refusal["detail"], fields) if fields else refusal["detail"]


def _joined(code: str, reason: str, fields: Sequence[str]) -> str:
    """Fields in lines of their own, behind the reason where they do not say it themselves."""
    return "\n        ".join([*([reason] if code == "impossible" else []), *fields])


def warn(
    warnings: Iterable[Wrong], file: YamlFile | None = None, options: Mapping[str, str] | None = None
) -> None:
    """Say what was accepted and can hardly be meant; with the file's lines, or the options that were typed."""
    for wrong in warnings:
        error = FieldError(**wrong)
        name = (options or {}).get(error.field, error.field)
        said = sentence(replace(error, field=name)) if file is None else of_field(error, file)
        note(f"suanli: warning: {with_zoned_times(said)}")


def of_field(error: FieldError, file: YamlFile) -> str:
    """One wrong field of a file, with its line. What the server calls the first variant's, a file without variants has
    in the job itself.
    """
    place, first, rest = error.field.partition("variants[0].")
    written = place + rest
    if first and f"{place}variants" not in file.lines and written in file.lines:
        error = replace(error, field=written)
    line = file.line_of(error.field)
    return sentence(error, f"{file.name}, line {line}: " if line else f"{file.name}: ")
