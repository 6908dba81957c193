from protos.suanli.fleet.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrolRequest(_message.Message):
    __slots__ = ("join_token", "node_name", "public_key", "proof", "certificate_request_pem", "devices", "metering_from_ms", "agent_version")
    JOIN_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_PEM_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    METERING_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    join_token: str
    node_name: str
    public_key: bytes
    proof: bytes
    certificate_request_pem: bytes
    devices: _containers.RepeatedCompositeFieldContainer[_node_pb2.DeviceClaims]
    metering_from_ms: int
    agent_version: str
    def __init__(self, join_token: _Optional[str] = ..., node_name: _Optional[str] = ..., public_key: _Optional[bytes] = ..., proof: _Optional[bytes] = ..., certificate_request_pem: _Optional[bytes] = ..., devices: _Optional[_Iterable[_Union[_node_pb2.DeviceClaims, _Mapping]]] = ..., metering_from_ms: _Optional[int] = ..., agent_version: _Optional[str] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("node_id", "devices", "certificate_pem", "window_ms", "metering_from_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    METERING_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    devices: _containers.RepeatedCompositeFieldContainer[_node_pb2.DeviceClaims]
    certificate_pem: bytes
    window_ms: int
    metering_from_ms: int
    def __init__(self, node_id: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[_node_pb2.DeviceClaims, _Mapping]]] = ..., certificate_pem: _Optional[bytes] = ..., window_ms: _Optional[int] = ..., metering_from_ms: _Optional[int] = ...) -> None: ...
