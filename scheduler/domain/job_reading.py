"""Reads a job as people write it (JSON or YAML already parsed): the law of a spec, with its limits."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.gangs import WHOLE_PPM, Domain, Elastic, Gang, Share, TaskGroup, Topology
from scheduler.domain.jobs import (
    DEFAULT_GRACE_SECONDS,
    Array,
    Budget,
    Dependencies,
    DeviceClass,
    Input,
    JobKind,
    JobSpec,
    ModelCheckpointSpec,
    Notification,
    NotifyOn,
    Output,
    Port,
    Priority,
    ProcessEnvironment,
    SecretReference,
    StopSignal,
    Variant,
    Volume,
)
from scheduler.domain.reading import Reader
from scheduler.domain.retries import (
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

NAME_PATTERN = r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?"
ENVIRONMENT_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
LABEL_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?"
MODEL_PATTERN = r"[a-z0-9][a-z0-9.-]{0,99}"
IMAGE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,499}"
OBJECT_PATTERN = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0\n]{0,900})?"
DIGEST_PATTERN = r"sha256:[0-9a-f]{64}"
AMOUNT_PATTERN = r"[0-9]{1,12}(\.[0-9]{1,9})?"
MOST_COMMAND_BYTES = 128 * 1024
MOST_ENVIRONMENT_ENTRIES = 256
MOST_ENVIRONMENT_BYTES = 128 * 1024
MOST_LABELS = 64
MOST_LABEL_CHARACTERS = 255
MOST_VARIANTS = 16  # as written; a device class stands for any number of models
MOST_RESOLVED_VARIANTS = 256
MOST_DEVICES = 100_000
MOST_PROCESSES_PER_NODE = 4_096
MOST_SPARE_NODES = 64
MOST_GROUPS = 16
MOST_TIME_LIMIT_SECONDS = 366 * 24 * 3600
MOST_GRACE_SECONDS = 24 * 3600
MOST_ATTEMPTS = 1_000
MOST_BUDGET = 10_000
MOST_RULES = 16
MOST_PATTERN_CHARACTERS = 200
MOST_DEPENDENCIES = 100
MOST_ARRAY = 10_000
MOST_LISTED = 64
MOST_STEPS_PER_HOUR = 1_000_000_000
MOST_URL_CHARACTERS = 2_000

_NAME = "1 to 100 of a-z 0-9 - . _, no sign at the ends"


def spec_from_json(value: object) -> JobSpec:
    """A job spec, with the shorthand of one variant. What is stored reads back to an equal value.

    Raises Invalid with every problem and its path. Does not look at the catalogue: whether a model exists
    and a shape is allowed is the planner's question (`scheduler.planner.feasibility.ever_fits`), and
    whether a pool can do all that is asked is `domain.features`'.
    """
    reader = Reader(value)
    spec = JobSpec(
        name=reader.text("name", pattern=NAME_PATTERN, want=_NAME),
        project=reader.text("project", "default", pattern=NAME_PATTERN, want="name of a project"),
        queue=reader.text("queue", "default", pattern=NAME_PATTERN, want="name of a queue"),
        kind=JobKind(reader.choice("kind", JobKind, JobKind.FINE_TUNE)),
        priority=Priority(reader.choice("priority", Priority, Priority.NORMAL)),
        gang=_gang(reader.child("gang")),
        topology=_topology(reader.child("topology")),
        share=_share(reader),
        variants=_variants(reader),
        working_directory=_absolute_path(reader, "working_directory"),
        volumes=tuple(_volume(item) for item in reader.objects("volumes", most=MOST_LISTED)),
        secrets=tuple(_secret(item) for item in reader.objects("secrets", most=MOST_LISTED)),
        inputs=tuple(_input(item) for item in reader.objects("inputs", most=MOST_LISTED)),
        outputs=tuple(_output(item) for item in reader.objects("outputs", most=MOST_LISTED)),
        ports=_ports(reader),
        model_checkpoint=_model_checkpoint(reader),
        time_limit_seconds=reader.seconds("time_limit_seconds", low=1, high=MOST_TIME_LIMIT_SECONDS),
        estimate_seconds=reader.seconds("estimate_seconds", low=1, high=MOST_TIME_LIMIT_SECONDS),
        deadline=_deadline(reader),
        retry=_retry(reader.child("retry")),
        dependencies=_dependencies(reader.child("dependencies")),
        array=_array(reader),
        hold=bool(reader.boolean("hold", False)),
        labels=_labels(reader),
        budget=_budget(reader),
        notification=_notification(reader),
    )
    reader.finish()
    return spec


def refuse(field_name: str, got: str, want: str) -> Invalid:
    """An Invalid with a single problem."""
    return Invalid([FieldProblem(field_name, got, want)])


# --- Gang -----------------------------------------------------------------------------------------------------


def _gang(reader: Reader) -> Gang:
    spare = reader.integer("spare_nodes", 0, low=0, high=MOST_SPARE_NODES)
    gang = _uniform(reader, spare) if reader.raw("groups") in (None, []) else _grouped(reader, spare)
    reader.refuse_unknown()
    return gang


def _uniform(reader: Reader, spare: int) -> Gang:
    devices = reader.integer("devices", 1, low=1, high=MOST_DEVICES)
    per_node = reader.integer("devices_per_node", devices, low=1, high=MOST_DEVICES)
    if devices % per_node != 0:
        reader.problem(reader.at("devices_per_node"), per_node, f"a divisor of devices ({devices})")
        per_node = devices
    processes = reader.integer("processes_per_node", per_node, low=1, high=MOST_PROCESSES_PER_NODE)
    return Gang(devices, per_node, processes, _elastic(reader, devices, per_node), (), spare)


def _elastic(reader: Reader, devices: int, per_node: int) -> Elastic | None:
    if not reader.has("elastic"):
        reader.raw("elastic")
        return None
    child = reader.child("elastic")
    least = child.integer("min_devices", devices, low=1, high=devices)
    most = child.integer("max_devices", devices, low=devices, high=MOST_DEVICES)
    for key, number in (("min_devices", least), ("max_devices", most)):
        if number % per_node:
            child.problem(child.at(key), number, f"a multiple of devices_per_node ({per_node})")
    child.refuse_unknown()
    return Elastic(least, most)


def _grouped(reader: Reader, spare: int) -> Gang:
    """Either the groups or the numbers; what is stored has both, and they agree."""
    groups = tuple(_group(item) for item in reader.objects("groups", most=MOST_GROUPS))
    names = [group.name for group in groups]
    for number, name in enumerate(names):
        if name in names[:number]:
            reader.problem(f"{reader.at('groups')}[{number}].name", name, "a name for each group")
    if reader.has("elastic"):
        reader.problem(reader.at("elastic"), "a range", "no range beside groups")
    reader.raw("elastic")
    sums = {
        "devices": sum(group.tasks * group.devices_per_task for group in groups),
        "devices_per_node": max((group.devices_per_task for group in groups), default=1),
        "processes_per_node": max((group.processes_per_task for group in groups), default=1),
    }
    for key, total in sums.items():
        if reader.raw(key) not in (None, total):
            reader.problem(reader.at(key), reader.raw(key), f"nothing beside groups, or {total}")
    if sums["devices"] > MOST_DEVICES:
        reader.problem(reader.at("groups"), f"{sums['devices']} devices", f"at most {MOST_DEVICES} devices")
    return Gang(**sums, elastic=None, groups=groups, spare_nodes=spare)


def _group(reader: Reader) -> TaskGroup:
    devices = reader.integer("devices_per_task", 1, low=1, high=MOST_DEVICES)
    group = TaskGroup(
        name=reader.text("name", pattern=NAME_PATTERN, want=_NAME),
        tasks=reader.integer("tasks", 1, low=1, high=MOST_DEVICES),
        devices_per_task=devices,
        processes_per_task=reader.integer("processes_per_task", devices, low=1, high=MOST_PROCESSES_PER_NODE),
        command=_command(reader) if reader.raw("command") not in (None, []) else (),
    )
    reader.refuse_unknown()
    return group


def _topology(reader: Reader) -> Topology:
    def domain(key: str) -> Domain | None:
        return Domain(reader.choice(key, Domain)) if reader.has(key) else reader.raw(key)

    topology = Topology(domain("required"), domain("preferred"))
    reader.refuse_unknown()
    return topology


def _share(reader: Reader) -> Share | None:
    if not reader.has("share"):
        reader.raw("share")
        return None
    child = reader.child("share")
    share = Share(
        ppm=child.optional_integer("ppm", low=1, high=WHOLE_PPM),
        memory_bytes=child.bytes("memory_bytes", low=1 << 20, high=1 << 50),
    )
    if share == Share():
        child.problem(child.path, "neither ppm nor memory_bytes", "at least one of the two")
    child.refuse_unknown()
    return share


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


def _variants(reader: Reader) -> tuple[Variant, ...]:
    shorthand = [key for key in _OF_A_VARIANT if reader.has(key)]
    if shorthand and reader.has("variants"):
        reader.problem("variants", "both variants and " + ", ".join(shorthand), "one of the two forms")
    if not reader.has("variants"):
        reader.raw("variants")
        return (_variant(reader),)
    for key in _OF_A_VARIANT:
        reader.raw(key)
    items = reader.items("variants")
    resolved = any(
        isinstance(item, Mapping) and item.get("device_class") and item.get("model") for item in items
    )
    most = MOST_RESOLVED_VARIANTS if resolved else MOST_VARIANTS
    if not 1 <= len(items) <= most:
        reader.problem("variants", f"{len(items)} variants", f"1 to {MOST_VARIANTS} variants")
    variants = []
    for number, item in enumerate(items[:most]):
        child = Reader(item, f"variants[{number}]", reader.problems)
        variants.append(_variant(child))
        child.refuse_unknown()
    for number, variant in enumerate(variants):
        if variant.model and variant.model in [earlier.model for earlier in variants[:number]]:
            reader.problem(f"variants[{number}].model", variant.model, "a model that no other variant has")
    return tuple(variants)


def _variant(reader: Reader) -> Variant:
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
        command=_command(reader),
        environment=_environment(reader),
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
        if not _is_absolute(file):
            child.problem(f"{child.at('source')}[{number}]", file, _ABSOLUTE)
    environment = ProcessEnvironment(
        virtual_environment=_absolute_path(child, "virtual_environment"),
        source=tuple(file for file in files if isinstance(file, str)),
    )
    child.refuse_unknown()
    return environment


def _environment(reader: Reader) -> dict[str, str]:
    environment = reader.text_map(
        "environment", most=MOST_ENVIRONMENT_ENTRIES, key_pattern=ENVIRONMENT_PATTERN, secret=True
    )
    size = sum(_size(name) + _size(value) for name, value in environment.items())
    if size > MOST_ENVIRONMENT_BYTES:
        reader.problem(reader.at("environment"), f"{size} bytes", f"at most {MOST_ENVIRONMENT_BYTES} bytes")
    return environment


def _command(reader: Reader) -> tuple[str, ...]:
    value = reader.raw("command")
    field_name = reader.at("command")
    if isinstance(value, str) and value.strip():
        parts: tuple[str, ...] = ("/bin/sh", "-c", value)
    elif isinstance(value, list) and value and all(isinstance(part, str) for part in value) and value[0]:
        parts = tuple(value)
    else:
        reader.problem(field_name, value, "text for a shell, or a list of program and arguments")
        return ()
    size = sum(map(_size, parts))
    if size > MOST_COMMAND_BYTES:
        reader.problem(field_name, f"{size} bytes", f"at most {MOST_COMMAND_BYTES} bytes")
    if any("\0" in part for part in parts):
        reader.problem(field_name, "a NUL character", "text without NUL characters")
    return parts


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


# --- Files and ports ------------------------------------------------------------------------------------------

_ABSOLUTE = "an absolute path without .."


def _is_absolute(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("/")
        and "\0" not in value
        and ".." not in value.split("/")
    )


def _absolute_path(reader: Reader, key: str) -> str | None:
    value = reader.raw(key)
    if value is None:
        return None
    if not _is_absolute(value):
        reader.problem(reader.at(key), value, _ABSOLUTE)
        return None
    return str(value)


def _required_path(reader: Reader, key: str) -> str:
    path = _absolute_path(reader, key)
    if path is None and not reader.has(key):
        reader.problem(reader.at(key), None, _ABSOLUTE)
    return path or ""


def _inner_path(reader: Reader, key: str) -> str:
    """A path inside the task's folder."""
    value = reader.raw(key)
    wrong = (
        not isinstance(value, str)
        or not value
        or len(value) > 1_000
        or "\0" in value
        or value.startswith("/")
        or ".." in value.split("/")
    )
    if wrong:
        reader.problem(reader.at(key), value, "a path inside the task's folder, without ..")
        return ""
    return str(value)


