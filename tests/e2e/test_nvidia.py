"""A real NVIDIA device from enrolment to a proof of its use; only where a host has one.

The job speaks to the driver's own library, so that it needs nothing but the host's Python.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.demo.cluster import Host
from tests.builders.e2e import PYTHON, Site, running_site, wait_until

pynvml: Any = pytest.importorskip("pynvml")

GIB = 2**30
HELD_GIB = 4
BUSY_S = 6.0

# Takes memory, keeps the device busy until its gate is there, and says which devices it was shown.
BUSY = """
import ctypes, json, os, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
def ask(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    if code:
        sys.exit(f"{name}: CUDA error {code}")
ask("cuInit", 0)
count, device, processors = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
ask("cuDeviceGetCount", ctypes.byref(count))
ask("cuDeviceGet", ctypes.byref(device), 0)
uuid = (ctypes.c_ubyte * 16)()
ask("cuDeviceGetUuid", ctypes.byref(uuid), device)
ask("cuDeviceGetAttribute", ctypes.byref(processors), 16, device)
context, memory = ctypes.c_void_p(), ctypes.c_uint64()
ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
ask("cuCtxSetCurrent", context)
size = int(sys.argv[2]) << 30
ask("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(size))
about = {"uid": os.getuid(), "count": count.value, "uuid": bytes(uuid).hex(), "processors": processors.value,
         "visible": os.environ["CUDA_VISIBLE_DEVICES"]}
print(json.dumps(about), flush=True)
until = time.monotonic() + 200
while not os.path.exists(sys.argv[1]) and time.monotonic() < until:
    for n in range(20):
        ask("cuMemsetD32_v2", memory, n, ctypes.c_size_t(size // 4))
    ask("cuCtxSynchronize")
"""


def why_no_device() -> str:
    """Why no device can be used here, as a sentence; empty where one can."""
    try:
        pynvml.nvmlInit()
        return "" if pynvml.nvmlDeviceGetCount() else "NVML shows no device"
    except pynvml.NVMLError as error:
        return f"NVML does not answer on this host: {error}"


pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(bool(why_no_device()), reason=why_no_device())]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One node with the host's own devices, all of which this test must have alone."""
    with running_site((Host("gpu-01", "mixed"),)) as running:
        yield running


def let_it_work() -> None:
    """What is measured is time."""
    until_s = time.monotonic() + BUSY_S
    while time.monotonic() < until_s:
        time.sleep(0.1)


def devices(site: Site) -> list[dict[str, Any]]:
    """What was enrolled."""
    (node,) = site.people.operator.nodes()["nodes"]
    return [dict(device) for device in node["devices"]]


def test_what_nvml_shows_is_enrolled_and_its_use_is_proved(site: Site) -> None:
    enrolled = devices(site)
    uuids = [pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(d["index"])) for d in enrolled]
    assert len(enrolled) == pynvml.nvmlDeviceGetCount()
    assert {device["vendor"] for device in enrolled} == {"nvidia"}
    model = enrolled[0]["model"]
    gate = site.gate("busy")
    command = [PYTHON, "-c", BUSY, str(gate), str(HELD_GIB)]
    job_id = site.submit("yunhe", name="busy", model=model, command=command)
    (line,) = site.lines("yunhe", job_id, [0])
    said = json.loads(line)
    assert said["visible"] in uuids
    assert (said["count"], said["uuid"]) == (1, said["visible"].removeprefix("GPU-").replace("-", ""))
    let_it_work()
    gate.touch()
    job = site.ended("yunhe", job_id)
    assert job["state"] == "succeeded", site.output("yunhe", job_id)
    verified = site.verified()
    used = [s for s in verified.segments if s["allocation_id"] is not None]
    assert {segment["device"]["uuid"] for segment in used} == {said["visible"]}
    assert not any(segment["device"]["simulated"] for segment in verified.segments)
    assert max(segment["memory_max_bytes"] for segment in used) > HELD_GIB * GIB
    assert max(segment["utilisation_mean_ppm"] for segment in used) > 500_000
    assert max(segment["processes_max"] for segment in used) == 1
    assert sum(segment["live_ms"] for segment in used) >= BUSY_S * 1000
    assert {segment["energy_method"] for segment in used} == {"counter"}


def test_a_job_on_a_real_device_outlives_its_agent(site: Site) -> None:
    (device, *_) = devices(site)
    gate = site.gate("outlives")
    command = [PYTHON, "-c", BUSY, str(gate), str(HELD_GIB)]
    job_id = site.submit("yunhe", name="outlives", model=device["model"], command=command)
    site.reachable("yunhe", job_id)
    site.cluster.processes.kill("gpu-01")
    wait_until(lambda: site.node_state("gpu-01") != "connected", "the node is missed")
    site.restart_agent("gpu-01")
    gate.touch()
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1), site.output("yunhe", job_id)
    site.verified()


def test_the_multi_process_service_keeps_parts_of_a_real_device_to_their_size(site: Site) -> None:
    daemon = shutil.which("nvidia-cuda-mps-control")
    if daemon is None:
        pytest.skip("this host has no nvidia-cuda-mps-control")
    (device, *_) = devices(site)
    # Both parts are clients of one server, and a firm's user is not the daemon's.
    subprocess.run([daemon, "-multiuser-server", "-d"], check=True)
    try:
        gate = site.gate("parts")
        command = [PYTHON, "-c", BUSY, str(gate), "2"]
        spec: dict[str, Any] = {"model": device["model"], "command": command}
        parts = [site.submit("yunhe", name=f"part-{p}", share={"ppm": p}, **spec) for p in (500_000, 250_000)]
        half, quarter = (json.loads(site.lines("yunhe", job_id, [0])[0]) for job_id in parts)
        assert half["uuid"] == quarter["uuid"]
        assert quarter["processors"] < half["processors"]
        let_it_work()
        gate.touch()
        assert {site.ended("yunhe", job_id)["state"] for job_id in parts} == {"succeeded"}
        # A quarter of the memory is the part's, and no byte more.
        command[-1] = str(device["memory_bytes"] // GIB // 2)
        greedy = site.submit("yunhe", name="greedy", share={"ppm": 250_000}, **spec)
        assert site.ended("yunhe", greedy)["state"] == "failed"
        assert "cuMemAlloc_v2: CUDA error 2" in site.output("yunhe", greedy)[0]
    finally:
        subprocess.run([daemon], input="quit\n", text=True, check=True)
    shared = [
        s for s in site.verified().segments if s["allocation_id"] and s["share_ppm"] in (500_000, 250_000)
    ]
    # Each part's window tells the memory of its own processes: two GiB and what CUDA takes, not the neighbour's.
    held = {
        p: max(s["memory_max_bytes"] or 0 for s in shared if s["share_ppm"] == p) for p in (500_000, 250_000)
    }
    assert all(2 * GIB < memory < 4 * GIB for memory in held.values()), held
    assert max(s["processes_max"] for s in shared) == 1
    assert {s["energy_method"] for s in shared} == {"counter"}
