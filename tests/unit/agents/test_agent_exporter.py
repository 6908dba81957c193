"""The metrics page."""

from agents.core.readings import DeviceSample, Health
from agents.core.tasks import Phase
from agents.exporter import Metric, exposition
from agents.node_metrics import NodeFigures, node_metrics


def test_labels_are_escaped() -> None:
    page = exposition([Metric("m", "gauge", "Text.", (({"b": 'x"\\\n', "a": "1"}, 2), ({}, 3)))])
    assert page == '# HELP m Text.\n# TYPE m gauge\nm{a="1",b="x\\"\\\\\\n"} 2\nm 3\n'


def test_the_node_shows_its_figures() -> None:
    figures = NodeFigures(
        connected=True,
        tasks=(Phase.RUNNING, Phase.RUNNING, Phase.ENDED),
        tasks_ended={"exited": 4},
        samples={0: DeviceSample(0), 1: DeviceSample(1, Health.FAULTY)},
        utilisation_ppm={0: 250_000},
        windows_waiting=2,
        windows_acknowledged=7,
        samples_taken=9,
        log_bytes=11,
        desired_obeyed=13,
        desired_refused=1,
    )
    page = exposition(node_metrics(figures)).splitlines()
    assert 'suanli_agent_tasks{phase="running"} 2' in page
    assert 'suanli_agent_device_healthy{device="1"} 0' in page
    assert 'suanli_agent_device_utilisation_ratio{device="0"} 0.25' in page
    assert 'suanli_agent_tasks_ended_total{reason="exited"} 4' in page
    assert "suanli_agent_windows_waiting 2" in page
