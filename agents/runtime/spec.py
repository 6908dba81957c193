"""What a task is to run, as the agent keeps it."""

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agents.core.readings import WHOLE_PPM
from agents.runtime.private_view import SECRET_FOLDER
from agents.runtime.volumes import MOUNT_FOLDERS, is_plain
from suanli.content.manifest import ContentError, check_path

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


DEFAULT_STOP_SIGNAL = "SIGTERM"
STOP_SIGNALS = frozenset({DEFAULT_STOP_SIGNAL, "SIGINT", "SIGUSR1", "SIGUSR2"})


class SpecError(ValueError):
    """The task cannot be run as it is described; the sentence is for the researcher."""


@dataclass(frozen=True)
class TaskInput:
    """A folder that was sent along: the hash of its manifest, and where to unpack it in the task's folder."""

    manifest_sha256: str
    path: str


@dataclass(frozen=True)
class TaskSecret:
    """What the job is entrusted with, as a variable or as a file. Kept in memory alone."""

    name: str
    environment: str
    file: str
    value: bytes = field(repr=False)


@dataclass(frozen=True)
class TaskVolume:
    """A folder of the host that the task sees at a path of its own; `own`: only its firm's folder in it."""

    name: str
    host_path: str
    mount_path: str
    read_only: bool
    own: bool


@dataclass(frozen=True)
class StoreKeys:
    """By which requests to an object store are signed. Kept in memory alone."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True)
class StoreFolder:
    """Where an input comes from, or an output goes, in an S3-compatible store; `field` is what the job calls it."""

    field: str
    path: str
    endpoint: str
    region: str
    virtual_hosted: bool
    bucket: str
    key: str
    after_success_only: bool
    keys: StoreKeys | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One task of a job. `devices` are indices on this node; `grace_ms` between request to end and kill.

    `firm_uid` is the user id that the control plane names for the firm, 0 where it names none.
    """

    allocation_id: str
    firm_id: str
    firm_uid: int
    job_id: str
    job_name: str
    attempt: int
    rank: int
    gang_size: int
    processes: int
    devices: tuple[int, ...]
    device_model: str
    command: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str
    grace_ms: int
    model_checkpoint: bool
    model_checkpoint_directory: str
    inputs: tuple[TaskInput, ...] = ()
    outputs: tuple[str, ...] = ()  # paths in the task's folder, kept when it has ended
    stop_signal: str = DEFAULT_STOP_SIGNAL  # by which its processes are asked to end
    log_patterns: tuple[str, ...] = ()  # looked for in its output when it has ended badly
    secrets: tuple[TaskSecret, ...] = field(default=(), repr=False)
    share_ppm: int = WHOLE_PPM  # of each device
    share_memory_bytes: int = 0  # of each device, where it has a part; 0: not said
    first_process: int = -1  # rank in the gang of its first process; -1: all tasks have as many processes
    all_processes: int = 0  # of the whole gang; 0: all tasks have as many
    group: str = ""  # in a gang of several
    rank_in_group: int = 0
    groups: dict[str, int] = field(default_factory=dict)  # tasks of each group
    volumes: tuple[TaskVolume, ...] = ()
    image: str = ""  # whose root its processes see; empty: they are plain processes of the host
    image_digest: str = ""  # by which it is to be pulled; empty: by the name alone
    image_secret: str = ""  # name of the secret that opens its registry; empty: none is needed
    image_credentials: bytes = field(default=b"", repr=False)  # what that secret holds
    store_inputs: tuple[StoreFolder, ...] = ()
    store_outputs: tuple[StoreFolder, ...] = ()

    def without_secrets(self) -> "TaskSpec":
        """The same, with nothing that must not be kept."""
        return replace(self.without_keys(), secrets=())

    def without_keys(self) -> "TaskSpec":
        """Without what opens its registry and its object stores: needed no more once it is prepared."""
        inputs = tuple(replace(folder, keys=None) for folder in self.store_inputs)
        outputs = tuple(replace(folder, keys=None) for folder in self.store_outputs)
        return replace(self, image_credentials=b"", store_inputs=inputs, store_outputs=outputs)

    def to_json(self) -> dict[str, Any]:
        """For the task's folder: without the secrets, which pull, launch and transfers take from memory."""
        hidden = ("secrets", "image_credentials")
        return {n: value for n, value in asdict(self.without_secrets()).items() if n not in hidden}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TaskSpec":
        """From the task's folder."""
        lists = {
            "devices": tuple(value["devices"]),
            "command": tuple(value["command"]),
            "inputs": tuple(TaskInput(**item) for item in value.get("inputs", ())),
            "outputs": tuple(value.get("outputs", ())),
            "log_patterns": tuple(value.get("log_patterns", ())),
            "volumes": tuple(TaskVolume(**item) for item in value.get("volumes", ())),
            "store_inputs": tuple(StoreFolder(**item) for item in value.get("store_inputs", ())),
            "store_outputs": tuple(StoreFolder(**item) for item in value.get("store_outputs", ())),
        }
        return cls(**{"firm_uid": 0, **value, **lists})


