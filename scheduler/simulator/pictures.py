"""The Gantt chart and the curves of a run, and one page with everything. Needs matplotlib (extra `pictures`)."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from scheduler.simulator.rehearsal import Outcome

HOUR_MS = 3_600_000
MOST_BARS = 3_000
MOST_ROWS = 400


class NoPictures(RuntimeError):
    """matplotlib is not installed."""


def draw(outcome: Outcome, folder: Path) -> list[Path]:
    """Writes gantt and curves as PNG. Raises NoPictures."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise NoPictures("pictures need matplotlib: install suanli-scheduler[pictures]") from None
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    name = outcome.situation.name
    return [_gantt(outcome, folder / f"{name}-gantt.png"), _curves(outcome, folder / f"{name}-curves.png")]


def _gantt(outcome: Outcome, path: Path) -> Path:
    """Nodes downwards, time to the right, a colour for each firm, a bar for each device."""
    from matplotlib import patches, pyplot

    world = outcome.world
    views = list(world.cluster.views)[:MOST_ROWS]
    row = {view.node_id: number for number, view in enumerate(views)}
    firms = sorted(outcome.summary.firms)
    colours = {firm: pyplot.get_cmap("tab20")(n % 20) for n, firm in enumerate(firms)}
    figure, axes = pyplot.subplots(figsize=(14, min(3 + 0.16 * len(views), 40)))
    for stretch in world.stretches[:MOST_BARS]:
        firm = world.records[stretch.job_id].work.shape.queue.firm_id
        span = (stretch.from_ms / HOUR_MS, (stretch.until_ms - stretch.from_ms) / HOUR_MS)
        for node_id, devices in stretch.tasks:
            if node_id in row:
                height = 0.9 / max(1, len(views[row[node_id]].devices))
                for number in devices:
                    bar = (row[node_id] + number * height, height)
                    axes.broken_barh(
                        [span], bar, color=colours[firm], alpha=0.7, linewidth=0.3, edgecolor="white"
                    )
    axes.set_xlabel("hours since the first arrival")
    axes.set_ylabel("node")
    axes.set_title(f"{outcome.situation.name}: who holds what")
    handles = [patches.Rectangle((0, 0), 1, 1, color=colours[firm]) for firm in firms[:20]]
    axes.legend(handles, firms[:20], loc="upper right", fontsize="small")
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return path


def _curves(outcome: Outcome, path: Path) -> Path:
    """Devices held, and jobs that wait and run, over time."""
    from matplotlib import pyplot

    curve = outcome.world.measured.curve
    hours = [at_ms / HOUR_MS for at_ms, *_ in curve]
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(14, 7), sharex=True)
    upper.step(hours, [held for _, held, _, _ in curve], where="post")
    upper.set_ylabel("devices held")
    upper.set_title(outcome.situation.name)
    lower.step(hours, [waiting for _, _, waiting, _ in curve], where="post", label="waiting")
    lower.step(hours, [running for _, _, _, running in curve], where="post", label="running")
    lower.set_ylabel("jobs")
    lower.set_xlabel("hours since the first arrival")
    lower.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return path


def page(tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]], images: Sequence[Path]) -> str:
    """One HTML page that needs nothing else: tables of (title, header, rows), then the pictures."""
    parts = [
        "<!doctype html><meta charset='utf-8'><title>suanli simulate</title>",
        "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #ccc;padding:4px 8px;text-align:right}td:first-child{text-align:left}"
        "img{max-width:100%}</style>",
    ]
    for title, header, rows in tables:
        parts.append(f"<h2>{html.escape(title)}</h2><table><tr>")
        parts += [f"<th>{html.escape(cell)}</th>" for cell in header]
        parts.append("</tr>")
        for row in rows:
            parts.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</table>")
    for image in images:
        data = base64.b64encode(image.read_bytes()).decode()
        name = html.escape(image.stem)
        parts.append(f"<h2>{name}</h2><img alt='{name}' src='data:image/png;base64,{data}'>")
    return "\n".join(parts)
