"""Titles and details of problems in the language that a caller asks for (RFC 9110, 12.5.4): English, or Chinese.

Details are made where the error is, in English, and recognised here by the table that the command line has, too. What
programs read (`code`, `facts`, `field` and `got` of `errors`) is English always.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache

from suanli.sentences import ZH_SERVER, Translation

ENGLISH, CHINESE = "en", "zh"
# Of the request that this task answers.
LANGUAGE: ContextVar[str] = ContextVar("language", default=ENGLISH)
# What a caller sent stands in details; a longer one is not searched for sentences, which takes time.
_MOST_CHARACTERS = 300
_CHINESE = Translation(ZH_SERVER)

TITLES_ZH: Mapping[str, str] = {
    "bad_request": "请求无法读取",
    "unauthenticated": "未登录",
    "forbidden": "没有权限",
    "not_found": "未找到",
    "method_not_allowed": "不支持该方法",
    "conflict": "与现状冲突",
    "idempotency_conflict": "该 Idempotency-Key 已用于另一个请求",
    "precondition_failed": "读取之后已被修改",
    "limit_exceeded": "超出上限",
    "unsupported_media_type": "不支持的内容类型",
    "invalid": "请求有误",
    "not_supported": "暂不支持",
    "impossible": "该作业永远无法启动",
    "rate_limited": "请求过于频繁",
    "internal": "服务器内部错误",
    "unavailable": "暂时不可用",
    "database_away": "数据库暂时无响应",
    "closing": "进程正在停止",
    "schema_too_old": "数据库尚未迁移",
}


def chosen(accepted: str) -> str:
    """The language of an Accept-Language header: Chinese where it is wanted more than English."""
    best = {ENGLISH: 0.0, CHINESE: 0.0}
    for item in accepted[:200].split(","):
        language, _, weight = item.partition(";")
        name = language.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if name in best:
            best[name] = max(best[name], quality)
    return CHINESE if best[CHINESE] > best[ENGLISH] else ENGLISH


def title_of(code: str, english: str) -> str:
    """The title of a problem for the caller of now."""
    return TITLES_ZH.get(code, english) if LANGUAGE.get() == CHINESE else english


def detail_of(english: str) -> str:
    """The detail of a problem for the caller of now; English where no Chinese is known for it."""
    if LANGUAGE.get() != CHINESE or len(english) > _MOST_CHARACTERS:
        return english
    return _in_chinese(english)


@lru_cache(maxsize=4096)
def _in_chinese(english: str) -> str:
    """What is wanted of a field is one sentence for all the jobs of a batch; to recognise it costs O(sentences)."""
    return _CHINESE.of(english)
