from protos.suanli.fleet.v1 import node_pb2 as _node_pb2
from protos.suanli.fleet.v1 import tunnel_pb2 as _tunnel_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskGoal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_GOAL_UNSPECIFIED: _ClassVar[TaskGoal]
    TASK_GOAL_PREPARE: _ClassVar[TaskGoal]
    TASK_GOAL_RUN: _ClassVar[TaskGoal]
    TASK_GOAL_STOP: _ClassVar[TaskGoal]

class TaskPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_PHASE_UNSPECIFIED: _ClassVar[TaskPhase]
    TASK_PHASE_PREPARING: _ClassVar[TaskPhase]
    TASK_PHASE_READY: _ClassVar[TaskPhase]
    TASK_PHASE_RUNNING: _ClassVar[TaskPhase]
    TASK_PHASE_STOPPING: _ClassVar[TaskPhase]
    TASK_PHASE_ENDED: _ClassVar[TaskPhase]
TASK_GOAL_UNSPECIFIED: TaskGoal
TASK_GOAL_PREPARE: TaskGoal
TASK_GOAL_RUN: TaskGoal
TASK_GOAL_STOP: TaskGoal
TASK_PHASE_UNSPECIFIED: TaskPhase
TASK_PHASE_PREPARING: TaskPhase
TASK_PHASE_READY: TaskPhase
TASK_PHASE_RUNNING: TaskPhase
TASK_PHASE_STOPPING: TaskPhase
TASK_PHASE_ENDED: TaskPhase

class RenewCertificateRequest(_message.Message):
    __slots__ = ("certificate_request_pem", "proof")
    CERTIFICATE_REQUEST_PEM_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    certificate_request_pem: bytes
    proof: bytes
    def __init__(self, certificate_request_pem: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class RenewCertificateResponse(_message.Message):
    __slots__ = ("certificate_pem",)
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    certificate_pem: bytes
    def __init__(self, certificate_pem: _Optional[bytes] = ...) -> None: ...

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "observed", "heartbeat")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    observed: Observed
    heartbeat: Heartbeat
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., observed: _Optional[_Union[Observed, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "desired", "open_tunnel")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    OPEN_TUNNEL_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    desired: Desired
    open_tunnel: _tunnel_pb2.OpenTunnel
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., desired: _Optional[_Union[Desired, _Mapping]] = ..., open_tunnel: _Optional[_Union[_tunnel_pb2.OpenTunnel, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_min", "protocol_max", "agent_version", "node_id", "boot_id", "agent_started_ms", "leader_term", "generation", "devices", "isolation", "rendezvous_address", "place", "one_firm", "one_firm_id", "container_engine", "understands")
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    LEADER_TERM_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    RENDEZVOUS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    ONE_FIRM_FIELD_NUMBER: _ClassVar[int]
    ONE_FIRM_ID_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ENGINE_FIELD_NUMBER: _ClassVar[int]
    UNDERSTANDS_FIELD_NUMBER: _ClassVar[int]
    protocol_min: int
    protocol_max: int
    agent_version: str
    node_id: str
    boot_id: str
    agent_started_ms: int
    leader_term: int
    generation: int
    devices: _containers.RepeatedCompositeFieldContainer[_node_pb2.DeviceClaims]
    isolation: _node_pb2.Isolation
    rendezvous_address: str
    place: Place
    one_firm: bool
    one_firm_id: str
    container_engine: str
    understands: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ..., agent_version: _Optional[str] = ..., node_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., agent_started_ms: _Optional[int] = ..., leader_term: _Optional[int] = ..., generation: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[_node_pb2.DeviceClaims, _Mapping]]] = ..., isolation: _Optional[_Union[_node_pb2.Isolation, str]] = ..., rendezvous_address: _Optional[str] = ..., place: _Optional[_Union[Place, _Mapping]] = ..., one_firm: _Optional[bool] = ..., one_firm_id: _Optional[str] = ..., container_engine: _Optional[str] = ..., understands: _Optional[_Iterable[str]] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("zone", "supernode", "leaf", "position")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    SUPERNODE_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    zone: str
    supernode: str
    leaf: str
    position: int
    def __init__(self, zone: _Optional[str] = ..., supernode: _Optional[str] = ..., leaf: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "heartbeat_ms", "now_ms", "log_checkpoint")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    LOG_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    heartbeat_ms: int
    now_ms: int
    log_checkpoint: bytes
    def __init__(self, protocol: _Optional[int] = ..., heartbeat_ms: _Optional[int] = ..., now_ms: _Optional[int] = ..., log_checkpoint: _Optional[bytes] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("now_ms",)
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    now_ms: int
    def __init__(self, now_ms: _Optional[int] = ...) -> None: ...

class Desired(_message.Message):
    __slots__ = ("leader_term", "generation", "tasks")
    LEADER_TERM_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    leader_term: int
    generation: int
    tasks: _containers.RepeatedCompositeFieldContainer[DesiredTask]
    def __init__(self, leader_term: _Optional[int] = ..., generation: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[DesiredTask, _Mapping]]] = ...) -> None: ...

