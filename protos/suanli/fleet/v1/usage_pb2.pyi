from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadRequest(_message.Message):
    __slots__ = ("header", "signature", "segments", "packed")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    signature: bytes
    segments: _containers.RepeatedCompositeFieldContainer[SaltedSegment]
    packed: bytes
    def __init__(self, header: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., segments: _Optional[_Iterable[_Union[SaltedSegment, _Mapping]]] = ..., packed: _Optional[bytes] = ...) -> None: ...

class SaltedSegment(_message.Message):
    __slots__ = ("salt", "body")
    SALT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    salt: bytes
    body: bytes
    def __init__(self, salt: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ("acknowledged", "refused", "stored")
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    acknowledged: Acknowledged
    refused: Refused
    stored: Stored
    def __init__(self, acknowledged: _Optional[_Union[Acknowledged, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., stored: _Optional[_Union[Stored, _Mapping]] = ...) -> None: ...

class Acknowledged(_message.Message):
    __slots__ = ("seq", "log_checkpoint")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LOG_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    log_checkpoint: bytes
    def __init__(self, seq: _Optional[int] = ..., log_checkpoint: _Optional[bytes] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("seq", "field", "detail")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    seq: int
    field: str
    detail: str
    def __init__(self, seq: _Optional[int] = ..., field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Stored(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...
