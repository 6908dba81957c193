"""The demo from its first line to its last."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import yaml
from rich.console import Console, RenderableType

from scheduler.demo import ending
from scheduler.demo.cluster import Cluster, ClusterError, running_as_root
from scheduler.demo.display import Display, picture
from scheduler.demo.people import People, configure, make_keys
from scheduler.demo.processes import ProcessEndedError
from scheduler.demo.scene import Scene, busy_ratios, job_view, node_views
from scheduler.demo.torch_env import (
    EXAMPLES,
    TorchPython,
    TorchUnavailableError,
    for_the_examples,
    open_to_all,
)
from suanli.cli.output import colours
from suanli.client import Client, ClientError, Refused
from suanli.sentences.words import said

FRAME_S = 0.25
PLAIN_WIDTH = 120
# The recorded picture is the last one in which no job has done more than this of its steps.
DRAWN_UNTIL = 0.6
STANDSTILL_TIMEOUT_S = 120.0  # a slow host may take its time, as long as something moves
PROOF_TIMEOUT_S = 60.0
BUNDLE = "bundle.zip"


class DemoFailedError(Exception):
    """The demo did not reach its end; the message says why."""


def run(*, keep: bool, window_ms: int, record: Path | None = None, as_json: bool = False) -> int:
    """Run the demo; returns the exit status. `as_json`: the story goes to standard error, its results to output.

    0: every job succeeded and the proof holds. 1: something failed, and it was said what. 130: interrupted.
    """
    console = Console(highlight=False, stderr=as_json, color_system=colours())
    if not console.is_terminal:
        # Nobody's window is 80 columns wide where lines go to a file.
        console.width = PLAIN_WIDTH
    story = _Story(console, window_ms, record)
    try:
        with _interruptible():
            status = story.tell()
            if as_json:
                print(json.dumps(story.results, ensure_ascii=False, indent=2), flush=True)
            if keep and status == 0:
                story.keep()
            return status
    except KeyboardInterrupt:
        console.print(said("\nInterrupted; stopping everything that was started ..."))
        return 130
    except (
        DemoFailedError,
        ClusterError,
        ProcessEndedError,
        TorchUnavailableError,
        ClientError,
        OSError,
    ) as error:
        console.print(said(f"The demo failed: {error}"), style="bold red", markup=False, soft_wrap=True)
        return 1
    finally:
        story.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Story:
    def __init__(self, console: Console, window_ms: int, record: Path | None) -> None:
        self._console = console
        self._record = record
        self._halfway: RenderableType = ""
        # Short, because the path of PostgreSQL's socket has to fit into 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="suanli-demo-"))
        self._cluster = Cluster(self._folder, window_ms, self._say)
        self._window_ms = window_ms
        self._failed = True
        self.results: dict[str, Any] = {}

    def _say(self, sentence: str) -> None:
        self._console.print(said(sentence), markup=False, highlight=False, soft_wrap=True)

    def _chapter(self, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{said(title)}", align="left")

    def tell(self) -> int:
        """Every chapter; returns 0 only if all jobs succeeded and the verdict is good."""
        if not (EXAMPLES / "finetune" / "job.yaml").exists():
            raise DemoFailedError(
                f"the examples are not in {EXAMPLES}: run the demo from a checkout of the project"
            )
        self._chapter("1. A Python with PyTorch, for the job alone")
        python = self._torch()
        self._chapter("2. One machine's worth of Suanli")
        self._say_how_firms_are_kept_apart(python)
        people = self._start()
        self._chapter("3. Two firms submit")
        jobs = self._submit(people, python)
        scene = self._watch(people, jobs)
        failed = [job for job in scene.jobs if job.state != "succeeded"]
        for job in failed:
            self._say(f"{job.firm}/{job.name} {job.state}: {job.why}")
            self._say(ending.last_log_lines(people.researchers[job.firm], job.job_id))
        self._chapter("4. What each firm used, and what it costs")
        bundle = self._folder / BUNDLE
        ended = self._fetch_bundle(people.auditor, bundle)
        ending.show_usage(self._console, people)
        ending.show_balance(self._console, people.auditor, ended)
        self._chapter("5. The proof")
        ending.show_log_checkpoint(self._console, people.operator.server)
        verified = ending.verify(self._console, bundle, self._cluster.policy)
        self._chapter("What to try next")
        ending.show_next(self._console)
        if self._record is not None:
            self._draw(self._record, people, bundle)
        self.results = {
            "jobs": [
                {
                    "job_id": job.job_id,
                    "name": job.name,
                    "firm": job.firm,
                    "state": job.state,
                    "loss": job.loss,
                }
                for job in scene.jobs
            ],
            **ending.results(people, ended),
            "verified": verified,
        }
        self._failed = bool(failed) or not verified
        return 1 if self._failed else 0

    def _draw(self, target: Path, people: People, bundle: Path) -> None:
        """Draw the middle of the training, the usage and the verdict as one SVG."""
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            canvas = Console(
                record=True, force_terminal=True, width=PLAIN_WIDTH, file=nowhere, highlight=False
            )
            canvas.print(self._halfway)
            ending.show_usage(canvas, people)
            ending.verify(canvas, bundle, self._cluster.policy)
            canvas.save_svg(str(target), title="make demo")

    def keep(self) -> None:
        """Leave everything running until Ctrl-C, and say how to reach it."""
        self._chapter("Still running (--keep)")
        ending.show_addresses(self._console, self._cluster, self._folder / BUNDLE)
        while True:
            self._cluster.processes.check()
            time.sleep(0.5)

    def close(self) -> None:
        """Stop everything and remove the folder; after a failure the processes' output stays."""
        killed = self._cluster.processes.stop()
        if killed:
            self._say(f"These had to be killed: {', '.join(killed)}")
        output = self._folder / "output"
        if self._failed and any(output.glob("*.out")):
            kept = Path(tempfile.mkdtemp(prefix="suanli-demo-output-"))
            shutil.copytree(output, kept, dirs_exist_ok=True)
            self._say(f"The output of every process is in {kept}")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _torch(self) -> TorchPython:
        python = for_the_examples(self._say)
        self._say(f"PyTorch: {python.source} ({python.executable})")
        return python

    def _say_how_firms_are_kept_apart(self, python: TorchPython) -> None:
        if not running_as_root():
            self._say(
                "Not root: tasks cannot run as a user of their firm, so the windows will say `isolation: none`."
            )
        elif not all(
            open_to_all(path) for path in (python.executable, python.executable.resolve(), EXAMPLES)
        ):
            self._say(
                "The job's interpreter or folder is closed to other users, so its tasks run as the agent's own user "
                "and the windows will say `isolation: none`."
            )
            self._cluster.accept_no_isolation = True

    def _start(self) -> People:
        cluster = self._cluster
        self._say(
            "Starting PostgreSQL, api, gateway, controller, ledger, and a witness with a key of its own ..."
        )
        cluster.start_control_plane()
        operator = cluster.first_operator()
        configure(operator, EXAMPLES / "demo" / "site.yaml")
        people = make_keys(operator, EXAMPLES / "demo" / "site.yaml")
        self._say(
            "Two firms, two pools, prices and a sample subsidy program are configured (examples/demo/site.yaml)."
        )
        cluster.start_agents(operator)
        for node in sorted(operator.nodes()["nodes"], key=lambda node: str(node["name"])):
            model = node["devices"][0]["model"]
            self._say(
                f"  {node['name']:<10} pool {node['pool']:<7} {len(node['devices'])} x {model} (simulated)"
            )
        return people

    def _submit(self, people: People, python: TorchPython) -> dict[str, str]:
        jobs = {}
        for firm, file in (("yunhe", "job.yaml"), ("lantian", "evaluate.yaml")):
            spec = _spec(EXAMPLES / "finetune" / file, python.executable)
            job = people.researchers[firm].submit(spec)
            jobs[job["job_id"]] = firm
            self._say(f"{firm} submitted {job['name']} ({job['devices']} devices): {job['job_id']}")
        return jobs

    def _watch(self, people: People, jobs: dict[str, str]) -> Scene:
        scene = Scene()
        moved_s, before = time.monotonic(), None
        with Display(self._console) as display:
            while True:
                self._cluster.processes.check()
                self._look(scene, people, jobs)
                display.show(scene)
                if not any(job.step > DRAWN_UNTIL * job.of for job in scene.jobs):
                    self._halfway = picture(scene)
                if scene.all_ended:
                    return scene
                now = [(job.state, job.step) for job in scene.jobs]
                if now != before:
                    moved_s, before = time.monotonic(), now
                if time.monotonic() > moved_s + STANDSTILL_TIMEOUT_S:
                    raise DemoFailedError(
                        f"nothing moved in the jobs for {STANDSTILL_TIMEOUT_S:.0f} s: {now}"
                    )
                time.sleep(FRAME_S)

    def _look(self, scene: Scene, people: People, jobs: dict[str, str]) -> None:
        views = []
        for job_id, firm in jobs.items():
            client = people.researchers[firm]
            job = client.job(job_id)
            attempts = client.attempts(job_id)
            views.append(job_view(job, client.explain(job_id), attempts[-1] if attempts else None))
        scene.jobs = views
        for view in views:
            losses = scene.losses.setdefault(view.job_id, [])
            if view.loss is not None and (not losses or losses[-1] != view.loss):
                losses.append(view.loss)
        busy = {
            node: busy_ratios(httpx.get(url, timeout=2).text)
            for node, url in self._cluster.agent_metrics.items()
        }
        scene.nodes = node_views(people.operator.nodes()["nodes"], jobs, busy)
        scene.log_size, scene.cosigned = ending.log_head(people.operator.server)

    def _fetch_bundle(self, auditor: Client, bundle: Path) -> str:
        """Fetch the evidence up to the jobs' end once the log covers it, cosigned; returns that time, RFC 3339."""
        now_ms = time.time_ns() // 1_000_000
        ended_ms = (now_ms // self._window_ms + 1) * self._window_ms
        ended = datetime.fromtimestamp(ended_ms / 1000, UTC).isoformat()
        self._say("Waiting for the last usage windows to be signed, logged, cosigned and rated ...")
        deadline = time.monotonic() + PROOF_TIMEOUT_S + self._window_ms / 1000
        while True:
            self._cluster.processes.check()
            try:
                auditor.bundle(bundle, to=ended)
                return ended
            except Refused as error:
                if time.monotonic() > deadline:
                    raise DemoFailedError(
                        f"the usage windows were not logged and cosigned in time: {error}"
                    ) from error
            time.sleep(0.3)


def _spec(path: Path, python: Path) -> dict[str, Any]:
    """The job of a file, as `suanli submit` would send it, with the interpreter that has PyTorch."""
    spec: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["working_directory"] = str(path.parent)
    for variant in spec["variants"]:
        if variant["command"][0] == "python":
            variant["command"][0] = str(python)
    return spec
