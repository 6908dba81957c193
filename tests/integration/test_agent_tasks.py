"""A real agent process against a real gRPC gateway: tasks from preparation to their end."""

import os
import signal
from pathlib import Path

import pytest

from protos.suanli.fleet.v1 import control_pb2
from tests.builders.agent_gateway import TestGateway, task
from tests.builders.agents import alive, running_agent

SHELL = "/bin/sh"


async def test_a_task_is_prepared_run_and_ended_and_its_output_arrives_whole() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        lines = 20_000
        work = task(
            [SHELL, "-c", f"seq {lines}; echo from $RANK of $WORLD_SIZE on $SUANLI_DEVICES >&2; exit 3"]
        )
        running = await gateway.run_task(work)
        over = await gateway.ended(work.allocation_id)
        assert (over.exit_code, over.end_reason) == (3, "exited")
        assert over.detail == "process 0 ended with exit code 3"
        assert over.started_ms == running.started_ms <= over.ended_ms
        out = await gateway.all_output(work.allocation_id)
        assert out == b"".join(b"%d\n" % n for n in range(1, lines + 1))
        assert await gateway.all_output(work.allocation_id, stream="stderr") == b"from 0 of 1 on 0\n"
        gateway.drop(work.allocation_id)
        folder = agent.state / "tasks" / work.allocation_id
        await gateway.until(
            lambda: gateway.task(work.allocation_id) is None and not folder.exists(), "forgotten"
        )


async def test_output_leaves_while_the_task_still_runs() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        work = task([SHELL, "-c", "echo first; exec sleep 60"])
        await gateway.run_task(work)
        key = (work.allocation_id, 0, "stdout")
        await gateway.until(lambda: bytes(gateway.output.get(key, b"")) == b"first\n", "output arrives")
        assert gateway.in_phase(work.allocation_id, control_pb2.TASK_PHASE_RUNNING)


async def test_a_stop_kills_the_whole_tree_with_its_daemons_after_the_grace() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        deaf = "trap '' TERM; while :; do sleep 1; done"
        script = f'setsid sh -c "{deaf}" & echo $!; {deaf}'
        work = task([SHELL, "-c", script], grace_ms=300)
        running = await gateway.run_task(work)
        key = (work.allocation_id, 0, "stdout")
        await gateway.until(
            lambda: bytes(gateway.output.get(key, b"")).endswith(b"\n"), "the daemon's pid arrives"
        )
        daemon = int(gateway.output[key])
        root = running.process_ids[0]
        assert alive(daemon)
        assert alive(root)
        gateway.want(work.allocation_id, control_pb2.TASK_GOAL_STOP, reason="cancelled")
        over = await gateway.ended(work.allocation_id)
        assert over.end_reason == "stopped"
        assert over.exit_code == 128 + signal.SIGKILL
        assert not alive(daemon)
        assert not alive(root)


async def test_a_job_is_asked_to_save_a_model_checkpoint_by_the_signal_that_it_named() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        script = "trap 'echo saved; exit 0' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done"
        work = task([SHELL, "-c", script], grace_ms=20_000, stop_signal="SIGUSR1")
        await gateway.run_task(work)
        key = (work.allocation_id, 0, "stdout")
        await gateway.until(lambda: b"ready" in gateway.output.get(key, b""), "it listens")
        gateway.want(work.allocation_id, control_pb2.TASK_GOAL_STOP, reason="preempted")
        await gateway.until(lambda: b"saved" in gateway.output.get(key, b""), "it has saved")


async def test_a_task_that_is_named_no_longer_is_stopped_and_forgotten() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        work = task(["/bin/sleep", "600"])
        running = await gateway.run_task(work)
        gateway.drop(work.allocation_id)
        await gateway.until(lambda: gateway.task(work.allocation_id) is None, "the task is gone")
        assert not alive(running.process_ids[0])


async def test_a_stale_desired_state_is_refused() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        work = task(["/bin/sleep", "600"])
        await gateway.run_task(work)
        stale = control_pb2.Desired(leader_term=gateway.term, generation=0)
        beats = gateway.heartbeats
        for queue in gateway.queues:
            queue.put_nowait(stale)
        await gateway.until(lambda: gateway.heartbeats > beats + 2, "time has passed")
        assert gateway.in_phase(work.allocation_id, control_pb2.TASK_PHASE_RUNNING)
        assert "refused a desired state" in agent.log()


async def test_when_one_process_fails_the_others_are_ended() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        script = "if [ $LOCAL_RANK = 2 ]; then sleep 0.2; exit 7; fi; exec sleep 600"
        work = task([SHELL, "-c", script], processes=4, device_indices=[0, 1, 2, 3])
        await gateway.run_task(work)
        over = await gateway.ended(work.allocation_id)
        assert (over.exit_code, over.end_reason) == (7, "exited")
        assert over.detail == "process 2 ended with exit code 7"


