"""From settings to a running agent: what this host can do, who the node is, and its first connection."""

import asyncio
import hashlib
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from agents.devices.detect import open_driver
from agents.devices.driver import Driver, DriverError
from agents.devices.enrolled import EnrolledDevices
from agents.enrol import Application, enrol, enrol_again
from agents.link import FleetChannel
from agents.metering import DRIVER_PATIENCE_S
from agents.node import Abilities, Agent
from agents.node_record import TLS_CERTIFICATE_FILE, Identity, NodeRecord, load_record, read_tls
from agents.refusals import NoDevices, UsageError
from agents.renewal import has_ended
from agents.runtime.containers import Containers, find_runtime
from agents.runtime.images import find_images
from agents.runtime.isolation import Isolation, why_no_private_view
from agents.runtime.volumes import MOUNT_FOLDERS
from agents.settings import AGENT_VERSION, Settings
from agents.signing import load_or_make_key
from agents.spool import Spool
from agents.state_folder import StateFolder
from suanli.evidence.keys import SigningKey

RUNTIME_FOLDER = Path("/run/suanli-agent")

_log = logging.getLogger("agents.start")
_Answer = TypeVar("_Answer")


def find_isolation(settings: Settings, spool: Spool, driver: EnrolledDevices) -> Isolation:
    """What this host can do to keep firms apart, tried for real, and said where it is less than it could be."""
    root = os.geteuid() == 0
    missing = why_no_private_view(driver.closed_nodes(())) if root else "the agent does not run as root"
    isolation = Isolation(
        spool,
        settings.firm_uids,
        accept_none=settings.accept_no_isolation,
        root=root,
        private_view=not missing,
        nodes_known=driver.nodes_known(),
    )
    if settings.accept_no_isolation:
        _log.warning("--accept-no-isolation: every task runs as the agent's own user, and windows say so")
    elif missing:
        _log.warning("tasks get no view of the host of their own: %s", missing)
    elif not driver.nodes_known():
        _log.warning(
            "the %s driver does not know every device's nodes: devices are told apart by variables only",
            driver.name,
        )
    return isolation


def find_containers(settings: Settings, state: StateFolder, isolation: Isolation) -> Containers | None:
    """What this host runs containers with; where its operator wants some and it cannot, why is said."""
    if not settings.image_registries:
        return None
    if not isolation.private_view:
        _log.warning("no container is run here: tasks get no view of the host of their own")
        return None
    images = find_images(
        settings.container_engine,
        settings.image_registries,
        state.path,
        settings.images_gib,
        settings.images_free_gib,
    )
    # In memory: a runtime keeps what it is told, with a job's secrets, until the container is gone.
    own = hashlib.sha256(os.fsencode(state.path.absolute())).hexdigest()[:16]
    runtime = find_runtime(settings.container_runtime, RUNTIME_FOLDER / own)
    for found in (images, runtime):
        if isinstance(found, str):
            _log.warning("no container is run here: %s", found)
    if isinstance(images, str) or isinstance(runtime, str):
        return None
    images.sweep(folder.name for folder in state.tasks.iterdir())
    containers = Containers(images, runtime)
    _log.info("containers: %s; images from %s", containers, ", ".join(settings.image_registries))
    return containers


def _need_kernel() -> None:
    """Shims are watched by pidfd, which names a process without the risk of meeting a later one."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        raise UsageError(f"the agent needs Linux 5.3 or newer: pidfd_open says {error.strerror}") from None


def make_mount_folder(settings: Settings) -> None:
    """Where volumes may lie on every host: a view of a task can have no folder in / that the host has not."""
    folder = Path(MOUNT_FOLDERS[0])
    if settings.volume_roots and os.geteuid() == 0 and not folder.exists():
        try:
            folder.mkdir(mode=0o755)
        except OSError as error:
            _log.warning("no volume can lie below %s: %s", folder, error.strerror)


def find_devices(settings: Settings) -> Driver:
    """The host's driver. Raises NoDevices."""
    try:
        return open_driver(settings.driver, settings.simulate, settings.node_name)
    except DriverError as error:
        raise NoDevices(str(error)) from None


async def run_agent(settings: Settings) -> None:
    """Enrol where needed, then run until SIGTERM or SIGINT. Raises AgentError."""
    try:
        authority = settings.authority.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the authority's certificate {settings.authority} cannot be read: {error.strerror}"
        ) from None
    _need_kernel()
    make_mount_folder(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = StateFolder(settings.state, crossed_by_tasks=os.geteuid() == 0)
    try:
        key = load_or_make_key(state)
        spool = Spool(state.spool)
        spool.check_signatures(key.public_key)
        driver = find_devices(settings)
        record = load_record(state) or await _enrol(settings, state, authority, key, driver, stop)
        if record is None:
            return
        devices = EnrolledDevices(driver, record.devices)
        _say_of(devices)
        again = _again(settings, state, authority, key, record)
        tls_key, certificate = read_tls(state)
        if has_ended(certificate):
            renewed = await _unless_stopped(again(), stop)
            if renewed is None:
                return
            state.write(TLS_CERTIFICATE_FILE, renewed)
            certificate = renewed
        channel = FleetChannel(settings.gateway, authority, tls_key, certificate)
        try:
            isolation = find_isolation(settings, spool, devices)
            identity = Identity(record, key)
            abilities = Abilities(isolation, find_containers(settings, state, isolation))
            await Agent(settings, state, spool, identity, devices, channel, abilities, again).run(stop)
        finally:
            await channel.close()
        spool.close()
        await let_go(driver)
    finally:
        state.close()


async def let_go(driver: Driver, patience_s: float = DRIVER_PATIENCE_S) -> None:
    """Close the driver, in a thread: vendors' libraries hang where a device is lost."""
    try:
        async with asyncio.timeout(patience_s):
            await asyncio.to_thread(driver.close)
    except TimeoutError:
        _log.warning("the %s driver does not close: the agent ends without it", driver.name)


async def _enrol(
    settings: Settings,
    state: StateFolder,
    authority: bytes,
    key: SigningKey,
    driver: Driver,
    stop: asyncio.Event,
) -> NodeRecord | None:
    """The new record; None where the agent was told to stop before there was one."""
    application = Application(
        settings.enrolment, authority, settings.join_token_file, settings.node_name, AGENT_VERSION
    )
    try:
        devices = driver.inventory()
    except DriverError as error:
        raise NoDevices(str(error)) from None
    return await _unless_stopped(enrol(state, application, key, driver, devices, _wall_ms), stop)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def _unless_stopped(work: Coroutine[Any, Any, _Answer], stop: asyncio.Event) -> _Answer | None:
    """What the work gives; None where the agent was told to stop before."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return None
    return working.result()


def _again(
    settings: Settings, state: StateFolder, authority: bytes, key: SigningKey, record: NodeRecord
) -> Callable[[], Coroutine[Any, Any, bytes]]:
    """How this node gets another certificate when its own has ended."""

    async def again() -> bytes:
        application = Application(
            settings.enrolment, authority, settings.join_token_file, record.node_name, AGENT_VERSION
        )
        return await enrol_again(state, application, key, record, _wall_ms)

    return again


def _say_of(devices: EnrolledDevices) -> None:
    for index in devices.missing:
        _log.warning("device %d of the node is not there any more; it is metered as faulty", index)
    for stranger in devices.strangers:
        _log.warning(
            "device %s (%s) is not enrolled; it is not used",
            stranger.serial or stranger.index,
            stranger.model,
        )
