"""`suanli-agent`: the command line of the agent. argparse, to keep what a host must install small.

Exit codes: 0 ended as asked, 2 wrong or missing setting, 3 enrolment refused, 4 another agent runs on the
state folder, 5 metrics address taken, 6 state folder unusable, 7 no device.
"""

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.devices.detect import DRIVERS, open_driver
from agents.devices.driver import DriverError
from agents.refusals import AgentError, NoDevices, UsageError
from agents.runtime.image_names import is_registry
from agents.runtime.isolation import UidRange
from agents.runtime.launch import is_loopback
from agents.runtime.volumes import is_plain
from agents.samples import write_packet
from agents.settings import AGENT_VERSION, Place, Settings
from agents.state_folder import StateFolder
from suanli.evidence.errors import EvidenceError
from suanli.evidence.sampling import parse_request

DEFAULT_FIRM_UIDS = "400000-499999"
LEAST_TOKEN_CHARACTERS = 16
END_PATIENCE_S = 10.0  # for threads, when all is said and signed
PLACE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
SAMPLE_MS_RANGE = (50, 60_000)
ENVIRONMENT_PREFIX = "SUANLI_AGENT_"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code and says one sentence where it is not 0."""
    # A fork of ours is followed by system calls only; gRPC's own fork handlers would wait for its threads.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
    except AgentError as error:
        print(f"suanli-agent: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="suanli-agent", description="The Suanli agent of one host.")
    parser.add_argument("--version", action="version", version=f"suanli-agent {AGENT_VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run the agent",
        description=f"Every option can also be given as {ENVIRONMENT_PREFIX}NAME in the environment.",
    )
    run.set_defaults(command=_run)
    _option(run, "--state", "folder of the agent's keys, spool and tasks", metavar="DIR")
    _option(run, "--gateway", "fleet port of the gateway", metavar="HOST:PORT")
    _option(
        run, "--enrolment", "enrolment port of the gateway; needed for the first start", metavar="HOST:PORT"
    )
    _option(run, "--ca", "certificate of the installation's authority, PEM", metavar="FILE")
    _option(run, "--join-token-file", "file with the join token; needed for the first start", metavar="FILE")
    _option(run, "--node-name", "name of this node", default=socket.gethostname(), metavar="NAME")
    _option(run, "--rendezvous-address", "where tasks of other nodes reach this one", default="127.0.0.1")
    _place_option(run)
    _flag(
        run,
        "--accept-no-isolation",
        "run every task as the agent's own user; windows say that firms are not apart",
    )
    _option(run, "--sample-ms", "between two readings of the devices", default="1000", metavar="MS")
    _option(run, "--samples-days", "days for which raw samples are kept", default="90", metavar="DAYS")
    _option(run, "--samples-gib", "and how much of the disk they may take", default="8", metavar="GIB")
    _option(run, "--metrics", "serve /metrics and /healthz there", metavar="HOST:PORT")
    _option(
        run,
        "--metrics-token-file",
        "file with the token that readers of /metrics must bear; needed where --metrics is not on loopback",
        metavar="FILE",
    )
    _option(run, "--checkpoint-root", "folder for model checkpoints, shared between nodes", metavar="DIR")
    _option(
        run,
        "--volume-root",
        "folders of this host, separated by :, in which the control plane's volumes may lie; none without it",
        metavar="DIR[:DIR]",
    )
    _option(
        run,
        "--firm-uids",
        "user ids that the control plane may give firms",
        default=DEFAULT_FIRM_UIDS,
        metavar="FIRST-LAST",
    )
    _flag(run, "--stop-tasks-on-exit", "end the tasks when the agent ends")
    _option(run, "--attach-idle-seconds", "end a terminal that is silent for so long", default="3600")
    _container_options(run)
    devices = commands.add_parser("devices", help="show the host's devices")
    devices.set_defaults(command=_devices)
    devices.add_argument("--json", action="store_true", help="as JSON")
    _option(devices, "--node-name", "name of this node", default=socket.gethostname(), metavar="NAME")
    _add_samples(commands)
    for command in (run, devices):
        _option(
            command, "--driver", "auto, simulated, ascend, mthreads, nvidia", default="auto", metavar="NAME"
        )
        _option(
            command,
            "--simulate",
            "devices that are not there, for example ascend-910b3:8",
            metavar="MODEL:COUNT",
        )
    return parser


def _container_options(run: argparse.ArgumentParser) -> None:
    _option(
        run,
        "--image-registries",
        "registries, or paths in them, from which jobs' container images may come, separated by commas, * for any; "
        "no container is run without it",
        metavar="HOST[/PATH],...",
    )
    _option(run, "--images-gib", "how much of the disk images may take", default="500", metavar="GIB")
    _option(run, "--images-free-gib", "how much of it a pull must leave free", default="5", metavar="GIB")
    _option(run, "--container-engine", "Podman, which keeps images", default="podman", metavar="PROGRAM")
    _option(
        run,
        "--container-runtime",
        "OCI runtime with its options: runc, crun, or a vendor's (default the first of runc and crun)",
        metavar="'PROGRAM [OPTION ...]'",
    )


def _place_option(run: argparse.ArgumentParser) -> None:
    _option(
        run,
        "--place",
        "where the node hangs in the network, for example zone=bj,supernode=pod-1,leaf=rack-7,position=3",
        metavar="DOMAIN=NAME,...",
    )


def _add_samples(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    samples = commands.add_parser(
        "samples",
        help="write the raw samples that an auditor's request asks of this host",
        description="Reads a request that `suanli sample` wrote; writes a part of the proof packet. "
        "Put the folders of all hosts together: that is the packet.",
    )
    samples.set_defaults(command=_write_samples)
    samples.add_argument("request", type=Path, help="file of the request")
    _option(samples, "--state", "folder of the agent's keys, spool and tasks", metavar="DIR")
    samples.add_argument("--output", "-o", type=Path, required=True, metavar="DIR", help="folder to write")


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.removeprefix("--").replace("-", "_").upper()


def _option(
    parser: argparse.ArgumentParser,
    name: str,
    text: str,
    default: str | None = None,
    metavar: str | None = None,
) -> None:
    shown = f" (default {default})" if default else ""
    parser.add_argument(
        name, default=os.environ.get(_variable(name), default), help=text + shown, metavar=metavar
    )


def _flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    given = os.environ.get(_variable(name), "").lower() in {"1", "true", "yes", "on"}
    parser.add_argument(name, action="store_true", default=given, help=text)


def read_settings(parsed: argparse.Namespace) -> Settings:
    """Settings from parsed arguments. Raises UsageError with a sentence."""
    for name in ("state", "gateway", "ca", "node_name"):
        if not getattr(parsed, name):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is missing (or {_variable(option)} in the environment)")
    drivers = ("auto", "simulated", *DRIVERS)
    if parsed.driver not in drivers:
        raise UsageError(f"--driver {parsed.driver}: there are {', '.join(drivers)}")
    enrolled = StateFolder.is_enrolled(Path(parsed.state))
    if not enrolled and not parsed.enrolment:
        raise UsageError("this host is not enrolled yet: --enrolment HOST:PORT is needed for the first start")
    return Settings(
        state=Path(parsed.state),
        gateway=_address("--gateway", parsed.gateway),
        enrolment=_address("--enrolment", parsed.enrolment) if parsed.enrolment else "",
        authority=Path(parsed.ca),
        join_token_file=Path(parsed.join_token_file) if parsed.join_token_file else None,
        node_name=parsed.node_name,
        driver=parsed.driver,
        simulate=parsed.simulate,
        rendezvous_address=_rendezvous(parsed.rendezvous_address),
        accept_no_isolation=parsed.accept_no_isolation,
        sample_ms=_number("--sample-ms", parsed.sample_ms, *SAMPLE_MS_RANGE),
        metrics=_address("--metrics", parsed.metrics) if parsed.metrics else None,
        metrics_token=_metrics_token(parsed.metrics, parsed.metrics_token_file),
        checkpoint_root=Path(parsed.checkpoint_root).absolute() if parsed.checkpoint_root else None,
        volume_roots=_volume_roots(parsed.volume_root),
        firm_uids=_uids(parsed.firm_uids),
        stop_tasks_on_exit=parsed.stop_tasks_on_exit,
        samples_days=_number("--samples-days", parsed.samples_days, 1, 36_500),
        samples_gib=_number("--samples-gib", parsed.samples_gib, 1, 100_000),
        place=_place(parsed.place or ""),
        image_registries=_registries(parsed.image_registries),
        images_gib=_number("--images-gib", parsed.images_gib, 1, 1_000_000),
        images_free_gib=_number("--images-free-gib", parsed.images_free_gib, 0, 1_000_000),
        container_engine=parsed.container_engine,
        container_runtime=parsed.container_runtime or "",
        attach_idle_s=_number("--attach-idle-seconds", parsed.attach_idle_seconds, 1, 7 * 86_400),
    )


def _address(option: str, text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise UsageError(f"{option} wants HOST:PORT, not {text!r}")
    return text


def _metrics_token(address: str | None, file: str | None) -> str | None:
    """What readers of the metrics must bear. Nothing that tells of a node's tasks is open to a network."""
    if file:
        try:
            token = Path(file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the token in --metrics-token-file {file} cannot be read: {error}") from None
        if len(token) < LEAST_TOKEN_CHARACTERS or not token.isprintable() or " " in token:
            raise UsageError(
                f"--metrics-token-file {file} wants one word of {LEAST_TOKEN_CHARACTERS} or more characters"
            )
        return token
    if address and not is_loopback(address.rpartition(":")[0].strip("[]")):
        raise UsageError(
            f"--metrics {address} is open to others than this host: --metrics-token-file is needed, "
            "or an address on loopback"
        )
    return None


def _rendezvous(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"--rendezvous-address wants an IP address of this host, not {text!r}") from None


def _number(option: str, text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise UsageError(f"{option} wants a whole number from {least} to {most}, not {text!r}")
    return int(text)


def _place(text: str) -> Place:
    said: dict[str, str] = {}
    for part in text.split(",") if text else ():
        domain, _, name = part.partition("=")
        fine = PLACE_NAME.fullmatch(name) is not None
        if domain == "position":
            fine = name.isascii() and name.isdigit() and int(name) < 2**31
        if domain not in ("zone", "supernode", "leaf", "position") or domain in said or not fine:
            raise UsageError(
                "--place wants zone=, supernode=, leaf= (a-z 0-9 - . _) and position= (a number), each at most "
                f"once, not {part!r}"
            )
        said[domain] = name
    return Place(
        said.get("zone", ""), said.get("supernode", ""), said.get("leaf", ""), int(said.get("position", 0))
    )


def _registries(text: str | None) -> tuple[str, ...]:
    registries = tuple(part.strip() for part in text.split(",")) if text else ()
    for registry in registries:
        if not is_registry(registry):
            raise UsageError(
                "--image-registries wants registries or paths in them, such as registry.example.com:5000/team or "
                f"docker.io, separated by commas, or *, not {registry!r}"
            )
    return registries


def _volume_roots(text: str | None) -> tuple[str, ...]:
    roots = tuple(text.split(":")) if text else ()
    for root in roots:
        if not is_plain(root):
            raise UsageError(
                f"--volume-root wants absolute paths without .. and other than /, separated by :, not {root!r}"
            )
    return roots


def _uids(text: str) -> UidRange:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) < 2**31):
        raise UsageError(f"--firm-uids wants FIRST-LAST, for example {DEFAULT_FIRM_UIDS}, not {text!r}")
    return UidRange(int(first), int(last))