async def test_a_command_that_is_not_there_fails_to_prepare_with_the_path_that_was_searched() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        work = task(["no-such-program"])
        gateway.specs[work.allocation_id] = work
        gateway.want(work.allocation_id, control_pb2.TASK_GOAL_PREPARE)
        over = await gateway.ended(work.allocation_id)
        assert over.end_reason == "prepare_failed"
        assert "finds no program no-such-program in PATH " in over.detail
        assert "open it" not in over.detail


async def test_step_reports_are_observed() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        report = '{"step": 5, "of": 10, "loss": 1.25, "tokens": 640, "other": true, "at_ms": 7}'
        move = "mv $SUANLI_STEP_REPORT.new $SUANLI_STEP_REPORT"
        script = f"echo '{report}' > $SUANLI_STEP_REPORT.new; {move}; exec sleep 60"
        work = task([SHELL, "-c", script])
        await gateway.run_task(work)
        await gateway.until(
            lambda: (t := gateway.task(work.allocation_id)) is not None and t.HasField("step_report"),
            "a report",
        )
        seen = gateway.task(work.allocation_id)
        assert seen is not None
        step = seen.step_report
        assert (step.step, step.of, step.loss_micros, step.tokens, step.at_ms) == (5, 10, 1_250_000, 640, 7)


async def test_rank_zero_of_a_gang_can_listen_on_the_port_reserved_for_it() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        listen = (
            "import os, socket\n"
            "socket.create_server((os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])))\n"
            "print('listens')\n"
        )
        work = task(["/usr/bin/python3", "-c", listen])
        await gateway.run_task(work)
        assert (await gateway.ended(work.allocation_id)).exit_code == 0
        assert await gateway.all_output(work.allocation_id) == b"listens\n"


async def test_model_checkpoints_have_a_folder_that_stays_between_attempts() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway):
        count = "cd $SUANLI_MODEL_CHECKPOINT_DIR && echo x >> saved && wc -l < saved"
        first = task([SHELL, "-c", count], model_checkpoint=True)
        again = task([SHELL, "-c", count], model_checkpoint=True, job_id=first.job_id, attempt=2)
        for work, lines in ((first, b"1\n"), (again, b"2\n")):
            await gateway.run_task(work)
            assert await gateway.all_output(work.allocation_id) == lines
            await gateway.ended(work.allocation_id)


async def test_nothing_of_the_agents_environment_is_inherited() -> None:
    os.environ["SUANLI_TEST_SECRET"] = "not for jobs"
    async with TestGateway().serving() as gateway, running_agent(gateway):
        work = task(["/usr/bin/env"], environment={"WANTED": "1", "RANK": "99"})
        await gateway.run_task(work)
        seen = dict(
            line.split(b"=", 1) for line in (await gateway.all_output(work.allocation_id)).splitlines()
        )
        assert seen[b"WANTED"] == b"1"
        assert seen[b"RANK"] == b"0"
        assert seen[b"ASCEND_RT_VISIBLE_DEVICES"] == b"0"
        assert b"SUANLI_TEST_SECRET" not in seen
        assert seen[b"SUANLI_SIMULATED"] == b"1"
        assert seen[b"GLOO_SOCKET_IFNAME"] == b"lo"


@pytest.mark.skipif(os.geteuid() != 0, reason="one user per firm needs root")
async def test_two_firms_run_under_two_users_and_reach_neither_key_nor_spool() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        peek = (
            "import os,sys\nprint(os.getuid(), os.getgid(), os.getgroups())\n"
            "for name in ('window.key','spool.db','tls.key','node.json'):\n"
            "    try: open(os.path.join(sys.argv[1], name)).read(); print('read', name)\n"
            "    except PermissionError: print('denied', name)\n"
        )
        users = set()
        for index in range(2):
            work = task(
                ["/usr/bin/python3", "-c", peek, str(agent.state)],
                firm_id=f"firm-{index}",
                device_indices=[index],
            )
            await gateway.run_task(work)
            out = (await gateway.all_output(work.allocation_id)).decode().splitlines()
            assert out[1:] == [
                "denied window.key",
                "denied spool.db",
                "denied tls.key",
                "denied node.json",
            ], out
            uid = int(out[0].split()[0])
            assert 400_000 <= uid <= 499_999
            assert out[0] == f"{uid} {uid} [{uid}]"
            users.add(uid)
        assert len(users) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="one user per firm needs root")
async def test_a_program_closed_to_the_firms_user_is_refused_unless_accepted(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "job"
    program.write_text("#!/bin/sh\nid -u\n")
    program.chmod(0o755)
    async with TestGateway().serving() as gateway, running_agent(gateway):
        work = task([str(program)])
        gateway.specs[work.allocation_id] = work
        gateway.want(work.allocation_id, control_pb2.TASK_GOAL_PREPARE)
        over = await gateway.ended(work.allocation_id)
        assert over.end_reason == "prepare_failed"
        assert "is closed to it; open it to that user" in over.detail
    async with TestGateway().serving() as gateway, running_agent(gateway, "--accept-no-isolation"):
        work = task([str(program)])
        await gateway.run_task(work)
        assert await gateway.all_output(work.allocation_id) == b"0\n"
