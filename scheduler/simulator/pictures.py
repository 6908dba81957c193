"""The Gantt chart and the curves of a run, and one page with everything. Needs matplotlib (extra `pictures`)."""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.simulator.rehearsal import Outcome
from scheduler.simulator.situations import BASE
from scheduler.simulator.tables import TableOfText
from suanli.sentences.words import is_chinese, said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUR_MS = 3_600_000
Label = Callable[[str], str]
MOST_BARS = 3_000
MOST_ROWS = 400
MOST_NAMES = 40
# Any of these can write Chinese; without one, pictures are in English.
_CHINESE_FONTS = (
    *(
        "Noto Sans CJK SC",
        "Source Han Sans SC",
        "Source Han Sans CN",
        "WenQuanYi Micro Hei",
        "WenQuanYi Zen Hei",
    ),
    *("Microsoft YaHei", "SimHei", "PingFang SC", "Heiti SC", "Noto Sans CJK JP", "Arial Unicode MS"),
)
# The largest unit of which a run lasts several is its axes'.
_UNITS = ((HOUR_MS, "hours"), (60_000, "minutes"), (1_000, "seconds"))
_UNITS_AT_LEAST = 3
_BESIDE: Mapping[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.005, 1), "frameon": False}


class NoPictures(RuntimeError):
    """matplotlib is not installed."""


_GANTT = "{name}: which firm holds what"
_CURVES = "{name}: devices that jobs hold, and jobs that wait and run"


def shown_name(name: str, label: Label = said) -> str:
    """A situation's name for its reader: the base's is a word of ours, the others' are as they were typed."""
    return label(name) if name == BASE else name


class Picture(NamedTuple):
    """A file, and what it shows in the reader's language, whatever language it could be drawn in."""

    title: str
    path: Path


def files_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Where a situation's Gantt chart and curves go."""
    return folder / f"{name}-gantt.png", folder / f"{name}-curves.png"


def draw(outcome: Outcome, folder: Path) -> list[Picture]:
    """Writes gantt and curves as PNG. Raises NoPictures."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise NoPictures("pictures need matplotlib: install suanli-scheduler[pictures]") from None
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    shown = shown_name(outcome.situation.name)
    gantt, curves = files_of(outcome.situation.name, folder)
    fonts = [font for font in _CHINESE_FONTS if font in _installed_fonts()] if is_chinese() else []
    label = said if fonts else str
    with mpl.rc_context({"font.sans-serif": [*fonts[:1], *mpl.rcParams["font.sans-serif"]]}):
        return [
            Picture(said(_GANTT).format(name=shown), _gantt(outcome, label, gantt)),
            Picture(said(_CURVES).format(name=shown), _curves(outcome, label, curves)),
        ]


def _installed_fonts() -> set[str]:
    from matplotlib import font_manager

    return set(font_manager.get_font_names())


def unit_of(curve: Sequence[tuple[int, float, int, int]]) -> tuple[int, str]:
    """Milliseconds of the unit in which a run's time is drawn, and its name."""
    lasts_ms = curve[-1][0] if curve else 0
    return next((one for one in _UNITS if lasts_ms >= _UNITS_AT_LEAST * one[0]), _UNITS[-1])


