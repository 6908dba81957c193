"""What vendors' tools once printed on real hosts, as if they were asked again."""

from collections.abc import Sequence

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
