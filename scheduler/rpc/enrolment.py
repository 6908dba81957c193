"""EnrolmentService: the one door for hosts that are no nodes yet."""

import structlog

from protos.suanli.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, node_pb2
from scheduler.domain.errors import DomainError
from scheduler.domain.ids import Ids
from scheduler.rpc.certificates import CertificateAuthority
from scheduler.rpc.connections import now_ms
from scheduler.rpc.metrics import ENROLMENTS
from scheduler.rpc.statuses import Context, refusals
from scheduler.services.enrolment import Application, Enrolled, NewDevice, enrol
from scheduler.storage.engine import Database
from scheduler.storage.uninterrupted import whole
from suanli.evidence.identities import DeviceIdentity

_log = structlog.get_logger(__name__)


class EnrolmentServicer(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Registers nodes and signs their certificates."""

    def __init__(self, database: Database, authority: CertificateAuthority, ids: Ids, window_ms: int) -> None:
        self._database = database
        self._authority = authority
        self._ids = ids
        self._window_ms = window_ms

    async def Enrol(
        self, request: enrolment_pb2.EnrolRequest, context: Context
    ) -> enrolment_pb2.EnrolResponse:
        """Make the calling host a node."""
        async with refusals(context, "Enrol"):
            try:
                enrolled = await whole(self._enrol(_application(request)))
            except DomainError as error:
                ENROLMENTS.labels(outcome=error.code).inc()
                raise
            ENROLMENTS.labels(outcome="enrolled" if enrolled.first_time else "repeated").inc()
            _log.info(
                "node_enrolled",
                node_id=enrolled.node_id,
                node_name=request.node_name,
                devices=len(enrolled.devices),
                first_time=enrolled.first_time,
            )
            return self._answer(enrolled)
        raise AssertionError("refusals() ends every failed call")

    async def _enrol(self, application: Application) -> Enrolled:
        async with self._database.transaction() as session:
            return await enrol(session, application, self._authority.sign, self._ids, now_ms())

    def _answer(self, enrolled: Enrolled) -> enrolment_pb2.EnrolResponse:
        return enrolment_pb2.EnrolResponse(
            node_id=enrolled.node_id,
            devices=[_to_wire(device) for device in enrolled.devices],
            certificate_pem=enrolled.certificate_pem,
            window_ms=self._window_ms,
            metering_from_ms=enrolled.metering_from_ms,
        )


def _application(request: enrolment_pb2.EnrolRequest) -> Application:
    return Application(
        join_token=request.join_token,
        node_name=request.node_name,
        public_key=request.public_key,
        proof=request.proof,
        certificate_request_pem=request.certificate_request_pem,
        devices=tuple(_from_wire(claims) for claims in request.devices),
        metering_from_ms=request.metering_from_ms,
    )


def _from_wire(claims: node_pb2.DeviceClaims) -> NewDevice:
    def optional(name: str) -> str | None:
        return str(getattr(claims, name)) if claims.HasField(name) and getattr(claims, name) else None

    identity = DeviceIdentity(
        device_id="",
        vendor=claims.vendor,
        model=claims.model,
        index=claims.index,
        serial=optional("serial"),
        uuid=optional("uuid"),
        bus_address=optional("bus_address"),
        driver=claims.driver,
        driver_version=optional("driver_version"),
        simulated=claims.simulated,
        die_id=optional("die_id"),
        firmware=optional("firmware"),
    )
    return NewDevice(identity, claims.memory_bytes, claims.fast_link_group)


def _to_wire(device: NewDevice) -> node_pb2.DeviceClaims:
    identity = device.identity
    return node_pb2.DeviceClaims(
        vendor=identity.vendor,
        model=identity.model,
        index=identity.index,
        serial=identity.serial,
        uuid=identity.uuid,
        bus_address=identity.bus_address,
        driver=identity.driver,
        driver_version=identity.driver_version,
        simulated=identity.simulated,
        memory_bytes=device.memory_bytes,
        fast_link_group=device.fast_link_group,
        health=node_pb2.DEVICE_HEALTH_OK,
        device_id=identity.device_id,
        die_id=identity.die_id,
        firmware=identity.firmware,
    )
