from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_STREAM_UNSPECIFIED: _ClassVar[LogStream]
    LOG_STREAM_STDOUT: _ClassVar[LogStream]
    LOG_STREAM_STDERR: _ClassVar[LogStream]
LOG_STREAM_UNSPECIFIED: LogStream
LOG_STREAM_STDOUT: LogStream
LOG_STREAM_STDERR: LogStream

class AppendRequest(_message.Message):
    __slots__ = ("allocation_id", "local_rank", "stream", "offset", "data", "complete")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    LOCAL_RANK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    local_rank: int
    stream: LogStream
    offset: int
    data: bytes
    complete: bool
    def __init__(self, allocation_id: _Optional[str] = ..., local_rank: _Optional[int] = ..., stream: _Optional[_Union[LogStream, str]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., complete: _Optional[bool] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("allocation_id", "local_rank", "stream", "stored")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    LOCAL_RANK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    local_rank: int
    stream: LogStream
    stored: int
    def __init__(self, allocation_id: _Optional[str] = ..., local_rank: _Optional[int] = ..., stream: _Optional[_Union[LogStream, str]] = ..., stored: _Optional[int] = ...) -> None: ...
