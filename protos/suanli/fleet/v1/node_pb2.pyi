from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeviceHealth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_HEALTH_UNSPECIFIED: _ClassVar[DeviceHealth]
    DEVICE_HEALTH_OK: _ClassVar[DeviceHealth]
    DEVICE_HEALTH_DEGRADED: _ClassVar[DeviceHealth]
    DEVICE_HEALTH_FAULTY: _ClassVar[DeviceHealth]

class Isolation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ISOLATION_UNSPECIFIED: _ClassVar[Isolation]
    ISOLATION_UID: _ClassVar[Isolation]
    ISOLATION_NONE: _ClassVar[Isolation]
    ISOLATION_NAMESPACE: _ClassVar[Isolation]
DEVICE_HEALTH_UNSPECIFIED: DeviceHealth
DEVICE_HEALTH_OK: DeviceHealth
DEVICE_HEALTH_DEGRADED: DeviceHealth
DEVICE_HEALTH_FAULTY: DeviceHealth
ISOLATION_UNSPECIFIED: Isolation
ISOLATION_UID: Isolation
ISOLATION_NONE: Isolation
ISOLATION_NAMESPACE: Isolation

class DeviceClaims(_message.Message):
    __slots__ = ("vendor", "model", "index", "serial", "uuid", "bus_address", "driver", "driver_version", "simulated", "memory_bytes", "fast_link_group", "health", "device_id", "die_id", "firmware")
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    BUS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAST_LINK_GROUP_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DIE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRMWARE_FIELD_NUMBER: _ClassVar[int]
    vendor: str
    model: str
    index: int
    serial: str
    uuid: str
    bus_address: str
    driver: str
    driver_version: str
    simulated: bool
    memory_bytes: int
    fast_link_group: int
    health: DeviceHealth
    device_id: str
    die_id: str
    firmware: str
    def __init__(self, vendor: _Optional[str] = ..., model: _Optional[str] = ..., index: _Optional[int] = ..., serial: _Optional[str] = ..., uuid: _Optional[str] = ..., bus_address: _Optional[str] = ..., driver: _Optional[str] = ..., driver_version: _Optional[str] = ..., simulated: _Optional[bool] = ..., memory_bytes: _Optional[int] = ..., fast_link_group: _Optional[int] = ..., health: _Optional[_Union[DeviceHealth, str]] = ..., device_id: _Optional[str] = ..., die_id: _Optional[str] = ..., firmware: _Optional[str] = ...) -> None: ...
