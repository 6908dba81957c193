"""Making this host a node, and asking again for what was answered then."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents import wire
from agents.core.readings import Health
from agents.devices.driver import Device, Driver
from agents.link import CHANNEL_OPTIONS, RETRIED, Backoff, NowAndThen
from agents.node_record import TLS_CERTIFICATE_FILE, TLS_KEY_FILE, NodeRecord, save_record
from agents.refusals import EnrolmentRefused, StateUnusable, UsageError
from agents.state_folder import StateFolder
from protos.suanli.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, node_pb2
from suanli.evidence.keys import SigningKey

PROOF_LABEL = b"suanli/enrol/v1\n"
CALL_TIMEOUT_S = 15.0

_log = logging.getLogger("agents.enrol")


@dataclass(frozen=True)
class Application:
    """What is needed to become a node."""

    target: str
    authority_pem: bytes
    join_token_file: Path | None
    node_name: str
    agent_version: str


def tls_key(state: StateFolder) -> bytes:
    """PEM of the agent's TLS key, made at the first start. ECDSA, because BoringSSL does no Ed25519."""
    pem = state.read(TLS_KEY_FILE)
    if pem is None:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        state.write(TLS_KEY_FILE, pem)
    return pem


def certificate_request(key_pem: bytes, node_name: str) -> bytes:
    """PEM of a signing request for the TLS key."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StateUnusable(f"{TLS_KEY_FILE} in the state folder is not an ECDSA key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def read_join_token(path: Path | None) -> str:
    """The secret in the file. Raises UsageError."""
    if path is None:
        raise UsageError("this host is not enrolled yet: --join-token-file is needed for the first start")
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the join token in {path} cannot be read: {error}") from None
    if not token.startswith("sjt_"):
        raise UsageError(f"{path} holds no join token (they begin with sjt_)")
    return token


async def enrol(
    state: StateFolder,
    application: Application,
    key: SigningKey,
    driver: Driver,
    devices: Sequence[Device],
    now_ms: Callable[[], int],
) -> NodeRecord:
    """Ask until the gateway answers, and keep the answer. Raises EnrolmentRefused, UsageError, StateUnusable."""
    claims = [wire.claims(d, driver.name, driver.simulated, Health.OK) for d in devices]
    answer = await _apply(state, application, key, claims, now_ms)
    state.write(TLS_CERTIFICATE_FILE, answer.certificate_pem)
    record = NodeRecord(
        node_id=answer.node_id,
        node_name=application.node_name,
        window_ms=answer.window_ms,
        metering_from_ms=answer.metering_from_ms,
        devices=tuple(wire.identity(device) for device in answer.devices),
    )
    save_record(state, record)
    _log.info("enrolled as node %s with %d devices", record.node_id, len(record.devices))
    return record


async def enrol_again(
    state: StateFolder,
    application: Application,
    key: SigningKey,
    record: NodeRecord,
    now_ms: Callable[[], int],
) -> bytes:
    """Another certificate for a node whose own has ended. Raises EnrolmentRefused, UsageError."""
    if not application.target or application.join_token_file is None:
        raise EnrolmentRefused(
            "this node's certificate has ended: start the agent with --enrolment and a --join-token-file of the "
            "node's pool (an expired token will do) to get another one"
        )
    claims = [wire.claims_of(identity) for identity in record.devices]
    answer = await _apply(state, application, key, claims, now_ms)
    if answer.node_id != record.node_id:
        raise EnrolmentRefused(f"the gateway takes this host for node {answer.node_id}, not {record.node_id}")
    return bytes(answer.certificate_pem)


async def _apply(
    state: StateFolder,
    application: Application,
    key: SigningKey,
    claims: Sequence[node_pb2.DeviceClaims],
    now_ms: Callable[[], int],
) -> enrolment_pb2.EnrolResponse:
    token = read_join_token(application.join_token_file)
    key_pem = tls_key(state)
    request = enrolment_pb2.EnrolRequest(
        join_token=token,
        node_name=application.node_name,
        public_key=key.public_key,
        proof=key.sign(PROOF_LABEL + application.node_name.encode("utf-8")),
        certificate_request_pem=certificate_request(key_pem, application.node_name),
        devices=claims,
        agent_version=application.agent_version,
    )
    credentials = grpc.ssl_channel_credentials(application.authority_pem)
    async with grpc.aio.secure_channel(application.target, credentials, options=CHANNEL_OPTIONS) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)  # type: ignore[no-untyped-call]
        return await _ask(stub, request, application.target, now_ms)


async def _ask(
    stub: enrolment_pb2_grpc.EnrolmentServiceStub,
    request: enrolment_pb2.EnrolRequest,
    target: str,
    now_ms: Callable[[], int],
) -> enrolment_pb2.EnrolResponse:
    backoff = Backoff()
    saying = NowAndThen(_log)
    while True:
        request.metering_from_ms = now_ms()
        try:
            answer: enrolment_pb2.EnrolResponse = await stub.Enrol(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRIED:
                raise EnrolmentRefused(
                    f"the gateway {target} refused to enrol this host: {error.details()}"
                ) from None
            saying.say(
                f"the gateway {target} cannot be reached to enrol this host ({error.details()}); trying on"
            )
        else:
            return answer
        await backoff.pause()
