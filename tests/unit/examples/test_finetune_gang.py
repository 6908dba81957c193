"""The fine-tuning job as real processes: two nodes of two, started as an agent starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
PATIENCE_S = 120


@dataclass
class Gang:
    """Four processes of one attempt. ``lines`` is what process 0 has printed so far."""

    processes: list[subprocess.Popen[str]]
    step_report: Path
    lines: list[str] = field(default_factory=list)

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Read process 0's output up to the first line that matches."""
        output = self.processes[0].stdout
        assert output is not None
        for line in output:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"process 0 ended without {pattern!r}:\n{''.join(self.lines)}")

    def end(self) -> list[int]:
        """Wait for all processes; return their exit statuses."""
        output = self.processes[0].stdout
        assert output is not None
        self.lines.extend(output)
        return [process.wait(PATIENCE_S) for process in self.processes]

    def signal_all(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(number)

    def report(self) -> dict[str, object]:
        report: dict[str, object] = json.loads(self.step_report.read_bytes())
        return report


@dataclass(frozen=True)
class Finetune:
    """Starts attempts of the job in ``examples/finetune``."""

    python: Path
    script_folder: Path
    folder: Path

    @contextmanager
    def attempt(self, number: int, steps: int, model_folders: tuple[Path, Path]) -> Iterator[Gang]:
        """One attempt on two nodes, each with its own view of the folder of model checkpoints."""
        report = self.folder / f"step-{number}.json"
        port = free_port()
        command = [self.python, "train.py", "--steps", str(steps), "--save-every", "10", "--log-every", "5"]
        processes = [
            subprocess.Popen(
                command,
                cwd=self.script_folder,
                env=launch_environment(number, rank, port, report, model_folders[rank // 2]),
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                stderr=subprocess.STDOUT if rank == 0 else subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            for rank in range(4)
        ]
        guard = threading.Timer(PATIENCE_S, lambda: [process.kill() for process in processes])
        guard.start()
        try:
            yield Gang(processes, report)
        finally:
            guard.cancel()
            for process in processes:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


def launch_environment(attempt: int, rank: int, port: int, report: Path, models: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": "4",
        "LOCAL_RANK": str(rank % 2),
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": str(rank // 2),
        "GROUP_WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
        "SUANLI_JOB_NAME": "finetune-tang-poems",
        "SUANLI_ATTEMPT": str(attempt),
        "SUANLI_STEP_REPORT": str(report),
        "SUANLI_MODEL_CHECKPOINT_DIR": str(models),
        "SUANLI_DEVICE_MODEL": "ascend-910b3",
        "SUANLI_DEVICES": "0,1,2,3",
        "SUANLI_SIMULATED": "1",
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def finetune(torch_python: Path, examples: Path, tmp_path: Path) -> Finetune:
    return Finetune(torch_python, examples / "finetune", tmp_path)


def test_a_stopped_attempt_saves_and_the_next_ends_where_one_would_have(
    finetune: Finetune, tmp_path: Path
) -> None:
    unbroken_folder, folder = tmp_path / "unbroken", tmp_path / "models"
    with finetune.attempt(1, 60, (unbroken_folder, unbroken_folder)) as gang:
        assert gang.end() == [0, 0, 0, 0], "".join(gang.lines)
        unbroken = gang.report()

    with finetune.attempt(2, 60, (folder, folder)) as gang:
        gang.wait_for_line(r"step 15/60")
        gang.signal_all(signal.SIGTERM)
        assert gang.end() == [143] * 4, "".join(gang.lines)
        stopped = gang.report()
    with finetune.attempt(3, 60, (folder, folder)) as gang:
        resumed_at = int(gang.wait_for_line(r"resumed at step (\d+)")[1])
        assert gang.end() == [0, 0, 0, 0], "".join(gang.lines)
        resumed = gang.report()

    assert 15 <= resumed_at < 60
    assert resumed_at == stopped["step"]
    assert Path(str(stopped["model_checkpoint"])).name.startswith(f"step-{resumed_at:08d}.attempt-2.")
    assert (resumed["step"], resumed["tokens"]) == (60, unbroken["tokens"])
    assert resumed["loss"] == pytest.approx(unbroken["loss"], abs=1e-3)


def test_the_loss_falls_on_poems_that_were_held_out(finetune: Finetune, tmp_path: Path) -> None:
    with finetune.attempt(1, 60, (tmp_path / "models", tmp_path / "models")) as gang:
        match = gang.wait_for_line(r"done: held-out loss ([\d.]+) \(was ([\d.]+)")
        assert gang.end() == [0, 0, 0, 0]

    assert float(match[1]) < float(match[2]) - 0.5


def test_nodes_without_a_shared_filesystem_resume_from_the_one_that_has_the_files(
    finetune: Finetune, tmp_path: Path
) -> None:
    first, second = tmp_path / "first-node", tmp_path / "second-node"
    with finetune.attempt(1, 20, (first, second)) as gang:
        assert gang.end() == [0, 0, 0, 0], "".join(gang.lines)
    assert not second.exists()

    with finetune.attempt(2, 30, (second, first)) as gang:  # the nodes have changed places
        line = gang.wait_for_line(r"resumed at step (\d+) from a model checkpoint that process (\d) read")
        assert gang.end() == [0, 0, 0, 0], "".join(gang.lines)

    assert (line[1], line[2]) == ("20", "2")
    assert [path.name.split(".")[0] for path in second.iterdir()] == ["step-00000030"]


def test_a_gang_that_loses_a_process_saves_and_fails(finetune: Finetune, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    with finetune.attempt(1, 2000, (folder, folder)) as gang:
        gang.wait_for_line(r"step 15/2000")
        gang.processes[3].kill()
        statuses = gang.end()
        report = gang.report()

    assert statuses == [1, 1, 1, -signal.SIGKILL], "".join(gang.lines)
    assert Path(str(report["model_checkpoint"])).name.startswith(f"step-{report['step']:08d}.attempt-1.")
