"""What a verdict is about, as rows of plain text for any report. Nothing here is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from suanli.cli.moments import hours
from suanli.cli.verify_text import TEXT, Words
from suanli.evidence.findings import Verdict
from suanli.evidence.moments import shown_time

SIMULATED = frozenset(TEXT["simulated_label"])  # in either language


def headline(verdict: Verdict, words: Words) -> str:
    """The answer in one line."""
    if verdict.verified:
        return words("verified")
    return words("wrong" if verdict.exit_code == 1 else "no_policy")


def fact_rows(facts: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """Name and value of each fact. A row named as one of SIMULATED should be loud."""
    start_ms, end_ms = facts["period_ms"]
    yield words("period"), f"{shown_time(start_ms)} {words('to')} {shown_time(end_ms)}"
    firm_id = facts["scope"].get("firm_id")
    yield words("for"), words("auditor") if firm_id is None else words("firm", firm=firm_id)
    if sha256 := facts.get("bundle_sha256"):
        yield words("bundle"), f"sha256 {sha256} (MANIFEST.json)"
    if sha256 := facts.get("policy_sha256"):
        yield words("policy"), f"sha256 {sha256}"
    if time_ms := facts.get("verified_at_ms"):
        yield words("verified_at"), words("verified_at_value", time=shown_time(time_ms))
    if log := facts.get("log"):
        yield words("log"), words("entries", **log)
    for name, time_s in facts.get("cosigned_s", {}).items():
        yield words("cosigned"), words("cosigned_at", name=name, time=shown_time(time_s * 1000))
    if earlier := facts.get("extends"):
        yield words("extends"), words("extends_yours", size=earlier["size"])
    if register := facts.get("register"):
        yield words("register"), words("register_value", **register)
        if simulated := register["simulated_devices"]:
            yield (
                words("simulated_label"),
                words("simulated", simulated=simulated, devices=register["devices"]),
            )
    if listed := facts.get("device_list"):
        yield words("device_list"), words("device_list_value", **listed)
    yield from _usage_rows(facts, words)


def _usage_rows(facts: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    windows = facts["windows"]
    kinds = [words("isolation_in", kind=kind, count=n) for kind, n in windows["isolation"].items()]
    yield words("windows"), words("checked", count=windows["checked"])
    yield words("isolation"), words.listed(kinds) or words("nothing_seen")
    for name in ("device_time", "held_time"):
        shown = [
            f"{words(bucket)} {hours(time_ms).strip()} h"
            for bucket, time_ms in facts.get(f"{name}_ms", {}).items()
        ]
        if shown:
            yield words(name), words.listed(shown)
    if charges := facts.get("charges_recomputed"):
        total, net = _cny(charges["total_fen"]), _cny(charges["net_fen"])
        numbers = {"lines": charges["lines"], "firms": charges["firms"]}
        yield words("recomputed"), words("recomputed_value", total=total, net=net, **numbers)
    if receipts := facts.get("receipts"):
        yield words("receipts"), words("receipts_value", **receipts)
    if (sample := facts.get("sample")) and "segments" in sample:
        yield words("sample"), words("sample_value", **sample)


def _cny(amount_fen: int) -> str:
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d} CNY"
