"""What vendors' tools once printed on real hosts, as if they were asked again."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

from agents.devices.driver import DriverError
from tests.shared_data import shared_path


def recorded(name: str) -> str:
    """A recorded output by its place below the vendors'."""
    return (shared_path("accelerators/vendor_outputs") / f"{name}.txt").read_text("utf-8")


def mthreads_gmi() -> str:
    """Two of the devices of a host with S5000."""
    return recorded("mthreads/mthreads-gmi_q_json_1_partial")


def npu_smi(name: str) -> str:
    """What `npu-smi` printed."""
    return recorded(f"ascend/npu-smi_{name}")


class NpuSmi:
    """Answers with recorded outputs, as a host with eight 910A would; `changes` replace them, None is a failure."""

    def __init__(self, **changes: str | None) -> None:
        self._answers: dict[str, str | None] = {
            "info": npu_smi("info_3"),
            "info -m": npu_smi("info-m_4"),
            "info -t topo": npu_smi("info-t-topo_2"),
            "info -t board": npu_smi("info-t-board_1"),
            "info -t board -c": npu_smi("info-t-board-c_3"),
            "info -t hccs -c": npu_smi("info-t-hccs_1"),
            "info -t ecc": npu_smi("info-t-ecc_1"),
        } | changes
        self.asked: list[str] = []

    def __call__(self, arguments: Sequence[str]) -> str:
        question = " ".join(arguments)
        self.asked.append(question)
        words = [word for word in arguments if word != "-i" and not word.isdigit()]
        answer = self._answers[" ".join(words)]
        if answer is None:
            raise DriverError(f"npu-smi {question} failed")
        return answer


class RecordedNvml:
    """Answers as NVML did on a host with one H200, `idle` or `busy` with a job that fills memory; refuses as it did."""

    def __init__(self, state: str) -> None:
        recorded = json.loads(Path(__file__).with_name("nvml_h200.json").read_text("utf-8"))
        self._answers: dict[str, Any] = recorded["idle"] | recorded[state]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            return getattr(pynvml, name)  # its constants and its error

        def answer(*arguments: Any) -> Any:
            asked = [a for a in arguments if a is not None]  # without the handle, which is None here
            said = self._answers[name + (json.dumps(asked) if asked else "")]
            if "error" in said:
                raise pynvml.NVMLError(said["error"])
            return _struct(said["answer"])

        return answer


def _struct(value: Any) -> Any:
    """Objects with fields, where NVML gives structures."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: _struct(field) for name, field in value.items()})
    return [_struct(item) for item in value] if isinstance(value, list) else value
