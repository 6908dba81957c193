from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FetchObjectRequest(_message.Message):
    __slots__ = ("allocation_id", "sha256")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    sha256: str
    def __init__(self, allocation_id: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class FetchObjectResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class FindMissingRequest(_message.Message):
    __slots__ = ("allocation_id", "sha256")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, allocation_id: _Optional[str] = ..., sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class FindMissingResponse(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class StoreObjectRequest(_message.Message):
    __slots__ = ("allocation_id", "data")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    data: bytes
    def __init__(self, allocation_id: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class StoreObjectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteResultsRequest(_message.Message):
    __slots__ = ("allocation_id", "manifest_sha256", "problem")
    ALLOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    allocation_id: str
    manifest_sha256: str
    problem: str
    def __init__(self, allocation_id: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class CompleteResultsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
