"""PURE: the environment that a task's processes see."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from agents.core.readings import WHOLE_PPM
from agents.runtime.spec import TaskSpec
from agents.runtime.task_files import USER_NAME

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Places:
    """Where a task's own files are, absolute."""

    home: str
    temporary: str
    step_report: str
    model_checkpoints: str | None
    results: str = ""


@dataclass(frozen=True)
class Rendezvous:
    """Where process rank 0 listens."""

    address: str
    port: int


def is_loopback(address: str) -> bool:
    """True for an address that stays on the host."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def process_environment(
    spec: TaskSpec,
    local_rank: int,
    rendezvous: Rendezvous,
    places: Places,
    visibility: Mapping[str, str],
    simulated: bool,
) -> dict[str, str]:
    """Everything a process sees: ours over the job's, and nothing of the agent's own environment."""
    defaults = {
        "PATH": DEFAULT_PATH,
        "LANG": "C.UTF-8",
        "HOME": places.home,
        "TMPDIR": places.temporary,
        "USER": USER_NAME,
        "LOGNAME": USER_NAME,
    }
    first_process = spec.rank * spec.processes if spec.first_process < 0 else spec.first_process
    ours = {
        "MASTER_ADDR": rendezvous.address,
        "MASTER_PORT": str(rendezvous.port),
        "RANK": str(first_process + local_rank),
        "WORLD_SIZE": str(spec.all_processes or spec.gang_size * spec.processes),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(spec.processes),
        "GROUP_RANK": str(spec.rank),
        "GROUP_WORLD_SIZE": str(spec.gang_size),
        "SUANLI_JOB_ID": spec.job_id,
        "SUANLI_JOB_NAME": spec.job_name,
        "SUANLI_ATTEMPT": str(spec.attempt),
        "SUANLI_STEP_REPORT": places.step_report,
        "SUANLI_DEVICE_MODEL": spec.device_model,
        "SUANLI_DEVICES": ",".join(map(str, spec.devices)),
        **visibility,
    }
    if spec.share_ppm < WHOLE_PPM:
        ours["SUANLI_SHARE_PPM"] = str(spec.share_ppm)
        if spec.share_memory_bytes:
            ours["SUANLI_SHARE_MEMORY_BYTES"] = str(spec.share_memory_bytes)
    if spec.group:
        ours["SUANLI_GROUP"] = spec.group
        ours["SUANLI_GROUP_RANK"] = str(spec.rank_in_group)
        ours["SUANLI_GROUPS"] = ",".join(f"{name}:{tasks}" for name, tasks in spec.groups.items())
    if places.results:
        ours["SUANLI_OUTPUT_DIR"] = places.results
    if places.model_checkpoints is not None:
        ours["SUANLI_MODEL_CHECKPOINT_DIR"] = places.model_checkpoints
    if simulated:
        ours["SUANLI_SIMULATED"] = "1"
    if is_loopback(rendezvous.address):
        ours["GLOO_SOCKET_IFNAME"] = "lo"
    # Of our own names only an array's come with the job's: the control plane puts them there.
    wanted = {
        name: value
        for name, value in spec.environment.items()
        if not name.startswith("SUANLI_") or name.startswith("SUANLI_ARRAY_")
    }
    return {**defaults, **wanted, **ours}