def _one_of(reader: Reader, given: Mapping[str, object]) -> None:
    """Exactly one of several fields."""
    if sum(value is not None for value in given.values()) != 1:
        said = ", ".join(key for key, value in given.items() if value is not None) or "none of them"
        reader.problem(reader.path, said, "exactly one of " + ", ".join(given))


def _volume(reader: Reader) -> Volume:
    volume = Volume(
        mount_path=_required_path(reader, "mount_path"),
        host_path=_absolute_path(reader, "host_path"),
        name=reader.optional_text("name", pattern=NAME_PATTERN, want="name of a volume of the pool"),
        read_only=bool(reader.boolean("read_only", True)),
    )
    _one_of(reader, {"host_path": volume.host_path, "name": volume.name})
    reader.refuse_unknown()
    return volume


def _secret(reader: Reader) -> SecretReference:
    secret = SecretReference(
        name=reader.text("name", pattern=NAME_PATTERN, want="name of a secret of the project"),
        environment=reader.optional_text(
            "environment", pattern=ENVIRONMENT_PATTERN, want="name of a variable"
        ),
        file=_absolute_path(reader, "file"),
    )
    _one_of(reader, {"environment": secret.environment, "file": secret.file})
    reader.refuse_unknown()
    return secret


def _input(reader: Reader) -> Input:
    if reader.has("folder"):
        want = "a digest: suanli submit uploads a local folder and puts its digest here"
        reader.problem(reader.at("folder"), reader.raw("folder"), want)
    found = Input(
        path=_inner_path(reader, "path"),
        digest=reader.optional_text("digest", pattern=DIGEST_PATTERN, want="sha256: and 64 hex digits"),
        object=reader.optional_text("object", pattern=OBJECT_PATTERN, want="s3://bucket/prefix"),
    )
    if not reader.has("folder"):
        _one_of(reader, {"digest": found.digest, "object": found.object})
    reader.refuse_unknown()
    return found