def _gantt(outcome: Outcome, label: Label, path: Path) -> Path:
    """Nodes downwards, time to the right, a colour for each firm, a bar for each device."""
    from matplotlib import patches, pyplot

    world = outcome.world
    unit_ms, unit = unit_of(world.measured.curve)
    views = list(world.cluster.views)[:MOST_ROWS]
    row = {view.node_id: number for number, view in enumerate(views)}
    firms = sorted(outcome.summary.firms)
    colours = {firm: pyplot.get_cmap("tab20")(n % 20) for n, firm in enumerate(firms)}
    figure, axes = pyplot.subplots(figsize=(14, min(3 + 0.16 * len(views), 40)))
    for stretch in world.stretches[:MOST_BARS]:
        firm = world.records[stretch.job_id].work.shape.queue.firm_id
        span = (stretch.from_ms / unit_ms, (stretch.until_ms - stretch.from_ms) / unit_ms)
        for node_id, devices in stretch.tasks:
            if node_id in row:
                height = 0.9 / max(1, len(views[row[node_id]].devices))
                for number in devices:
                    bar = (row[node_id] + number * height, height)
                    axes.broken_barh([span], bar, color=colours[firm], linewidth=0.3, edgecolor="white")
    axes.set_xlabel(label(f"{label(unit)} since the first arrival"))
    axes.set_ylabel(label("node, a line for each of its devices"))
    named = range(0, len(views), 1 + len(views) // MOST_NAMES)
    axes.set_yticks([number + 0.45 for number in named], [views[number].name for number in named])
    axes.set_ylim(len(views), -0.1)
    title = label(_GANTT)
    axes.set_title(title.format(name=shown_name(outcome.situation.name, label)))
    handles = [patches.Patch(color=colours[firm], label=firm) for firm in firms[:MOST_NAMES]]
    axes.legend(handles=handles, title=label("firm"), **_BESIDE)
    return _save(figure, path)


def _curves(outcome: Outcome, label: Label, path: Path) -> Path:
    """Devices held of all there are, and jobs that wait and run, over time."""
    from matplotlib import pyplot, ticker

    curve = outcome.world.measured.curve
    unit_ms, unit = unit_of(curve)
    moments = [at_ms / unit_ms for at_ms, *_ in curve]
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(14, 7), sharex=True)
    devices = sum(len(view.devices) for view in outcome.world.cluster.views)
    upper.fill_between(
        moments, [held for _, held, _, _ in curve], step="post", alpha=0.6, label=label("held")
    )
    upper.axhline(devices, color="black", linestyle="--", linewidth=1, label=label(f"all {devices}"))
    upper.set_ylabel(label("devices"))
    title = label(_CURVES)
    upper.set_title(title.format(name=shown_name(outcome.situation.name, label)))
    waiting, running = [found[2] for found in curve], [found[3] for found in curve]
    lower.step(moments, waiting, where="post", color="tab:red", label=label("waiting"))
    lower.step(moments, running, where="post", color="tab:blue", label=label("running"))
    lower.set_ylabel(label("jobs"))
    lower.set_xlabel(label(f"{label(unit)} since the first arrival"))
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(**_BESIDE)
    return _save(figure, path)


def _save(figure: "Figure", path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return path


# On a telephone: figures stay in one line, hashes break, and pictures are moved sideways rather than made too small.
_STYLE = (
    "body{font:14px system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;margin:2em}"
    "@media(max-width:45em){body{margin:1em .5em}}"
    "table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:4px 8px;text-align:right}"
    "td:first-child,th:first-child,table:first-of-type td{text-align:left}"
    "table:first-of-type td+td{overflow-wrap:anywhere}"
    "figure{margin:0;overflow-x:auto}img{max-width:100%;min-width:50em}"
)


def page(tables: Sequence[TableOfText], pictures: Sequence[Picture]) -> str:
    """One HTML page that needs nothing else: the tables, then the pictures."""
    parts = [
        f"<!doctype html><html lang='{'zh' if is_chinese() else 'en'}'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>suanli simulate</title>",
        f"<style>{_STYLE}</style>",
    ]
    for title, header, rows, _ in tables:
        parts.append(f"<h2>{html.escape(title)}</h2><table>")
        if any(header):
            parts.append("<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>")
        for row in rows:
            parts.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</table>")
    for picture in pictures:
        data = base64.b64encode(picture.path.read_bytes()).decode()
        name = html.escape(picture.title)
        source = f"data:image/png;base64,{data}"
        parts.append(f"<h2>{name}</h2><figure><img alt='{name}' src='{source}'></figure>")
    return "\n".join(parts)
