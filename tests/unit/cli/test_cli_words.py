"""What the command line says, in two languages: every sentence of the verbs has its Chinese, none is left of sentences
that are gone, and other people's words stay as they are."""

import ast
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.domain.authorise import Action, in_words
from scheduler.services.account import account_of
from suanli.cli.output import console, make_table
from suanli.client.yaml_files import BadYaml, read_yaml
from suanli.sentences import ZH_SERVER, pattern_of, recognisable
from suanli.sentences.words import is_chinese, said, word
from suanli.sentences.words_zh import ZH
from suanli.sentences.words_zh_apart import ZH_APART
from suanli.sentences.words_zh_evidence import ZH_EVIDENCE
from suanli.sentences.words_zh_refusals import ZH_REFUSALS
from suanli.sentences.words_zh_typer import ZH_TYPER

ROOT = Path(__file__).parents[3]
PLACE = re.compile(r"\{\w+\}")
COMMANDS = tuple(
    f"scheduler/{name}.py" for name in ("app", "terminal", "admin", "admin_commands", "check", "wiring")
)
_OF_EVIDENCE = tuple(
    f"suanli/evidence/{name}.py"
    for name in ("bundle_io", "device_list", "keys", "log_checkpoint", "policy", "receipts", "signed_note")
)
ROOMS = (
    "suanli/cli",
    "suanli/client",
    "suanli/content",
    "suanli/rating/no_such_time.py",
    *_OF_EVIDENCE,
    "scheduler/services",
    "agents/runtime/shim.py",
    "scheduler/domain",
    "scheduler/machine",
    "scheduler/planner",
    "scheduler/api",
    *(CONTROL_PLANE := ("scheduler/simulator", "scheduler/up", "scheduler/demo", *COMMANDS)),
)
# The report of a verdict has its own table of both languages.
APART = re.compile(r"verify_text|words.*")
SPOKEN = {
    "CliError",
    "say",
    "note",
    "word",
    "NoProfile",
    "print_table",
    "ask_hidden",
    "SignInFailed",
    "FolderError",
    "typer.BadParameter",
    "_end",
    "fail",
    "UpFailed",
    "self._say",
    "BadTrace",
    "BadYaml",
    "NoPictures",
    "said",
}