def _output(reader: Reader) -> Output:
    output = Output(
        path=_inner_path(reader, "path"),
        object=reader.optional_text("object", pattern=OBJECT_PATTERN, want="s3://bucket/prefix"),
        keep_days=reader.integer("keep_days", 30, low=1, high=3_650),
    )
    reader.refuse_unknown()
    return output


def _ports(reader: Reader) -> tuple[Port, ...]:
    """Numbers, or objects with a name and a rank."""
    ports = []
    for number, item in enumerate(reader.some("ports", most=MOST_LISTED)):
        short = isinstance(item, int) and not isinstance(item, bool)
        child = Reader({"port": item} if short else item, f"ports[{number}]", reader.problems)
        ports.append(
            Port(
                port=child.integer("port", low=1, high=65_535),
                name=child.optional_text("name", pattern=NAME_PATTERN, want=_NAME),
                rank=child.integer("rank", 0, low=0, high=MOST_DEVICES),
            )
        )
        child.refuse_unknown()
    return tuple(ports)


def _model_checkpoint(reader: Reader) -> ModelCheckpointSpec | None:
    if not reader.has("model_checkpoint"):
        reader.raw("model_checkpoint")
        return None
    child = reader.child("model_checkpoint")
    grace = child.seconds("grace_seconds", DEFAULT_GRACE_SECONDS, low=0, high=MOST_GRACE_SECONDS)
    spec = ModelCheckpointSpec(
        directory=_absolute_path(child, "directory"),
        signal=StopSignal(child.choice("signal", StopSignal, StopSignal.TERM)),
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
    )
    child.refuse_unknown()
    return spec