class DesiredTask(_message.Message):
    __slots__ = ("allocation_id", "goal", "reason", "master_address", "master_port")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MASTER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MASTER_PORT_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    goal: TaskGoal
    reason: str
    master_address: str
    master_port: int
    def __init__(self, allocation_id: _Optional[str] = ..., goal: _Optional[_Union[TaskGoal, str]] = ..., reason: _Optional[str] = ..., master_address: _Optional[str] = ..., master_port: _Optional[int] = ...) -> None: ...

class Observed(_message.Message):
    __slots__ = ("leader_term", "generation", "report_seq", "tasks", "unhealthy_devices")
    LEADER_TERM_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_SEQ_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    UNHEALTHY_DEVICES_FIELD_NUMBER: _ClassVar[int]
    leader_term: int
    generation: int
    report_seq: int
    tasks: _containers.RepeatedCompositeFieldContainer[ObservedTask]
    unhealthy_devices: _containers.RepeatedCompositeFieldContainer[_node_pb2.DeviceClaims]
    def __init__(self, leader_term: _Optional[int] = ..., generation: _Optional[int] = ..., report_seq: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[ObservedTask, _Mapping]]] = ..., unhealthy_devices: _Optional[_Iterable[_Union[_node_pb2.DeviceClaims, _Mapping]]] = ...) -> None: ...

class ObservedTask(_message.Message):
    __slots__ = ("allocation_id", "phase", "rendezvous_port", "started_ms", "ended_ms", "exit_code", "end_reason", "detail", "step_report", "process_ids", "log_pattern", "image_digest")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    RENDEZVOUS_PORT_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STEP_REPORT_FIELD_NUMBER: _ClassVar[int]
    PROCESS_IDS_FIELD_NUMBER: _ClassVar[int]
    LOG_PATTERN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    phase: TaskPhase
    rendezvous_port: int
    started_ms: int
    ended_ms: int
    exit_code: int
    end_reason: str
    detail: str
    step_report: StepReport
    process_ids: _containers.RepeatedScalarFieldContainer[int]
    log_pattern: int
    image_digest: str
    def __init__(self, allocation_id: _Optional[str] = ..., phase: _Optional[_Union[TaskPhase, str]] = ..., rendezvous_port: _Optional[int] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ..., exit_code: _Optional[int] = ..., end_reason: _Optional[str] = ..., detail: _Optional[str] = ..., step_report: _Optional[_Union[StepReport, _Mapping]] = ..., process_ids: _Optional[_Iterable[int]] = ..., log_pattern: _Optional[int] = ..., image_digest: _Optional[str] = ...) -> None: ...

class StepReport(_message.Message):
    __slots__ = ("step", "of", "loss_micros", "tokens", "model_checkpoint", "at_ms")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    LOSS_MICROS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    step: int
    of: int
    loss_micros: int
    tokens: int
    model_checkpoint: str
    at_ms: int
    def __init__(self, step: _Optional[int] = ..., of: _Optional[int] = ..., loss_micros: _Optional[int] = ..., tokens: _Optional[int] = ..., model_checkpoint: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class FetchTaskRequest(_message.Message):
    __slots__ = ("allocation_id", "understands")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    UNDERSTANDS_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    understands: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, allocation_id: _Optional[str] = ..., understands: _Optional[_Iterable[str]] = ...) -> None: ...

