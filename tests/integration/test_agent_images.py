"""Tasks in container images: a real agent, Podman, runc, and a registry that wants a password."""

import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agents import wire
from agents.runtime.image_names import ImageError
from agents.runtime.images import Images, find_images
from agents.runtime.spec import TaskSpec
from agents.start import RUNTIME_FOLDER
from protos.suanli.fleet.v1 import control_pb2
from tests.builders.agent_gateway import TestGateway, task
from tests.builders.agents import AgentProcess, alive, reachable_folder, running_agent
from tests.builders.registry import Registry, auth_json, credentials, needs_containers, running_registry

pytestmark = [needs_containers, pytest.mark.asyncio(loop_scope="module")]
SHELL = "/bin/sh"
UID = 400_017


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with reachable_folder() as folder, running_registry(folder) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(registry: Registry) -> AsyncIterator[tuple[TestGateway, AgentProcess]]:
    """An agent that may take images from the test's registry, and its gateway."""
    before = {name: os.environ.get(name) for name in registry.environment}
    os.environ.update(registry.environment)
    try:
        options = (
            "--image-registries",
            f"127.0.0.1:{registry.port}/team,127.0.0.1:1/none",
            "--container-runtime",
            "runc",
        )
        async with TestGateway().serving() as gateway, running_agent(gateway, *options) as agent:
            yield gateway, agent
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def in_image(registry: Registry, *command: str, **changes: Any) -> control_pb2.FetchTaskResponse:
    """A task in the registry's image, with the secret that opens it."""
    secret = control_pb2.TaskSecret(name="registry", value=credentials())
    values: dict[str, Any] = {"image": registry.image, "image_credentials": secret, "firm_uid": UID}
    return task(list(command), **{**values, **changes})


async def printed(gateway: TestGateway, work: control_pb2.FetchTaskResponse) -> bytes:
    """The output of a task that ends well."""
    await gateway.run_task(work)
    over = await gateway.ended(work.allocation_id)
    assert over.exit_code == 0, (over.detail, await gateway.all_output(work.allocation_id, stream="stderr"))
    return await gateway.all_output(work.allocation_id)


async def refused(gateway: TestGateway, work: control_pb2.FetchTaskResponse) -> control_pb2.ObservedTask:
    """The end of a task that could not be prepared."""
    gateway.specs[work.allocation_id] = work
    gateway.want(work.allocation_id, control_pb2.TASK_GOAL_PREPARE)
    return await gateway.ended(work.allocation_id)