def check_spec(spec: TaskSpec, devices_of_node: int) -> None:
    """Refuse what could not be started or would reach outside of the task's folder. Raises SpecError."""
    for name in ("allocation_id", "firm_id", "job_id"):
        if not ID_PATTERN.fullmatch(getattr(spec, name)):
            raise SpecError(f"{name} {getattr(spec, name)!r} cannot name a folder")
    if spec.stop_signal not in STOP_SIGNALS:
        raise SpecError(f"a task cannot be asked to end by {spec.stop_signal!r}")
    if not spec.command or not spec.command[0]:
        raise SpecError("the command is empty")
    if spec.processes < 1 or spec.gang_size < 1 or spec.rank >= spec.gang_size:
        raise SpecError(
            f"rank {spec.rank} of {spec.gang_size} with {spec.processes} processes cannot be started"
        )
    if not spec.devices or len(set(spec.devices)) != len(spec.devices):
        raise SpecError("the task names no device, or one twice")
    missing = [index for index in spec.devices if index >= devices_of_node]
    if missing:
        raise SpecError(f"the node has {devices_of_node} devices and none with index {missing[0]}")
    if not 1 <= spec.share_ppm <= WHOLE_PPM or (spec.share_ppm < WHOLE_PPM and len(spec.devices) > 1):
        raise SpecError(f"a part of {spec.share_ppm} ppm of {len(spec.devices)} devices cannot be given")
    if spec.working_directory and not spec.working_directory.startswith("/"):
        raise SpecError(f"the working directory {spec.working_directory!r} is not absolute")
    if spec.model_checkpoint_directory and not spec.model_checkpoint_directory.startswith("/"):
        raise SpecError(f"the model checkpoint folder {spec.model_checkpoint_directory!r} is not absolute")
    _check_paths(spec)
    _check_secrets(spec)
    _check_volumes(spec)
    texts = [*spec.command, *spec.environment, *spec.environment.values()]
    if any("\0" in text for text in texts) or any(not name or "=" in name for name in spec.environment):
        raise SpecError("a command, variable name or value holds a character that no program can be given")


def _check_volumes(spec: TaskSpec) -> None:
    for volume in spec.volumes:
        inside = any(volume.mount_path.startswith(f"{folder}/") for folder in MOUNT_FOLDERS)
        if not inside or not is_plain(volume.mount_path) or not is_plain(volume.host_path):
            raise SpecError(f"the volume {volume.name} cannot lie at {volume.mount_path!r}")


def _check_secrets(spec: TaskSpec) -> None:
    for secret in spec.secrets:
        if bool(secret.environment) == bool(secret.file):
            raise SpecError(f"the secret {secret.name} wants a variable or a file")
        if secret.file and (
            not secret.file.startswith(f"{SECRET_FOLDER}/") or ".." in secret.file.split("/")
        ):
            raise SpecError(
                f"the secret {secret.name} cannot lie at {secret.file!r}, outside of {SECRET_FOLDER}"
            )
        if secret.environment and b"\0" in secret.value:
            raise SpecError(
                f"the secret {secret.name} holds a NUL byte, which no variable can; ask for a file"
            )
        if secret.environment and spec.image and not _is_text(secret.value):
            raise SpecError(
                f"the secret {secret.name} is not UTF-8, which a container's variables are; ask for a file"
            )


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_paths(spec: TaskSpec) -> None:
    stores = (*spec.store_inputs, *spec.store_outputs)
    for path in (*(item.path for item in spec.inputs), *spec.outputs, *(folder.path for folder in stores)):
        if path != ".":
            try:
                check_path(path)
            except ContentError as error:
                raise SpecError(str(error)) from None
