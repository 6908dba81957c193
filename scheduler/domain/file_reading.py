"""Reads what a job says of files, secrets, ports and model checkpoints."""

import re
from collections.abc import Mapping

from scheduler.domain.job_limits import (
    DIGEST_PATTERN,
    ENVIRONMENT_PATTERN,
    MOST_DEVICES,
    MOST_GRACE_SECONDS,
    MOST_LISTED,
    NAME_PATTERN,
    NAME_WANTED,
    OBJECT_PATTERN,
    OBJECT_WANTED,
    REGION_PATTERN,
    SECRET_FOLDER,
    VOLUME_FOLDERS,
)
from scheduler.domain.jobs import (
    DEFAULT_GRACE_SECONDS,
    Input,
    JobSpec,
    ModelCheckpointSpec,
    Output,
    Port,
    SecretReference,
    StopSignal,
    Volume,
    WriteWhen,
)
from scheduler.domain.object_stores import (
    DEFAULT_REGION,
    PLACEHOLDERS,
    Addressing,
    ObjectStore,
    is_endpoint,
    tells_jobs_apart,
    wrong_placeholder,
)
from scheduler.domain.pools import PoolVolume
from scheduler.domain.reading import Reader

ABSOLUTE_WANTED = "an absolute path without .."


def is_absolute(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("/")
        and "\0" not in value
        and ".." not in value.split("/")
    )


def is_below(path: str, folder: str) -> bool:
    """Whether a path leads to something inside of the folder, and is written plainly."""
    inner = path.removeprefix(f"{folder}/")
    return inner != path and all(part not in ("", ".") for part in inner.split("/"))


def absolute_path(reader: Reader, key: str) -> str | None:
    value = reader.raw(key)
    if value is None:
        return None
    if not is_absolute(value):
        reader.problem(reader.at(key), value, ABSOLUTE_WANTED)
        return None
    return str(value)


def _required_path(reader: Reader, key: str) -> str:
    path = absolute_path(reader, key)
    if path is None and not reader.has(key):
        reader.problem(reader.at(key), None, ABSOLUTE_WANTED)
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


def read_volume(reader: Reader) -> Volume:
    if reader.has("host_path"):
        want = "nothing: an operator gives folders of the hosts names (suanli pools lists them), and a job a name"
        reader.problem(reader.at("host_path"), reader.raw("host_path"), want)
    reader.raw("host_path")
    volume = Volume(
        name=reader.text("name", pattern=NAME_PATTERN, want="name of a volume of the pool"),
        mount_path=_required_path(reader, "mount_path"),
        read_only=bool(reader.boolean("read_only", True)),
    )
    if volume.mount_path and not any(is_below(volume.mount_path, folder) for folder in VOLUME_FOLDERS):
        want = f"a path below {' or '.join(VOLUME_FOLDERS)}, such as {VOLUME_FOLDERS[0]}/corpora"
        reader.problem(reader.at("mount_path"), volume.mount_path, want)
    return volume


def read_pool_volume(reader: Reader) -> PoolVolume:
    """A volume as an operator declares it for a pool."""
    firms = reader.items("firms")
    if not firms or not all(isinstance(firm, str) and re.fullmatch(NAME_PATTERN, firm) for firm in firms):
        reader.problem(reader.at("firms"), firms, "names of the firms that may use it")
        firms = []
    return PoolVolume(
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME_WANTED),
        host_path=_required_path(reader, "host_path"),
        firms=tuple(sorted(set(firms))),
        read_only=bool(reader.boolean("read_only", True)),
        shared=bool(reader.boolean("shared", False)),
    )


def read_secret(reader: Reader) -> SecretReference:
    secret = SecretReference(
        name=reader.text("name", pattern=NAME_PATTERN, want="name of a secret of the project"),
        environment=reader.optional_text(
            "environment", pattern=ENVIRONMENT_PATTERN, want="name of a variable"
        ),
        file=absolute_path(reader, "file"),
    )
    _one_of(reader, {"environment": secret.environment, "file": secret.file})
    if secret.environment is not None and secret.environment.startswith("SUANLI_"):
        reader.problem(
            reader.at("environment"), secret.environment, "a name that does not begin with SUANLI_"
        )
    if secret.file is not None and not is_below(secret.file, SECRET_FOLDER):
        want = f"a path below {SECRET_FOLDER}, such as {SECRET_FOLDER}/token"
        reader.problem(reader.at("file"), secret.file, want)
    return secret


def refuse_doubles(reader: Reader, spec: JobSpec) -> None:
    """A secret's variable or file is its own, and no volume lies at or in another one."""
    places: list[str] = []
    for number, volume in enumerate(spec.volumes):
        path = f"{volume.mount_path}/"
        if any(path.startswith(place) or place.startswith(path) for place in places):
            want = "a path that is not that of another volume, nor above or below it"
            reader.problem(f"volumes[{number}].mount_path", volume.mount_path, want)
        places.append(path)
    taken = {name for variant in spec.variants for name in variant.environment}
    for number, secret in enumerate(spec.secrets):
        place = secret.environment or secret.file or ""
        if place and place in taken:
            key = "environment" if secret.environment else "file"
            reader.problem(f"secrets[{number}].{key}", place, "a name that nothing else of the job has")
        taken.add(place)