def _run(parsed: argparse.Namespace) -> int:
    settings = read_settings(parsed)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    from agents.start import run_agent  # gRPC is not needed to say what is wrong with a setting

    asyncio.run(with_an_end(run_agent(settings)))
    return 0


async def with_an_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work, after which the process is gone soon, whatever thread hangs in it: so do vendors' libraries when a
    device is lost, and Python would wait for them.
    """
    code = 1
    try:
        await work
        code = 0
    except AgentError as error:
        code = error.exit_code
        raise
    finally:
        end = threading.Timer(END_PATIENCE_S, os._exit, [code])
        end.daemon = True
        end.start()


def _write_samples(parsed: argparse.Namespace) -> int:
    if not parsed.state:
        raise UsageError(f"--state is missing (or {_variable('--state')} in the environment)")
    try:
        wanted = parse_request(parsed.request.read_bytes())
        found, missing = write_packet(Path(parsed.state) / "samples", wanted, parsed.output)
    except (EvidenceError, OSError) as error:
        raise UsageError(str(error)) from None
    print(f"Wrote the raw samples of {found} segments to {parsed.output}; {missing} are not on this host")
    return 0


def _devices(parsed: argparse.Namespace) -> int:
    try:
        driver = open_driver(parsed.driver, parsed.simulate, parsed.node_name)
        found = [
            {**asdict(d), "driver": driver.name, "simulated": driver.simulated} for d in driver.inventory()
        ]
    except DriverError as error:
        raise NoDevices(str(error)) from None
    driver.close()
    if parsed.json:
        print(json.dumps(found, indent=1))
        return 0
    for device in found:
        name = device["serial"] or device["uuid"] or device["bus_address"] or "-"
        print(f"{device['index']:>3}  {device['model']:<24} {device['memory_bytes'] // 2**20:>8} MiB  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