def trees(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")) or [ROOT / room]:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def sentences(node: ast.expr | None) -> Iterator[str]:
    """The text of an expression, each place filled with something that is no word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield PLACE.sub("1", node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "1" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from sentences(node.body)
        yield from sentences(node.orelse)
    elif isinstance(node, ast.List):
        for item in node.elts:
            yield from sentences(item)


def spoken() -> Iterator[tuple[str, str]]:
    for path, tree in trees("suanli/cli", "suanli/client", *CONTROL_PLANE):
        if APART.fullmatch(path.stem):
            continue
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in SPOKEN and node.args):
                continue
            empty = [keyword.value for keyword in node.keywords if keyword.arg == "empty"]
            for expression in [node.args[0], *empty]:
                for sentence in sentences(expression):
                    if re.search(
                        "[A-Za-z]{2,} .*[A-Za-z]{2,}", sentence.replace("suanli", "").replace("--file", "")
                    ):
                        yield f"{path.name}:{node.lineno}", sentence


def test_every_sentence_of_the_verbs_has_its_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh_CN.UTF-8")
    found = list(spoken())
    assert len(found) > 100
    assert (word("API key"), word("Value"), word("Passphrase")) == ("API 密钥", "值", "口令")
    assert [place for place in found if said(place[1]) == place[1]] == []


def wants(node: ast.AST) -> Iterator[ast.expr]:
    """What a field should have held, where that is said."""
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "want")
        if ast.unparse(node.func).endswith((".problem", "FieldProblem")):
            yield node.args[-1]
    elif isinstance(node, ast.Assign) and "want" in ast.unparse(node.targets[0]).lower():
        yield node.value


def test_every_refusal_of_a_job_or_a_configuration_has_its_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh_CN.UTF-8")
    wanted = {
        sentence
        for _, tree in trees("scheduler/domain", "scheduler/simulator")
        for node in ast.walk(tree)
        for expression in wants(node)
        for sentence in sentences(expression)
        if re.search("[a-z]{2,}", sentence)
    }
    assert len(wanted) > 100
    assert [want for want in sorted(wanted) if said(want) == want] == []


_REFUSALS = {"Conflict", "Unavailable", "NotFound", "Forbidden"}


def test_every_refusal_of_the_server_and_of_files_of_evidence_has_its_chinese(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh_CN.UTF-8")

    def refusals() -> Iterator[ast.expr]:
        rooms = ("scheduler/services", "scheduler/api", "scheduler/domain", "scheduler/planner")
        for path, tree in trees(*rooms, *_OF_EVIDENCE):
            for node in ast.walk(tree):
                named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "want"
                if (
                    isinstance(node, ast.Assign)
                    and named
                    and path.parent.name in ("services", "domain", "planner")
                ):
                    yield node.value
                if not (isinstance(node, ast.Call) and node.args):
                    continue
                name = ast.unparse(node.func).rpartition(".")[2]
                if name in _REFUSALS:
                    yield node.args[0]
                elif name in ("FieldProblem", "Contradiction", "refuse", "problem"):
                    yield node.args[-1]
                elif name == "EvidenceError":
                    yield from node.args[1:]

    found = {
        sentence
        for expression in refusals()
        for sentence in sentences(expression)
        if re.search("[A-Za-z]{2,} .*[A-Za-z]{2,}", sentence) and '"type"' not in sentence
    }
    assert len(found) > 150
    assert [sentence for sentence in sorted(found) if said(sentence) == sentence] == []


def test_a_sentence_has_one_chinese() -> None:
    parts = (ZH, ZH_APART, ZH_EVIDENCE, ZH_REFUSALS, ZH_TYPER, ZH_SERVER)
    assert sum(map(len, parts)) == len({sentence for part in parts for sentence in part})


def test_no_chinese_is_left_of_a_sentence_that_is_gone() -> None:
    literals = "\n".join(
        node.value
        for path, tree in trees(*ROOMS)
        if not path.stem.startswith("words_zh")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    literals = "\n".join([literals, *map(os.strerror, errno.errorcode), *map(in_words, Action)])
    literals = literals.lower()
    gone = [
        key
        for key in {**ZH, **ZH_APART, **ZH_EVIDENCE, **ZH_REFUSALS, **ZH_SERVER}
        for part in PLACE.split(key.replace("got nothing", "got {got}"))
        if part.strip(" .,;:()?[]-").lower() not in literals
    ]
    assert gone == [], gone


def test_the_chinese_has_the_places_of_its_key() -> None:
    for key, chinese in {**ZH, **ZH_APART, **ZH_EVIDENCE, **ZH_REFUSALS, **ZH_TYPER, **ZH_SERVER}.items():
        assert set(PLACE.findall(chinese)) <= set(PLACE.findall(key)), key
        assert not recognisable(key) or pattern_of(key).fullmatch(PLACE.sub("1", key)), key


def test_a_sentence_is_recognised_with_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    english = "suanli: job.yaml, line 3: gang.devices: got -1, want a whole number from 1 to 100"
    assert said(english) == english
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert said(english) == "suanli: job.yaml 第 3 行：gang.devices：收到 -1，应为 1 到 100 的整数"
    assert said("\nThe job goes on.") == "\n作业继续运行。"
    assert said("suanli: --rank: got 9, want one of the job's 4 processes, counted from 0").startswith(
        "suanli: --rank：收到 9，应为该作业 4 个进程之一"
    )
    assert word("no limit") == "不限"
    assert said("priority: got 'x', want one of: low, high") == "priority：收到 'x'，应为以下之一：low, high"
    assert said("priority: got 'x', want 7 of them") == "priority：收到 'x'，应为 7 of them"
    assert said("--priority: got 'x', want 以下之一：low") == "--priority：收到 'x'，应为以下之一：low"
    poor = (
        "may cost 29.40 CNY on h100 in an hour; project research has 0.00 left of 0.01 CNY a month,"
        " 41.71 are spent or held"
    )
    assert "项目 research 每月的预算 0.01 元还剩 0.00 元" in said(poor)
    assert word("AGE") == "已过"
    assert word("{firm}, {project}", firm="lanjing", project="nlp") == "lanjing，nlp"


@pytest.mark.parametrize(
    "text",
    ["killed by signal 9", "out of memory, again", "loss: 0.5", "my node", "x" * 3_000, "a, b by c", "42 GB"],
)
def test_other_peoples_words_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert said(text) == text


@pytest.mark.parametrize(
    ("written", "chinese"),
    [
        ("a: b: c", "这里不能有键的值；含有 “: ” 的值要加引号"),
        ("a:\n\tb: 1", "没有任何成分能以字符 '\\t' 开头；请用空格而不是制表符缩进"),
        ("a: 1\n  b: 2", "这里不能有键的值；含有 “: ” 的值要加引号"),
        ("a: @b", "没有任何成分能以字符 '@' 开头"),
        ("a: [1, 2", "应为 “,” 或 “]”，却出现 '<stream end>'"),
        ("a: {b: 1", "应为 “,” 或 “}”，却出现 '<stream end>'"),
        ("- a\nb: 1", "这一段应在此结束，却出现 '?'（多半是缩进不一致）"),
        ("a: 1\nb", "缺少 “:”"),
        ('a: "b', "文件在此意外结束"),
        ('a: "\\y"', "未知的转义字符 'y'"),
        ("a: - b", "这里不能有列表项"),
        ("a: !t b", "未知的标签 '!t'"),
        ("a: !!x!t b", "未知的标签 'tag:yaml.org,2002:x!t'"),
        ("a: 1\n---\nb: 1", "文件中有不止一个文档"),
    ],
)
def test_what_is_no_yaml_is_said_in_chinese_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str, chinese: str
) -> None:
    (tmp_path / "job.yaml").write_text(written)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadYaml) as refused:
        read_yaml("job.yaml")
    assert re.fullmatch(
        rf"job.yaml 第 \d 行：不是 YAML：{re.escape(chinese)}", said(str(refused.value), chinese=True)
    )


def test_where_a_job_was_placed_is_said_in_chinese_whole() -> None:
    on = [
        {"node": "node-1", "devices": [0, 1, 2, 3, 6]},
        *({"node": f"n{n}", "devices": [0]} for n in range(9)),
    ]
    (short,) = account_of({"nodes": on[:2], "pool": "haidian"})
    assert said(short, chinese=True) == "放置在资源池 haidian 的 node-1（设备 0-3,6）、n0（设备 0）。"
    (long,) = account_of({"nodes": on})
    assert said(long, chinese=True).endswith("n5（设备 0）、n6（设备 0）及另外 2 个节点。")


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "SUANLI_LANG": "zh"}, True),
        ({}, False),
    ],
)
def test_the_locale_chooses_the_language(environment: dict[str, str], chinese: bool) -> None:
    assert is_chinese(environment) is chinese


def test_a_sentence_is_said_in_the_language_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert word("Submitted {jobs} jobs.", jobs=3) == "已提交 3 个作业。"
    assert word("never translated") == "never translated"
    monkeypatch.setenv("SUANLI_LANG", "en")
    assert word("Submitted {jobs} jobs.", jobs=3) == "Submitted 3 jobs."


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("1 x 1 devices", "1 x 1 device"),
        ("Sent .: 1 files, 3 B, of which 3 B were new", "Sent .: 1 file, 3 B, of which 3 B were new"),
        ("1 entries drawn of 11 entries", "1 entry drawn of 11 entries"),
        ("1 of 1 objects, 1 tasks", "1 of 1 object, 1 task"),
        ("0.1 jobs and 1,001 nodes", "0.1 jobs and 1,001 nodes"),
        ("its ascend-910b1 devices", "its ascend-910b1 devices"),
        ("pool a1 jobs, (1 jobs), 1/1 nodes", "pool a1 jobs, (1 job), 1/1 nodes"),
    ],
)
def test_one_is_not_many(monkeypatch: pytest.MonkeyPatch, many: str, one: str) -> None:
    monkeypatch.setenv("SUANLI_LANG", "en")
    assert said(many) == one


# One word of Chinese for one of English: the others mean the same, and would be taken for something else.
SAY_NOT = {
    "研究者": "研究人员",
    "运营者": "运营方",
    "运维人员": "运营方",
    "审计员": "审计方",
    "校验": "核验",
    "控制面": "控制平面",
    "使用量": "用量",
    "时间上限": "时限",
    "补贴项目": "补贴方案",
    "主体": "用户",
    "账单合计": "结算单合计",
    "(?<!日志)(?<!模型)检查点": "日志检查点 or 模型检查点",
}


@pytest.mark.parametrize("wrong", SAY_NOT)
def test_one_word_has_one_meaning_in_chinese_too(wrong: str) -> None:
    files = [
        *(ROOT / "suanli").rglob("*_zh*.py"),
        ROOT / "suanli/cli/verify_text.py",
        ROOT / "README.zh-CN.md",
    ]
    assert len(files) > 8
    for file in files:
        found = re.search(f".*{wrong}.*", file.read_text(encoding="utf-8"))
        assert found is None, (file.name, found and found[0], f"say {SAY_NOT[wrong]}")


def test_without_colours_there_are_no_bold_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    with console().capture() as shown:
        console().print("plain", style="bold red")
        console().print(make_table(["STATE"], [["running"]]))
    assert "\x1b" not in shown.get()


def test_no_time_is_lost_on_a_sentence_that_is_longer_than_any_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    # Each word begins what a place could hold: 8 KB of them took twelve seconds.
    for words in ("cannot reach {}: no", "there is no profile {} (there are: x)"):
        assert said(words.format("a ")) != words.format("a ")
        assert said(words.format("a " * 600)) == words.format("a " * 600)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "suanli: job.yaml, line 4: time_limit: there is no such field; did you mean time_limit_seconds?",
            "suanli: job.yaml 第 4 行：time_limit：没有该字段；是否想写 time_limit_seconds？",
        ),
        ("deadline: got 3, want an absolute path without ..", "deadline：收到 3，应为不含 .. 的绝对路径"),
        ("there is no job running (suanli jobs lists them)", "没有作业 running（suanli jobs 列出作业）"),
        ("queue: got normal, want a list", "queue：收到 normal，应为列表"),
        ("name: got nothing, want text", "name：收到空值，应为文本"),
        (
            "lin is a researcher and may not set budgets of firms; these may: firm administrator, operator",
            "lin 的角色是研究人员；“设定企业预算”只允许：企业管理员、运营方",
        ),
        (
            "the job could never start: asks for 1 node with 100 mlu370-x8; the largest pool of the queue has 0 such; "
            "the nearest possible gang is 8 mlu370-x8 as 1 x 8",
            "该作业永远无法启动：需要 1 个节点，各 100 mlu370-x8；该队列最大的资源池有 0 个；"
            "最接近且可行的规模是 8 mlu370-x8，即 1 x 8",
        ),
        (
            "the job could never start: asks for 2 nodes with 8 mlu370-x8; the largest pool of the queue has 1 such; "
            "the nearest possible gang is 8 mlu370-x8 as 1 x 8 with spare_nodes: 0",
            "该作业永远无法启动：需要 2 个节点，各 8 mlu370-x8；该队列最大的资源池有 1 个；"
            "最接近且可行的规模是 8 mlu370-x8，即 1 x 8，spare_nodes 为 0",
        ),
        (
            "the job could never start: asks for 8 mlu370-x8; the queue's whole quota is 4; "
            "the nearest possible gang is 4 mlu370-x8 as 1 x 4",
            "该作业永远无法启动：需要 8 mlu370-x8；队列的全部配额是 4；最接近且可行的规模是 4 mlu370-x8，即 1 x 4",
        ),
        (
            "the job could never start: 3 mlu370-x8 on one node are not allowed; allowed are 1, 2; "
            "the queue's pools have: mlu370-x8",
            "该作业永远无法启动：一个节点上不允许 3 个 mlu370-x8；允许 1, 2；该队列的资源池有：mlu370-x8",
        ),
    ],
)
def test_what_was_typed_keeps_its_name_where_the_rest_is_translated(
    monkeypatch: pytest.MonkeyPatch, english: str, chinese: str
) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert said(english) == chinese


def test_no_typed_text_is_long_to_recognise() -> None:
    """It repeats what stands between the places of a key, which took minutes where each place tried every end."""
    for key in filter(recognisable, {**ZH, **ZH_REFUSALS, **ZH_TYPER, **ZH_SERVER}):
        before, *between = PLACE.split(key)
        if any(text.strip() for text in between[:-1]):
            typed = (before + "1" + "".join("1" + text for text in between[:-1]) * 200)[:999] + "\n"
            assert pattern_of(key).fullmatch(typed) is None