def _name_of_store(reader: Reader) -> str | None:
    return reader.optional_text("store", pattern=NAME_PATTERN, want="name of an object store of the pool")


def _credentials(reader: Reader) -> str | None:
    want = "name of a secret of the project that holds the store's keys"
    return reader.optional_text("credentials", pattern=NAME_PATTERN, want=want)


def _only_with_object(reader: Reader, place: str | None, *keys: str) -> None:
    for key in keys:
        if place is None and reader.has(key):
            reader.problem(reader.at(key), reader.raw(key), "nothing: it goes with object alone")


def refuse_wrong_places(reader: Reader, spec: JobSpec) -> None:
    """Placeholders are known, and no two jobs of an array write to one place."""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    listed = [("inputs", number, item.object) for number, item in enumerate(spec.inputs)]
    listed += [("outputs", number, item.object) for number, item in enumerate(spec.outputs)]
    for kind, number, place in listed:
        if not place:
            continue
        where = f"{kind}[{number}].object"
        if wrong_placeholder(place, in_array=spec.array is not None) is not None:
            want = f"no braces but those of {known}; {{array_index}} in an array alone"
            reader.problem(where, place, want)
        elif kind == "outputs" and spec.array is not None and not tells_jobs_apart(place):
            want = "{array_index} or {job_id} in it, or the jobs of the array overwrite each other's outputs"
            reader.problem(where, place, want)


def read_object_store(reader: Reader) -> ObjectStore:
    """An object store as an operator declares it for a pool."""
    endpoint = reader.text("endpoint")
    if endpoint and not is_endpoint(endpoint):
        want = "https://host or https://host:port of an S3-compatible store (http without TLS), and no path"
        reader.problem(reader.at("endpoint"), endpoint, want)
    return ObjectStore(
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME_WANTED),
        endpoint=endpoint.rstrip("/"),
        region=reader.text("region", DEFAULT_REGION, pattern=REGION_PATTERN, want="such as cn-north-4"),
        addressing=Addressing(reader.choice("addressing", Addressing, Addressing.PATH)),
    )


def read_input(reader: Reader) -> Input:
    if reader.has("folder"):
        want = "a digest: suanli submit uploads a local folder and puts its digest here"
        reader.problem(reader.at("folder"), reader.raw("folder"), want)
    found = Input(
        path=_inner_path(reader, "path"),
        digest=reader.optional_text("digest", pattern=DIGEST_PATTERN, want="sha256: and 64 hex digits"),
        object=reader.optional_text("object", pattern=OBJECT_PATTERN, want=OBJECT_WANTED),
        store=_name_of_store(reader),
        credentials=_credentials(reader),
    )
    if not reader.has("folder"):
        _one_of(reader, {"digest": found.digest, "object": found.object})
    _only_with_object(reader, found.object, "store", "credentials")
    return found


def read_output(reader: Reader) -> Output:
    output = Output(
        path=_inner_path(reader, "path"),
        object=reader.optional_text("object", pattern=OBJECT_PATTERN, want=OBJECT_WANTED),
        store=_name_of_store(reader),
        credentials=_credentials(reader),
        when=WriteWhen(reader.choice("when", WriteWhen, WriteWhen.ALWAYS)),
        keep_days=reader.integer("keep_days", 30, low=1, high=3_650),
    )
    _only_with_object(reader, output.object, "store", "credentials")
    return output


def read_ports(reader: Reader) -> tuple[Port, ...]:
    """Numbers, or objects with a name and a rank."""

    def full(item: object) -> object:
        return {"port": item} if isinstance(item, int) and not isinstance(item, bool) else item

    return tuple(reader.each("ports", _port, most=MOST_LISTED, full=full))


def _port(reader: Reader) -> Port:
    return Port(
        port=reader.integer("port", low=1, high=65_535),
        name=reader.optional_text("name", pattern=NAME_PATTERN, want=NAME_WANTED),
        rank=reader.integer("rank", 0, low=0, high=MOST_DEVICES),
    )


def read_model_checkpoint(reader: Reader) -> ModelCheckpointSpec | None:
    if not reader.has("model_checkpoint"):
        reader.raw("model_checkpoint")
        return None
    child = reader.child("model_checkpoint")
    grace = child.seconds("grace_seconds", DEFAULT_GRACE_SECONDS, low=0, high=MOST_GRACE_SECONDS)
    spec = ModelCheckpointSpec(
        directory=absolute_path(child, "directory"),
        signal=StopSignal(child.choice("signal", StopSignal, StopSignal.TERM)),
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
    )
    child.refuse_unknown()
    return spec
