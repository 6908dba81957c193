"""The scene on a terminal that people like to look at, or as plain lines where there is no terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.demo.scene import JobView, NodeView, Scene
from suanli.sentences.words import said

FIRM_STYLES = ("bright_cyan", "bright_magenta", "bright_yellow", "bright_green")
STATE_STYLES = {
    "queued": "yellow",
    "allocated": "blue",
    "running": "bright_green",
    "stopping": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "red",
}
SPARKS = "▁▂▃▄▅▆▇█"


class Display:
    """Shows scenes: redrawn in place on a terminal, as lines of what changed elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=8, transient=False) if console.is_terminal else None
        )
        self._said: set[str] = set()
        self._steps: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        """Show what is the case now."""
        if self._live:
            self._live.update(picture(scene))
            return
        for job in scene.jobs:
            self._say_once(f"{job.firm}/{job.name}: {said(job.state)} {_plain_where(job)}")
            tenth = 10 * job.step // job.of if job.of else 0
            if tenth > self._steps.get(job.job_id, 0):
                self._steps[job.job_id] = tenth
                loss = "" if job.loss is None else f", loss {job.loss:.3f}"
                step = said(f"step {job.step} of {job.of}")
                self._say_once(f"{job.firm}/{job.name}: {step}{loss}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def picture(scene: Scene) -> RenderableType:
    """The whole scene: queue, progress, devices, log."""
    firms = sorted({job.firm for job in scene.jobs})
    styles = {firm: FIRM_STYLES[i % len(FIRM_STYLES)] for i, firm in enumerate(firms)}
    witness = "cosigned by the witness" if scene.cosigned else "waiting for the witness"
    return Group(
        Panel(
            _queue(scene.jobs, styles),
            title=said("Queue and placement"),
            title_align="left",
            border_style="dim",
        ),
        Panel(_progress(scene, styles), title=said("Training"), title_align="left", border_style="dim"),
        Panel(
            _devices(scene.nodes, styles),
            title=said("Devices (simulated)"),
            title_align="left",
            border_style="dim",
        ),
        Text(said(f" Evidence log: {scene.log_size} entries, newest log checkpoint {witness}"), style="dim"),
    )


def _queue(jobs: list[JobView], styles: dict[str, str]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1))
    for column, options in {
        "firm": {},
        "job": {},
        "state": {},
        "devices": {"justify": "right"},
        "where": {"overflow": "fold"},
        "why": {"overflow": "fold", "ratio": 1},
    }.items():
        table.add_column(said(column), header_style="dim", **options)  # type: ignore[arg-type]
    for job in jobs:
        table.add_row(
            Text(job.firm, styles[job.firm]),
            Text(job.name),
            Text(said(job.state), STATE_STYLES.get(job.state, "")),
            str(job.devices),
            Text(job.where),
            Text(said(job.why), "dim"),
        )
    return table


def _progress(scene: Scene, styles: dict[str, str]) -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for job in scene.jobs:
        losses = scene.losses.get(job.job_id, [])
        loss = f"loss {job.loss:.3f}" if job.loss is not None else ""
        table.add_row(
            Text(job.name, styles[job.firm]),
            ProgressBar(total=job.of or 1, completed=job.step, pulse=False),
            f"{job.step}/{job.of}" if job.of else "-",
            Text(f"{loss:<12} {sparkline(losses, 24)}", "dim"),
        )
    return table


def _devices(nodes: list[NodeView], styles: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for node in nodes:
        cells = Text()
        for device in node.devices:
            style = styles.get(device.firm or "", "dim")
            level = SPARKS[min(7, int((device.busy or 0.0) * 8))] if device.firm else "·"
            cells.append(f"{device.index}{level} ", style)
        state = Text(said(node.state), "green" if node.state == "connected" else "bold red")
        table.add_row(Text(node.name), Text(node.pool, "dim"), Text(node.model, "dim"), state, cells)
    return table


def sparkline(values: list[float], width: int) -> str:
    """A line of small bars, the newest `width` values scaled between their least and greatest."""
    shown = values[-width:]
    if len(shown) < 2:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(SPARKS[int((value - low) / span * (len(SPARKS) - 1))] for value in shown)


def _plain_where(job: JobView) -> str:
    if job.state == "queued":
        return f"({said(job.why)})" if job.why else ""
    why = f": {said(job.why)}" if job.why and job.state == "allocated" else ""
    return said(f"on {job.where}") + why if job.where != "-" else ""