class FetchTaskResponse(_message.Message):
    __slots__ = ("allocation_id", "firm_id", "job_id", "job_name", "attempt", "rank", "gang_size", "processes", "device_indices", "device_model", "command", "environment", "working_directory", "grace_ms", "model_checkpoint", "model_checkpoint_directory", "firm_uid", "inputs", "outputs", "stop_signal", "secrets", "log_patterns", "volumes", "store_inputs", "store_outputs", "share_ppm", "share_memory_bytes", "first_process", "all_processes", "group", "rank_in_group", "groups", "image", "image_digest", "image_credentials")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class GroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRM_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    GANG_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_INDICES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MODEL_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECKPOINT_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    FIRM_UID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    STOP_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    LOG_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    STORE_INPUTS_FIELD_NUMBER: _ClassVar[int]
    STORE_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SHARE_PPM_FIELD_NUMBER: _ClassVar[int]
    SHARE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FIRST_PROCESS_FIELD_NUMBER: _ClassVar[int]
    ALL_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RANK_IN_GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    firm_id: str
    job_id: str
    job_name: str
    attempt: int
    rank: int
    gang_size: int
    processes: int
    device_indices: _containers.RepeatedScalarFieldContainer[int]
    device_model: str
    command: _containers.RepeatedScalarFieldContainer[str]
    environment: _containers.ScalarMap[str, str]
    working_directory: str
    grace_ms: int
    model_checkpoint: bool
    model_checkpoint_directory: str
    firm_uid: int
    inputs: _containers.RepeatedCompositeFieldContainer[TaskInput]
    outputs: _containers.RepeatedScalarFieldContainer[str]
    stop_signal: str
    secrets: _containers.RepeatedCompositeFieldContainer[TaskSecret]
    log_patterns: _containers.RepeatedScalarFieldContainer[str]
    volumes: _containers.RepeatedCompositeFieldContainer[TaskVolume]
    store_inputs: _containers.RepeatedCompositeFieldContainer[StoreFolder]
    store_outputs: _containers.RepeatedCompositeFieldContainer[StoreFolder]
    share_ppm: int
    share_memory_bytes: int
    first_process: int
    all_processes: int
    group: str
    rank_in_group: int
    groups: _containers.ScalarMap[str, int]
    image: str
    image_digest: str
    image_credentials: TaskSecret
    def __init__(self, allocation_id: _Optional[str] = ..., firm_id: _Optional[str] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., attempt: _Optional[int] = ..., rank: _Optional[int] = ..., gang_size: _Optional[int] = ..., processes: _Optional[int] = ..., device_indices: _Optional[_Iterable[int]] = ..., device_model: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., environment: _Optional[_Mapping[str, str]] = ..., working_directory: _Optional[str] = ..., grace_ms: _Optional[int] = ..., model_checkpoint: _Optional[bool] = ..., model_checkpoint_directory: _Optional[str] = ..., firm_uid: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[TaskInput, _Mapping]]] = ..., outputs: _Optional[_Iterable[str]] = ..., stop_signal: _Optional[str] = ..., secrets: _Optional[_Iterable[_Union[TaskSecret, _Mapping]]] = ..., log_patterns: _Optional[_Iterable[str]] = ..., volumes: _Optional[_Iterable[_Union[TaskVolume, _Mapping]]] = ..., store_inputs: _Optional[_Iterable[_Union[StoreFolder, _Mapping]]] = ..., store_outputs: _Optional[_Iterable[_Union[StoreFolder, _Mapping]]] = ..., share_ppm: _Optional[int] = ..., share_memory_bytes: _Optional[int] = ..., first_process: _Optional[int] = ..., all_processes: _Optional[int] = ..., group: _Optional[str] = ..., rank_in_group: _Optional[int] = ..., groups: _Optional[_Mapping[str, int]] = ..., image: _Optional[str] = ..., image_digest: _Optional[str] = ..., image_credentials: _Optional[_Union[TaskSecret, _Mapping]] = ...) -> None: ...

class StoreFolder(_message.Message):
    __slots__ = ("field", "path", "endpoint", "region", "virtual_hosted", "bucket", "key", "access_key", "secret_key", "session_token", "after_success_only")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_HOSTED_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_SUCCESS_ONLY_FIELD_NUMBER: _ClassVar[int]
    field: str
    path: str
    endpoint: str
    region: str
    virtual_hosted: bool
    bucket: str
    key: str
    access_key: str
    secret_key: str
    session_token: str
    after_success_only: bool
    def __init__(self, field: _Optional[str] = ..., path: _Optional[str] = ..., endpoint: _Optional[str] = ..., region: _Optional[str] = ..., virtual_hosted: _Optional[bool] = ..., bucket: _Optional[str] = ..., key: _Optional[str] = ..., access_key: _Optional[str] = ..., secret_key: _Optional[str] = ..., session_token: _Optional[str] = ..., after_success_only: _Optional[bool] = ...) -> None: ...

class TaskVolume(_message.Message):
    __slots__ = ("name", "host_path", "mount_path", "read_only", "own")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_PATH_FIELD_NUMBER: _ClassVar[int]
    MOUNT_PATH_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    host_path: str
    mount_path: str
    read_only: bool
    own: bool
    def __init__(self, name: _Optional[str] = ..., host_path: _Optional[str] = ..., mount_path: _Optional[str] = ..., read_only: _Optional[bool] = ..., own: _Optional[bool] = ...) -> None: ...

class TaskSecret(_message.Message):
    __slots__ = ("name", "environment", "file", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    environment: str
    file: str
    value: bytes
    def __init__(self, name: _Optional[str] = ..., environment: _Optional[str] = ..., file: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class TaskInput(_message.Message):
    __slots__ = ("manifest_sha256", "path")
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    manifest_sha256: str
    path: str
    def __init__(self, manifest_sha256: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...
