from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OpenTunnel(_message.Message):
    __slots__ = ("tunnel_id", "allocation_id", "port", "terminal", "samples")
    TUNNEL_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    tunnel_id: str
    allocation_id: str
    port: int
    terminal: Terminal
    samples: RawSamples
    def __init__(self, tunnel_id: _Optional[str] = ..., allocation_id: _Optional[str] = ..., port: _Optional[int] = ..., terminal: _Optional[_Union[Terminal, _Mapping]] = ..., samples: _Optional[_Union[RawSamples, _Mapping]] = ...) -> None: ...

class Terminal(_message.Message):
    __slots__ = ("local_rank", "command", "kind", "size")
    LOCAL_RANK_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    local_rank: int
    command: _containers.RepeatedScalarFieldContainer[str]
    kind: str
    size: WindowSize
    def __init__(self, local_rank: _Optional[int] = ..., command: _Optional[_Iterable[str]] = ..., kind: _Optional[str] = ..., size: _Optional[_Union[WindowSize, _Mapping]] = ...) -> None: ...

class RawSamples(_message.Message):
    __slots__ = ("stretches",)
    STRETCHES_FIELD_NUMBER: _ClassVar[int]
    stretches: _containers.RepeatedCompositeFieldContainer[SampleStretch]
    def __init__(self, stretches: _Optional[_Iterable[_Union[SampleStretch, _Mapping]]] = ...) -> None: ...

class SampleStretch(_message.Message):
    __slots__ = ("device_id", "start_ms", "end_ms", "allocation_id")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    start_ms: int
    end_ms: int
    allocation_id: str
    def __init__(self, device_id: _Optional[str] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., allocation_id: _Optional[str] = ...) -> None: ...

class WindowSize(_message.Message):
    __slots__ = ("columns", "rows")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    columns: int
    rows: int
    def __init__(self, columns: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class CarryRequest(_message.Message):
    __slots__ = ("tunnel_id", "opened", "data", "finished", "ended")
    TUNNEL_ID_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    tunnel_id: str
    opened: TunnelOpened
    data: bytes
    finished: TunnelFinished
    ended: TunnelEnded
    def __init__(self, tunnel_id: _Optional[str] = ..., opened: _Optional[_Union[TunnelOpened, _Mapping]] = ..., data: _Optional[bytes] = ..., finished: _Optional[_Union[TunnelFinished, _Mapping]] = ..., ended: _Optional[_Union[TunnelEnded, _Mapping]] = ...) -> None: ...

class TunnelOpened(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TunnelFinished(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TunnelEnded(_message.Message):
    __slots__ = ("reason", "detail", "exit_code")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    exit_code: int
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...

class CarryResponse(_message.Message):
    __slots__ = ("data", "finished", "size")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    finished: TunnelFinished
    size: WindowSize
    def __init__(self, data: _Optional[bytes] = ..., finished: _Optional[_Union[TunnelFinished, _Mapping]] = ..., size: _Optional[_Union[WindowSize, _Mapping]] = ...) -> None: ...
