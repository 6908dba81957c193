"""What a verification did not prove, said each time: sentences with a name, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

LIMITS: dict[str, tuple[str, str]] = {
    "no_manifest": ("Nothing: the bundle has no manifest.", "任何内容：证据包没有清单。"),
    "manifest_unreadable": ("Nothing: the manifest cannot be read.", "任何内容：清单无法读取。"),
    "files_differ": (
        "Anything beyond the manifest: files are missing or differ from it.",
        "清单以外的任何内容：文件缺失或与清单不符。",
    ),
    "checkpoint_unreadable": (
        "Anything about the log: its checkpoint cannot be read.",
        "关于日志的任何内容：其检查点无法读取。",
    ),
    "log_unknown": (
        "Anything about the log: the policy does not know it.",
        "关于日志的任何内容：信任策略中没有该日志。",
    ),
    "log_unsigned": (
        "Anything about the log: its checkpoint is not signed by the key of the policy.",
        "关于日志的任何内容：其检查点不是由策略中的密钥签名的。",
    ),
    "tree_too_large": (
        "Anything about the entries: the tree is larger than this verifier reads.",
        "关于条目的任何内容：树的规模超出本核验器的上限。",
    ),
    "tiles_missing": (
        "Anything about the entries: tiles are missing.",
        "关于条目的任何内容：缺少数据块文件。",
    ),
    "bundle_unreadable": (
        "Anything about the entries: a bundle of them cannot be read.",
        "关于条目的任何内容：有一组条目无法读取。",
    ),
    "other_tree": (
        "Anything about the entries: they are not those of the signed tree.",
        "关于条目的任何内容：它们不属于已签名的树。",
    ),
    "no_operator_keys": (
        "Whose keys signed the entries: the log does not begin with the operator's keys.",
        "条目由谁的密钥签名：日志开头没有运营方密钥。",
    ),
    "other_operator_keys": (
        "Whose keys signed the entries: the log's own key is not the one of the policy.",
        "条目由谁的密钥签名：日志自己的密钥与策略中的不同。",
    ),
    "payloads_missing": (
        "What entries from index {index} on say: their payloads are missing.",
        "自序号 {index} 起的条目内容：其载荷缺失。",
    ),
    "payloads_misplaced": (
        "What entries from index {index} on say: their payloads are not in their places.",
        "自序号 {index} 起的条目内容：其载荷不在应在的位置。",
    ),
    "simulated": (
        "Anything about real hardware where devices are SIMULATED.",
        "任何真实硬件：这里有模拟设备（SIMULATED）。",
    ),
    "firm_scope": (
        "Coverage of devices and the use of others: this bundle is for firm {firm_id} alone; "
        "attribution and rating cover its own entries only.",
        "设备的覆盖情况以及其他企业的使用：本证据包只面向企业 {firm_id}，归属与计价只涉及其自身条目。",
    ),
    "no_policy": (
        "Whose log this is: no policy was given, so the log's own claim about its key was used.",
        "这是谁的日志：未提供信任策略（policy），因此只采用了日志自称的密钥。",
    ),
    "existence": (
        "That devices exist and are what they report: only inspection shows that.",
        "设备确实存在且如其所报：只有现场检查才能证明。",
    ),
    "truth": (
        "That the work done was the work declared: a log proves records unaltered, not true.",
        "所做工作即所申报工作：日志只证明记录未被改动，不证明其真实。",
    ),
    "beginning": (
        "What happened before the first log checkpoint that a witness of the reader cosigned.",
        "读者的见证者首次联署检查点之前发生的事。",
    ),
    "caps": (
        "What a cap of a program had left from earlier periods: caps are applied within this period.",
        "补贴上限在以往各期的剩余额度：此处上限只在本期内适用。",
    ),
    "no_witness": (
        "That others saw the same log: the policy asks for no witness.",
        "他人看到的是同一份日志：策略不要求任何见证者。",
    ),
    "stamp_unchecked": (
        "When a time-stamping authority saw this log: its stamp was not checked (--time-stamp-authority).",
        "时间戳机构何时见过本日志：其时间戳未经核对（--time-stamp-authority）。",
    ),
    "stamp_none": (
        "When a time-stamping authority saw this log: the bundle carries no stamp.",
        "时间戳机构何时见过本日志：证据包中没有时间戳。",
    ),
    "no_since": (
        "That this log extends an earlier one: no earlier log checkpoint was given (--since). "
        "Keep the bundle's file `checkpoint` for the next time.",
        "本日志是先前日志的延续：未提供先前的检查点（--since）。请保存证据包中的 checkpoint 文件供下次使用。",
    ),
    "no_time": (
        "That no window is dated later than it was logged: no witness gave a time.",
        "没有窗口的时间晚于其入日志的时间：没有见证者给出时间。",
    ),
    "one_person": (
        "That two persons enrolled each node: {few} of {all} keys name fewer.",
        "每个节点由两人登记：{all} 个密钥中有 {few} 个登记人不足两名。",
    ),
    "receipts_missing": (
        "That firms agree with their use: {missing} of {used} allocations in use have no receipt of their firm.",
        "企业认可其用量：{used} 个被使用的分配中有 {missing} 个没有企业回执。",
    ),
    "firm_keys": (
        "That firms' receipts are signed by the firms: no list of their keys was given (--firm-keys).",
        "回执确由企业签名：未提供企业密钥清单（--firm-keys）。",
    ),
    "own_register": (
        "That the register names every device that there is: no list of your own was given (--register).",
        "登记册列出了全部设备：未提供您自己的设备清单（--register）。",
    ),
    "statements_unlogged": (
        "That the statement is what the period was closed with: {missing} of {firms} firms' statements of this period "
        "are not in the log.",
        "该结算单即本期关账时的结算单：{firms} 家企业中有 {missing} 家的本期结算单不在日志中。",
    ),
    "device_time_unstated": (
        "What the operator claims that its devices' time was: the statement is of a form that does not say it.",
        "运营方声称其设备时间如何分布：该结算单的格式不含此项。",
    ),
    "held_unstated": (
        "What the operator claims of the time that firms held devices: {missing} of {firms} statement entries of the "
        "period are of a form that does not say it.",
        "运营方声称企业占用设备的时间如何分布：本期 {firms} 个结算单条目中有 {missing} 个的格式不含此项。",
    ),
    "held_unused": (
        "How the time that you held and did not use divides into reserved, faulty and unknown: only its sum follows "
        "from what a firm is shown; an auditor recomputes each.",
        "您已占用而未使用的时间如何分为预留、故障和未知：从企业可见的内容只能核对其总和；审计方会逐项重新计算。",
    ),
    "sample_unseen": (
        "That the operator could not choose the sample: no witness saw its seed.",
        "运营方无法挑选样本：没有见证者看到过种子。",
    ),
    "sample_ahead": (
        "That the seed's log checkpoint of {size} entries extends this bundle: fetch a newer bundle and give "
        "this one's checkpoint as --since.",
        "种子所用的检查点（{size} 个条目）是本证据包的延续：请取更新的证据包，并以本包的检查点作为 --since。",
    ),
    "sample_entries": (
        "Anything about the entries that were not drawn: {drawn} were, of a log of {size}. A bundle proves them all.",
        "未被抽中的条目：日志共 {size} 个条目，抽取了 {drawn} 个。证据包可证明全部条目。",
    ),
    "sample_open": (
        "What raw samples would show: a sample was drawn, and no packet is back yet.",
        "原始采样能说明什么：已抽样，但证明包尚未返回。",
    ),
}
"""Sentences by name; each completes "Not proved:"."""

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that was not proved."""

    name: str
    values: tuple[tuple[str, object], ...] = ()

    def text(self, language: str = "en") -> str:
        """The sentence in one of LANGUAGES."""
        return LIMITS[self.name][LANGUAGES.index(language)].format(**dict(self.values))

    def __str__(self) -> str:
        return self.text()


def limit(name: str, **values: object) -> Limit:
    """A limit of LIMITS with the values its sentence asks for."""
    return Limit(name, tuple(values.items()))