async def test_a_task_runs_in_its_image_as_the_firms_user_and_with_nothing_more(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, _ = host
    look = "id -u; id -g; cat /proc/self/status; ls /dev; readlink /proc/self/ns/net; (: < /zero); exit 3"
    work = in_image(registry, SHELL, "-c", look)
    await gateway.run_task(work)
    over = await gateway.ended(work.allocation_id)
    assert (over.exit_code, over.end_reason, over.detail) == (3, "exited", "process 0 ended with exit code 3")
    assert over.image_digest == registry.digest
    lines = (await gateway.all_output(work.allocation_id)).decode().splitlines()
    assert lines[:2] == [str(UID)] * 2
    assert {line for line in lines if line.startswith(("CapEff", "CapBnd", "NoNewPrivs"))} == {
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    }
    assert os.readlink("/proc/self/ns/net") in lines
    assert not {"vda", "sda", "kmsg", "mem", "fuse"} & set(lines)
    # A device node of the image is none.
    assert b"can't open /zero" in await gateway.all_output(work.allocation_id, stream="stderr")
    assert gateway.hellos[-1].container_engine.startswith("podman ")
    assert ", runc " in gateway.hellos[-1].container_engine


async def test_its_environment_is_the_images_under_the_launch_environment(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    secrets = [
        control_pb2.TaskSecret(name="token", environment="TOKEN", value=b"first line\nsecond"),
        control_pb2.TaskSecret(name="mounts", environment="ASCEND_RUNTIME_MOUNTS", value=b"base"),
        control_pb2.TaskSecret(name="key", file="/run/secrets/key", value=b"\0binary"),
    ]
    script = "env; pwd; cat /run/secrets/key; echo; echo '{\"step\": 4}' > $SUANLI_STEP_REPORT; touch /open/x"
    work = in_image(
        registry,
        SHELL,
        "-c",
        script,
        environment={"LD_PRELOAD": "/evil.so", "MINE": "a\nb", "ASCEND_VNPU_SPECS": "x"},
        secrets=secrets,
    )
    said = (await printed(gateway, work)).decode()
    folder = agent.state / "tasks" / work.allocation_id
    for line in (
        "OF_IMAGE=yes",
        "PATH=/bin",
        "MINE=a\nb",
        "TOKEN=first line\nsecond",
        "RANK=0",
        f"HOME={folder}/home",
    ):
        assert f"{line}\n" in said
    assert "LD_PRELOAD=/evil.so\n" in said
    # What a vendor's runtime, which is root, would obey comes from us alone.
    assert not any(
        name in said for name in ("ASCEND_RUNTIME_MOUNTS", "ASCEND_VNPU_SPECS", "NVIDIA_REQUIRE_CUDA")
    )
    assert f"\n{folder}/work\n\0binary\n" in said
    over = gateway.task(work.allocation_id)
    assert over is not None
    assert over.step_report.step == 4
    # Nothing of what is secret was ever on the disk: neither the job's, nor what opened the registry.
    assert b"second" not in read_all(agent.state)
    assert b"battery" not in read_all(agent.state) + read_all(registry.folder / "store")
    assert b"battery" not in agent.log().encode()


def read_all(folder: Path) -> bytes:
    """What lies in plain files of a folder, but for what jobs printed."""
    files = [path for path in folder.rglob("*") if not path.is_symlink() and path.is_file()]
    return b"".join(path.read_bytes() for path in files if path.parent.name != "output")


async def test_a_working_directory_is_in_the_image_wherever_its_links_lead(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    where = "readlink /proc/self/cwd; touch x 2>/dev/null || echo closed"
    for asked, said in (("/srv/new/", b"/srv/new\nclosed\n"), ("/open", b"/open\n"), ("/way", b"/open\n")):
        work = in_image(registry, SHELL, "-c", where, working_directory=asked)
        assert await printed(gateway, work) == said
    outside = agent.folder / "made" / "by-root"
    for asked in (f"/out{outside}", f"/proc/1/root{outside}"):
        work = in_image(registry, SHELL, "-c", "echo there", working_directory=asked)
        await gateway.run_task(work)
        assert (await gateway.ended(work.allocation_id)).exit_code == 126
        assert b"can't cd to" in await gateway.all_output(work.allocation_id, stream="stderr")
        assert not outside.parent.exists()


async def test_a_stop_reaches_what_runs_in_the_image_and_leaves_nothing(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    child = f"{SHELL} -c 'trap \"echo child saved; exit 0\" USR1; echo ready; while :; do sleep 0.05; done'"
    work = in_image(
        registry,
        SHELL,
        "-c",
        f"trap : USR1; {child}; echo over",  # with the first process the runtime would end the others
        grace_ms=20_000,
        stop_signal="SIGUSR1",
        processes=2,
    )
    running = await gateway.run_task(work)
    for rank in range(2):
        key = (work.allocation_id, rank, "stdout")
        await gateway.until(lambda key=key: b"ready" in gateway.output.get(key, b""), "it is ready")
    gateway.want(work.allocation_id, control_pb2.TASK_GOAL_STOP, reason="cancelled")
    over = await gateway.ended(work.allocation_id)
    assert over.end_reason == "stopped"
    for rank in range(2):
        assert b"child saved" in await gateway.all_output(work.allocation_id, rank)
    assert not any(alive(pid) for pid in running.process_ids)
    assert registry.podman("ps", "--all", "--quiet").strip()
    gateway.drop(work.allocation_id)
    folder = agent.state / "tasks" / work.allocation_id
    await gateway.until(lambda: not folder.exists(), "its folder is gone")
    assert work.allocation_id not in registry.podman("ps", "--all", "--format", "{{.Names}}")
    assert not any(work.allocation_id in path.name for path in RUNTIME_FOLDER.rglob("*"))


async def test_a_killed_shim_leaves_no_container(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    daemon = f"setsid {SHELL} -c 'exec env -i sleep 600' & echo $!; exec sleep 600"
    work = in_image(registry, SHELL, "-c", daemon)
    await gateway.run_task(work)
    key = (work.allocation_id, 0, "stdout")
    await gateway.until(lambda: b"\n" in gateway.output.get(key, b""), "the daemon's pid arrives")
    pid = int(gateway.output[key])
    assert alive(pid)
    (kept,) = RUNTIME_FOLDER.glob(f"*/{work.allocation_id}-0")
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    for shim in agent.shims():
        os.kill(shim, signal.SIGKILL)
    over = await gateway.ended(work.allocation_id)
    assert over.end_reason == "lost"
    assert not alive(pid)
    assert not any(work.allocation_id in path.name for path in RUNTIME_FOLDER.rglob("*"))


async def test_an_agent_that_comes_back_finds_its_container_and_the_digest(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    work = in_image(registry, SHELL, "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
    await gateway.run_task(work)
    key = (work.allocation_id, 0, "stdout")
    await gateway.until(lambda: b"up" in gateway.output.get(key, b""), "it is up")
    await agent.signal(signal.SIGKILL)
    gateway.observed = None
    await agent.start()
    await agent.connected()
    await gateway.until(lambda: gateway.in_phase(work.allocation_id, control_pb2.TASK_PHASE_RUNNING), "found")
    found = gateway.task(work.allocation_id)
    assert found is not None
    assert found.image_digest == registry.digest
    gateway.want(work.allocation_id, control_pb2.TASK_GOAL_STOP, reason="cancelled")
    assert (await gateway.ended(work.allocation_id)).exit_code == 5


async def test_model_checkpoints_lie_where_they_do_without_an_image(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, agent = host
    # The image has a link at /data, which leads to /etc.
    own = agent.folder / "firm"
    own.mkdir(mode=0o700)
    os.chown(own, UID, UID)
    work = in_image(
        registry,
        SHELL,
        "-c",
        "echo saved > $SUANLI_MODEL_CHECKPOINT_DIR/1; echo $SUANLI_MODEL_CHECKPOINT_DIR",
        model_checkpoint=True,
        model_checkpoint_directory=str(own / "run"),
    )
    assert (await printed(gateway, work)).decode().strip() == str(own / "run")
    assert (own / "run" / "1").read_text() == "saved\n"
    assert (own / "run" / "1").stat().st_uid == UID


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": "{registry}/team/none:1"}, "cannot be pulled: there is no such image in its registry"),
        ({"image_credentials": None}, "its registry refuses access (without image_credentials)"),
        (
            {"image_credentials": control_pb2.TaskSecret(name="old", value=b"alice:wrong")},
            "its registry refuses access (with the secret old)",
        ),
        (
            {"image_credentials": control_pb2.TaskSecret(name="odd", value=b"no such thing")},
            "the secret odd holds no credentials of a registry: USER:PASSWORD, JSON",
        ),
        ({"image": "127.0.0.1:1/none/x:1"}, "its registry cannot be reached: the connection was refused"),
        ({"image": "docker.io/library/busybox"}, "this node takes no images from docker.io/library/busybox"),
    ],
)
async def test_what_is_wrong_with_an_image_is_said_and_is_a_kind_of_end_of_its_own(
    registry: Registry, host: tuple[TestGateway, AgentProcess], changes: dict[str, Any], sentence: str
) -> None:
    gateway, _ = host
    named = {
        k: v.format(registry=f"127.0.0.1:{registry.port}") if isinstance(v, str) else v
        for k, v in changes.items()
    }
    over = await refused(gateway, in_image(registry, SHELL, **named))
    assert sentence in over.detail
    assert over.end_reason == "image_failed"


async def test_images_take_no_more_of_the_disk_than_they_may(
    registry: Registry, host: tuple[TestGateway, AgentProcess], tmp_path: Path
) -> None:
    found = find_images("podman", ("*",), tmp_path, 1, 0)
    assert isinstance(found, Images)
    large = registry.push_large(30 << 20)
    small = replace(wire.spec(in_image(registry, SHELL)), allocation_id="bounded")
    spec = replace(small, image=large)

    def lay_out(images: Images, spec: TaskSpec) -> None:
        images.lay_out(spec, threading.Event(), lambda _: None)

    lay_out(found, small)
    found.remove(["bounded"])
    tiny = replace(found, store=replace(found.store, most_bytes=found.store.size() + (1 << 20)))
    with pytest.raises(ImageError, match=r"images would take more than .* GiB \(--images-gib\)"):
        lay_out(tiny, spec)
    assert tiny.store.size() <= tiny.store.most_bytes
    assert "bounded" not in registry.podman("ps", "--all", "--format", "{{.Names}}")
    full = replace(found, store=replace(found.store, least_free_bytes=1 << 60))
    with pytest.raises(ImageError, match="--images-free-gib"):
        lay_out(full, spec)
    lay_out(found, spec)
    assert "team/large" in registry.podman("images")
    # No task uses it once there is another root: that pull finds room.
    lay_out(found, small)
    lay_out(tiny, small)
    assert "team/large" not in registry.podman("images")
    assert "team/tools" in registry.podman("images")
    found.remove(["bounded"])


async def test_layers_that_an_ended_pull_left_go_and_others_stay(
    registry: Registry, host: tuple[TestGateway, AgentProcess], tmp_path: Path
) -> None:
    found = find_images("podman", ("*",), tmp_path, 1, 0)
    assert isinstance(found, Images)
    image = registry.push_large(2 << 20)
    other = replace(wire.spec(in_image(registry, SHELL)), allocation_id="stays")
    for spec in (other, replace(other, allocation_id="left", image=image)):
        found.lay_out(spec, threading.Event(), lambda _: None)
        found.remove([spec.allocation_id])
    before = found.store.size()
    # As it is when Podman ends between a pull's last layer and its image.
    images = found.store.folder / "overlay-images" / "images.json"
    kept = [known for known in json.loads(images.read_bytes()) if image not in known["names"]]
    images.write_text(json.dumps(kept))
    found.sweep([])
    assert found.store.size() == before
    (tmp_path / "images.pulling").touch()
    os.utime(tmp_path / "images.pulling", (0, 0))
    found.sweep([])
    assert found.store.size() <= before - (2 << 20)
    assert found.store.left_over(0) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
    assert "team/tools" in registry.podman("images")


async def test_an_image_that_is_there_already_is_opened_to_nobody_without_credentials(
    registry: Registry, host: tuple[TestGateway, AgentProcess]
) -> None:
    gateway, _ = host
    host_name = f"127.0.0.1:{registry.port}"
    secret = control_pb2.TaskSecret(name="registry", value=auth_json(host_name))
    by_digest = f"{host_name}/team/tools@{registry.digest}"
    work = in_image(registry, SHELL, "-c", "echo in", image=by_digest, image_credentials=secret)
    assert await printed(gateway, work) == b"in\n"
    again = in_image(registry, SHELL, image=work.image, image_credentials=None)
    assert (await refused(gateway, again)).end_reason == "image_failed"