# --- Time, retries, order -------------------------------------------------------------------------------------


def _deadline(reader: Reader) -> str | None:
    value = reader.raw("deadline")
    if value is None:
        return None
    try:
        at_ms = from_rfc3339(value) if isinstance(value, str) else -1
    except ValueError:
        at_ms = -1
    if not 0 <= at_ms < 100 * 366 * DAY_MS:
        reader.problem(
            reader.at("deadline"), value, "a time with its zone, such as 2026-12-01T08:00:00+08:00"
        )
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
    rules = []
    for number, item in enumerate(reader.some("on_log_patterns", most=MOST_RULES)):
        path = f"{reader.at('on_log_patterns')}[{number}]"
        child = Reader({"pattern": item} if isinstance(item, str) else item, path, reader.problems)
        pattern = child.text("pattern", want="text to be found in a line; * stands for anything")
        if len(pattern) > MOST_PATTERN_CHARACTERS or not pattern.replace(WILDCARD, "").strip():
            want = f"1 to {MOST_PATTERN_CHARACTERS} characters, not * alone"
            child.problem(child.at("pattern"), pattern, want)
        elif "\n" in pattern or "\0" in pattern:
            child.problem(child.at("pattern"), pattern, "one line of text")
        rules.append(LogPatternRule(pattern, _rule_budget(child)))
        child.refuse_unknown()
    return tuple(rules)


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


def _labels(reader: Reader) -> dict[str, str]:
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
    amount = child.text("amount_cny", pattern=AMOUNT_PATTERN, want='yuan as text, such as "250.00"')
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
