"""Words of the verifier's reports for people, in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterable

from suanli.evidence.limits import LANGUAGES
from suanli.sentences.words import is_chinese, one_of_many

TEXT: dict[str, tuple[str, str]] = {
    "title": ("Verification of usage evidence", "用量证据核验报告"),
    "verified": ("VERIFIED under your policy", "已核验（依照您的信任策略）"),
    "wrong": ("NOT VERIFIED: something is wrong", "未通过核验：发现问题"),
    "no_policy": (
        "NOT VERIFIED: no policy was given (--policy)",
        "未核验：未提供信任策略（--policy）",
    ),
    "integrity": ("Integrity", "完整性（未被改动）"),
    "integrity_question": (
        "is everything here as it was logged and signed, rightly added up?",
        "此处的一切是否与入日志、签名时一致，且合计正确？",
    ),
    "completeness": ("Completeness", "完备性（没有缺漏）"),
    "completeness_question": (
        "is everything here that must be, for every device, all the time?",
        "每台设备、每一刻应有的一切是否都在此处？",
    ),
    "unreadable": ("Cannot be read: ", "无法读取："),
    "question": ("{what}: {question} ", "{what}：{question}"),
    "yes": ("yes", "是"),
    "no": ("NO", "否"),
    "period": ("Period", "期间"),
    "to": ("to", "至"),
    "for": ("For", "面向"),
    "auditor": ("the auditor", "审计方"),
    "firm": ("firm {firm} alone", "仅企业 {firm}"),
    "bundle": ("Bundle", "证据包"),
    "policy": ("Your policy", "您的信任策略"),
    "verified_at": ("Verified at", "核验时间"),
    "verified_at_value": ("{time} by the clock of this machine", "{time}（本机时钟）"),
    "log": ("Log", "日志"),
    "entries": ("{origin}, {size} entries, root {root}", "{origin}，{size} 个条目，根 {root}"),
    "cosigned": ("Cosigned", "联署"),
    "cosigned_at": ("{name} at {time}", "{name}，{time}"),
    "extends": ("Extends", "延续"),
    "extends_yours": ("your log checkpoint of {size} entries", "您保存的日志检查点（{size} 个条目）"),
    "register": ("Register", "设备登记册"),
    "register_value": (
        "{devices} devices on {nodes} nodes, sha256 {sha256}; completeness is relative to it",
        "{nodes} 个节点上的 {devices} 台设备，sha256 {sha256}；完备性以此为准",
    ),
    "device_list": ("Your list", "您的设备清单"),
    "device_list_value": (
        "{devices} devices, sha256 {sha256}: the register was compared with it",
        "{devices} 台设备，sha256 {sha256}：登记册已与其比对",
    ),
    "simulated": (
        "{simulated} of {devices} devices are SIMULATED: no real hardware behind them",
        "{devices} 台设备中有 {simulated} 台是模拟的（SIMULATED）：背后没有真实硬件",
    ),
    "simulated_label": ("SIMULATED", "模拟设备"),
    "windows": ("Windows", "窗口"),
    "checked": ("{count} checked", "已检查 {count} 个"),
    "isolation": ("Isolation", "隔离"),
    "isolation_in": ("{kind} in {count} windows", "{kind}：{count} 个窗口"),
    "nothing_seen": ("nothing seen", "未见"),
    "device_time": ("Device time", "设备时间"),
    "held_time": ("Time held", "占用时间"),
    "held": ("held", "占用"),
    "allocated": ("allocated", "已分配"),
    "idle": ("idle", "空闲"),
    "reserved": ("reserved", "已预留"),
    "maintenance": ("maintenance", "维护"),
    "faulty": ("faulty", "故障"),
    "unknown": ("unknown", "未知"),
    "recomputed": ("Recomputed", "重新计价"),
    "recomputed_value": (
        "{lines} lines of {firms} firms: {total}, {net} after subsidies",
        "{firms} 家企业 {lines} 行：{total}，补贴后 {net}",
    ),
    "receipts": ("Receipts", "企业回执"),
    "receipts_value": (
        "{agreed} allocations agreed, {contested} contested, {missing} without a receipt",
        "认可 {agreed} 个分配，异议 {contested} 个，{missing} 个没有回执",
    ),
    "sample": ("Sample", "抽样"),
    "sample_value": (
        "{segments} segments in {strata} strata, seed {seed}",
        "{strata} 层中的 {segments} 段，种子 {seed}",
    ),
    "findings": ("Findings, causes first", "发现的问题（起因在前）"),
    "no_findings": ("No findings.", "没有发现问题。"),
    "more": (
        "... and {count} more; --json shows those that were kept.",
        "……另有 {count} 项；--json 列出所保留的。",
    ),
    "step": ("Step", "步骤"),
    "severity": ("Severity", "严重程度"),
    "code": ("Code", "代码"),
    "where": ("Where", "位置"),
    "index": ("Index", "序号"),
    "expected": ("Expected", "应为"),
    "found": ("Found", "实为"),
    "missed": ("Steps not run to their end:", "未执行完的步骤："),
    "not_proved": ("Not proved", "未能证明"),
    "files": ("Files read", "所读文件"),
    "tool": ("Verifier", "核验器"),
    "error": ("error", "错误"),
    "consequence": ("consequence", "后果"),
    "warning": ("warning", "提示"),
    "suspicion": ("suspicion", "疑点"),
    "step_1": ("manifest", "清单"),
    "step_2": ("log checkpoint and quorum", "日志检查点与法定见证者数"),
    "step_3": ("history", "历史"),
    "step_4": ("tree", "树"),
    "step_5": ("payloads", "载荷"),
    "step_6": ("keys", "密钥"),
    "step_7": ("signatures", "签名"),
    "step_8": ("chains", "链"),
    "step_9": ("time", "时间"),
    "step_10": ("coverage", "覆盖"),
    "step_11": ("uniqueness", "唯一性"),
    "step_12": ("attribution", "归属"),
    "step_13": ("bounds and plausibility", "界限与合理性"),
    "step_14": ("rating", "计价"),
    "step_15": ("statement sums", "结算单合计"),
    "step_18": ("sampling", "抽样"),
}


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = LANGUAGES.index(language)

    def __call__(self, name: str, /, **values: object) -> str:
        """A text by its name, with what it asks for filled in."""
        text = TEXT[name][self._place]
        return one_of_many(text.format(**values)) if values else text

    def listed(self, parts: Iterable[str]) -> str:
        """Several in a row."""
        return ("，" if self.language == "zh" else ", ").join(parts)

    def step(self, number: int) -> str:
        """Number and name of a step."""
        return f"{number} {self(f'step_{number}')}"


def language_of(asked: str | None) -> str:
    """The language asked for, else Chinese where the environment is Chinese, else English."""
    if asked is not None:
        return asked
    return "zh" if is_chinese() else "en"
