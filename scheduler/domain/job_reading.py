"""Reads a job as people write it (JSON or YAML already parsed): the law of a spec, with its limits."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.file_reading import (
    ABSOLUTE_WANTED,
    absolute_path,
    is_absolute,
    read_input,
    read_model_checkpoint,
    read_output,
    read_ports,
    read_secret,
    read_volume,
    refuse_doubles,
    refuse_wrong_places,
)
from scheduler.domain.gang_reading import read_command, read_gang, read_share, read_topology, size_of
from scheduler.domain.gangs import Domain
from scheduler.domain.job_limits import (
    AMOUNT_PATTERN,
    ENVIRONMENT_PATTERN,
    IMAGE_PATTERN,
    LABEL_PATTERN,
    MODEL_PATTERN,
    MOST_ARRAY,
    MOST_ATTEMPTS,
    MOST_BUDGET,
    MOST_DEPENDENCIES,
    MOST_ENVIRONMENT_BYTES,
    MOST_ENVIRONMENT_ENTRIES,
    MOST_LABEL_CHARACTERS,
    MOST_LABELS,
    MOST_LISTED,
    MOST_PATTERN_CHARACTERS,
    MOST_RESOLVED_VARIANTS,
    MOST_RULES,
    MOST_STEPS_PER_HOUR,
    MOST_TIME_LIMIT_SECONDS,
    MOST_URL_CHARACTERS,
    MOST_VARIANTS,
    NAME_PATTERN,
    NAME_WANTED,
)
from scheduler.domain.jobs import (
    DEFAULT_PROJECT,
    Array,
    Budget,
    Dependencies,
    DeviceClass,
    JobKind,
    JobSpec,
    Notification,
    NotifyOn,
    Priority,
    ProcessEnvironment,
    Variant,
)
from scheduler.domain.reading import Reader, want_decimal
from scheduler.domain.retries import (
    DEFAULT_IMAGE_FAILED,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_NODE_LOST,
    DEFAULT_PREEMPTED,
    DEFAULT_PREPARE_FAILED,
    DEFAULT_RULE_BUDGET,
    WILDCARD,
    ExitCodeRule,
    LogPatternRule,
    Retry,
)
from scheduler.domain.time import DAY_MS, from_rfc3339, to_rfc3339
from suanli.rating.no_such_time import wanted_time


def spec_from_json(value: object) -> JobSpec:
    """A job spec, with the shorthand of one variant. What is stored reads back to an equal value.

    Raises Invalid with every problem and its path. Does not look at the catalogue: whether a model exists
    and a shape is allowed is the planner's question (`scheduler.planner.feasibility.ever_fits`), and
    whether a pool can do all that is asked is `domain.features`'.
    """
    reader = Reader(value)
    spec = JobSpec(
        name=read_name(reader),
        project=reader.text("project", DEFAULT_PROJECT, pattern=NAME_PATTERN, want="name of a project"),
        queue=reader.text("queue", "default", pattern=NAME_PATTERN, want="name of a queue"),
        kind=JobKind(reader.choice("kind", JobKind, JobKind.FINE_TUNE)),
        priority=Priority(reader.choice("priority", Priority, Priority.NORMAL)),
        gang=read_gang(reader.child("gang")),
        topology=read_topology(reader.child("topology")),
        share=read_share(reader),
        variants=_variants(reader, holds=reader.raw("kind") == JobKind.INTERACTIVE),
        working_directory=absolute_path(reader, "working_directory"),
        volumes=tuple(reader.each("volumes", read_volume, most=MOST_LISTED)),
        secrets=tuple(reader.each("secrets", read_secret, most=MOST_LISTED)),
        inputs=tuple(reader.each("inputs", read_input, most=MOST_LISTED)),
        outputs=tuple(reader.each("outputs", read_output, most=MOST_LISTED)),
        ports=read_ports(reader),
        model_checkpoint=read_model_checkpoint(reader),
        time_limit_seconds=reader.seconds("time_limit_seconds", low=1, high=MOST_TIME_LIMIT_SECONDS),
        estimate_seconds=reader.seconds("estimate_seconds", low=1, high=MOST_TIME_LIMIT_SECONDS),
        deadline=_deadline(reader),
        retry=_retry(reader.child("retry")),
        dependencies=_dependencies(reader.child("dependencies")),
        array=_array(reader),
        hold=bool(reader.boolean("hold", False)),
        labels=read_labels(reader),
        budget=_budget(reader),
        notification=_notification(reader),
    )
    refuse_doubles(reader, spec)
    refuse_wrong_places(reader, spec)
    _require_one_task(reader, spec)
    reader.finish()
    return spec


def read_name(reader: Reader) -> str:
    return reader.text("name", pattern=NAME_PATTERN, want=NAME_WANTED)


def _require_one_task(reader: Reader, spec: JobSpec) -> None:
    """Tasks of a gang are on nodes of their own: what is smaller than two nodes holds one task. A part is of one
    device.
    """
    for key in ("required", "preferred"):
        domain = getattr(spec.topology, key)
        if domain in (Domain.NODE, Domain.FAST_LINK_GROUP) and spec.gang.tasks > 1:
            want = (
                f"leaf, supernode or zone: each of the gang's {spec.gang.tasks} tasks has a node of its own"
            )
            reader.problem(f"topology.{key}", domain.value, want)
    if spec.share is not None and (spec.gang.spare_nodes or spec.gang.groups):
        reader.problem("share", "a part of a device", "whole devices beside groups or spare nodes")
    if spec.share is not None and spec.gang.devices_per_node > 1:
        want = "1: each task of the gang has a part of one device"
        reader.problem("gang.devices_per_node", spec.gang.devices_per_node, want)


def refuse(field_name: str, got: str, want: str) -> Invalid:
    """An Invalid with a single problem."""
    return Invalid([FieldProblem(field_name, got, want)])


# --- Variants -------------------------------------------------------------------------------------------------

_OF_A_VARIANT = (
    "model",
    "device_class",
    "command",
    "environment",
    "image",
    "image_credentials",
    "process_environment",
    "steps_per_hour",
)


def _variants(reader: Reader, *, holds: bool) -> tuple[Variant, ...]:
    """`holds`: an interactive job needs no command, and holds its devices until it is cancelled or its time is up."""
    shorthand = [key for key in _OF_A_VARIANT if reader.has(key)]
    if shorthand and reader.has("variants"):
        names = ", ".join(shorthand)
        want = f"{names} in each of the variants, not beside them"
        reader.problem("variants", f"both variants and {names}", want)
    if not reader.has("variants"):
        reader.raw("variants")
        return (_variant(reader, holds),)
    for key in _OF_A_VARIANT:
        reader.raw(key)
    items = reader.items("variants")
    resolved = any(
        isinstance(item, Mapping) and item.get("device_class") and item.get("model") for item in items
    )
    most = MOST_RESOLVED_VARIANTS if resolved else MOST_VARIANTS
    if not 1 <= len(items) <= most:
        reader.problem("variants", f"{len(items)} variants", f"1 to {MOST_VARIANTS} variants")
        return ()
    variants = reader.each("variants", partial(_variant, holds=holds))
    for number, variant in enumerate(variants):
        if variant.model and variant.model in [earlier.model for earlier in variants[:number]]:
            reader.problem(f"variants[{number}].model", variant.model, "a model that no other variant has")
    return tuple(variants)


def _variant(reader: Reader, holds: bool) -> Variant:
    device_class = _device_class(reader)
    wanted = "key of a device model"
    # A resolved class is stored with both, an unresolved one with an empty model.
    if device_class is not None and reader.raw("model") in (None, ""):
        model = ""
    else:
        model = reader.text("model", pattern=MODEL_PATTERN, want=wanted)
    image = reader.optional_text("image", pattern=IMAGE_PATTERN, want="name of a container image")
    credentials = reader.optional_text("image_credentials", pattern=NAME_PATTERN, want="name of a secret")
    if credentials is not None and image is None:
        reader.problem(reader.at("image_credentials"), credentials, "an image beside it")
    process = _process_environment(reader)
    if process is not None and image is not None:
        reader.problem(
            reader.at("process_environment"), "both image and process_environment", "one of the two"
        )
    return Variant(
        model=model,
        command=read_variant_command(reader, holds),
        environment=read_environment(reader),
        device_class=device_class,
        image=image,
        image_credentials=credentials,
        process_environment=process,
        steps_per_hour=reader.optional_integer("steps_per_hour", low=1, high=MOST_STEPS_PER_HOUR),
    )


def _device_class(reader: Reader) -> DeviceClass | None:
    if not reader.has("device_class"):
        reader.raw("device_class")
        return None
    child = reader.child("device_class")
    device_class = DeviceClass(
        vendor=child.optional_text("vendor", pattern=MODEL_PATTERN, want="key of a vendor"),
        memory_bytes_at_least=child.bytes("memory_bytes_at_least", low=1, high=1 << 50),
        fp16_tflops_at_least=child.optional_integer("fp16_tflops_at_least", low=1, high=1_000_000),
        domestic=child.boolean("domestic"),
    )
    if device_class == DeviceClass():
        child.problem(child.path, "an empty class", "at least one condition")
    child.refuse_unknown()
    return device_class


def _process_environment(reader: Reader) -> ProcessEnvironment | None:
    if not reader.has("process_environment"):
        reader.raw("process_environment")
        return None
    child = reader.child("process_environment")
    files = child.some("source", most=MOST_RULES)
    for number, file in enumerate(files):
        if not is_absolute(file):
            child.problem(f"{child.at('source')}[{number}]", file, ABSOLUTE_WANTED)
    environment = ProcessEnvironment(
        virtual_environment=absolute_path(child, "virtual_environment"),
        source=tuple(file for file in files if isinstance(file, str)),
    )
    child.refuse_unknown()
    return environment


def read_variant_command(reader: Reader, holds: bool) -> tuple[str, ...]:
    return () if holds and reader.raw("command") in (None, []) else read_command(reader)


def read_environment(reader: Reader) -> dict[str, str]:
    environment = reader.text_map(
        "environment", most=MOST_ENVIRONMENT_ENTRIES, key_pattern=ENVIRONMENT_PATTERN, secret=True
    )
    size = sum(size_of(name) + size_of(value) for name, value in environment.items())
    if size > MOST_ENVIRONMENT_BYTES:
        reader.problem(reader.at("environment"), f"{size} bytes", f"at most {MOST_ENVIRONMENT_BYTES} bytes")
    return environment


# --- Time, retries, order -------------------------------------------------------------------------------------


_LAST_YEAR = 2069  # the last whole one of the hundred


def _deadline(reader: Reader) -> str | None:
    value = reader.raw("deadline")
    if value is None:
        return None
    try:
        at_ms = from_rfc3339(value) if isinstance(value, str) else -1
    except ValueError:
        at_ms = -1
    if not 0 <= at_ms < 100 * 366 * DAY_MS:
        want = "a time with its zone, such as 2026-12-01T08:00:00+08:00"
        reader.problem(reader.at("deadline"), value, wanted_time(value, want, _LAST_YEAR))
        return None
    return to_rfc3339(at_ms)


def _retry(reader: Reader) -> Retry:
    def budget(key: str, default: int) -> int:
        return reader.integer(key, default, low=0, high=MOST_BUDGET)

    retry = Retry(
        max_attempts=reader.integer("max_attempts", DEFAULT_MAX_ATTEMPTS, low=1, high=MOST_ATTEMPTS),
        node_lost=budget("node_lost", DEFAULT_NODE_LOST),
        preempted=budget("preempted", DEFAULT_PREEMPTED),
        prepare_failed=budget("prepare_failed", DEFAULT_PREPARE_FAILED),
        image_failed=budget("image_failed", DEFAULT_IMAGE_FAILED),
        out_of_memory=budget("out_of_memory", 0),
        on_exit_codes=_exit_code_rules(reader),
        on_log_patterns=_log_pattern_rules(reader),
    )
    reader.refuse_unknown()
    return retry


def _exit_code_rules(reader: Reader) -> tuple[ExitCodeRule, ...]:
    """Bare numbers together make one rule; objects name their codes and their budget."""
    bare: set[int] = set()
    rules: list[ExitCodeRule] = []
    for number, item in enumerate(reader.some("on_exit_codes", most=255)):
        path = f"{reader.at('on_exit_codes')}[{number}]"
        if not isinstance(item, Mapping):
            bare |= _exit_codes(reader, path, [item])
            continue
        child = Reader(item, path, reader.problems)
        codes = _exit_codes(child, child.at("codes"), child.some("codes", most=255))
        if not codes and not child.has("codes"):
            child.problem(child.at("codes"), None, "a list of exit codes")
        rules.append(ExitCodeRule(codes, _rule_budget(child)))
        child.refuse_unknown()
    return (*([ExitCodeRule(frozenset(bare))] if bare else []), *rules)


def _exit_codes(reader: Reader, path: str, items: list[Any]) -> frozenset[int]:
    codes = set()
    for code in items:
        if not isinstance(code, int) or isinstance(code, bool) or not 1 <= code <= 255:
            reader.problem(path, code, "an exit code from 1 to 255")
        else:
            codes.add(code)
    return frozenset(codes)


def _log_pattern_rules(reader: Reader) -> tuple[LogPatternRule, ...]:
    """Texts, or objects with a pattern and a budget."""
    return tuple(
        reader.each(
            "on_log_patterns",
            _log_pattern_rule,
            most=MOST_RULES,
            full=lambda item: {"pattern": item} if isinstance(item, str) else item,
        )
    )


def _log_pattern_rule(reader: Reader) -> LogPatternRule:
    pattern = reader.text("pattern", want="text to be found in a line; * stands for anything")
    if len(pattern) > MOST_PATTERN_CHARACTERS or not pattern.replace(WILDCARD, "").strip():
        want = f"1 to {MOST_PATTERN_CHARACTERS} characters, not * alone"
        reader.problem(reader.at("pattern"), pattern, want)
    elif "\n" in pattern or "\0" in pattern:
        reader.problem(reader.at("pattern"), pattern, "one line of text")
    return LogPatternRule(pattern, _rule_budget(reader))


def _rule_budget(reader: Reader) -> int:
    return reader.integer("budget", DEFAULT_RULE_BUDGET, low=1, high=MOST_BUDGET)


def _dependencies(reader: Reader) -> Dependencies:
    def references(key: str) -> tuple[str, ...]:
        found = []
        for number, item in enumerate(reader.some(key, most=MOST_DEPENDENCIES)):
            if isinstance(item, str) and re.fullmatch(NAME_PATTERN, item):
                found.append(item)
            else:
                reader.problem(f"{reader.at(key)}[{number}]", item, "a job's id, or a name of this batch")
        return tuple(dict.fromkeys(found))

    dependencies = Dependencies(references("after"), references("after_ok"), references("after_any"))
    reader.refuse_unknown()
    return dependencies


def _array(reader: Reader) -> Array | None:
    if not reader.has("array"):
        reader.raw("array")
        return None
    child = reader.child("array")
    array = Array(
        count=child.integer("count", low=1, high=MOST_ARRAY),
        concurrency=child.optional_integer("concurrency", low=1, high=MOST_ARRAY),
    )
    child.refuse_unknown()
    return array


# --- Labels, money, notification ------------------------------------------------------------------------------


def read_labels(reader: Reader) -> dict[str, str]:
    labels = reader.text_map("labels", most=MOST_LABELS, key_pattern=LABEL_PATTERN)
    for name, value in labels.items():
        if len(value) > MOST_LABEL_CHARACTERS or not value.isprintable():
            want = f"at most {MOST_LABEL_CHARACTERS} printable characters"
            reader.problem(f"{reader.at('labels')}.{name}", value, want)
    return labels


def _budget(reader: Reader) -> Budget | None:
    if not reader.has("budget"):
        reader.raw("budget")
        return None
    child = reader.child("budget")
    want = want_decimal(child.raw("amount_cny"))
    amount = child.text("amount_cny", pattern=AMOUNT_PATTERN, want=want)
    child.refuse_unknown()
    return Budget(amount)


def _notification(reader: Reader) -> Notification | None:
    if not reader.has("notification"):
        reader.raw("notification")
        return None
    child = reader.child("notification")
    url = child.text("url", want="an https URL")
    if url and not _is_web_url(url):
        child.problem(child.at("url"), url, "an https URL with a host, without a user or a fragment")
    moments = child.some("on", most=len(NotifyOn))
    for number, moment in enumerate(moments):
        if moment not in list(NotifyOn):
            child.problem(f"{child.at('on')}[{number}]", moment, "one of " + ", ".join(NotifyOn))
    chosen = frozenset(NotifyOn(moment) for moment in moments if moment in list(NotifyOn))
    child.refuse_unknown()
    return Notification(url, chosen) if chosen else Notification(url)


def _is_web_url(url: str) -> bool:
    """Where the host leads is judged when it is called: names may lead elsewhere by then."""
    if len(url) > MOST_URL_CHARACTERS or not url.isprintable() or not url.isascii() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    fine = parts.scheme == "https" and bool(parts.hostname) and port != 0
    return fine and parts.username is None and parts.password is None and not parts.fragment
