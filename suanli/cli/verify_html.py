"""The verifier's report as one HTML page: no script, nothing from elsewhere, nothing of a bundle unescaped."""

from __future__ import annotations

from html import escape

from suanli.cli.verify_facts import SIMULATED, fact_rows, headline
from suanli.cli.verify_text import Words
from suanli.evidence.findings import Verdict
from suanli.evidence.strict_json import printable

SHOWN = 1000
_STYLE = """
:root{color-scheme:light dark;--line:#c9ced6;--soft:#5b6472;--good:#0a7a3c;--bad:#b3261e;--ask:#8a5a00}
@media(prefers-color-scheme:dark){:root{--line:#3c4350;--soft:#a5adba;--good:#5fd38d;--bad:#ff8a80;--ask:#ffc24b}}
body{font:15px/1.55 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:72rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.35rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
.answer{font-size:1.6rem;font-weight:700;margin:.2rem 0 1rem}.good{color:var(--good)}.bad{color:var(--bad)}
.ask{color:var(--ask)}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}th{color:var(--soft);font-weight:600;white-space:nowrap}
.facts th{width:11rem}.loud td,.loud th{color:var(--bad);font-weight:700}code{font-size:.9em;white-space:nowrap}
.verdicts{display:grid;grid-template-columns:max-content max-content 1fr;gap:.3rem 1rem;align-items:baseline;
margin-bottom:1rem}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
@media print{body{margin:0}tr{break-inside:avoid}}
"""
_COLOURS = {"error": "bad", "consequence": "ask", "suspicion": "ask", "warning": "soft"}


def _text(value: object) -> str:
    """What came from a bundle, harmless in a page."""
    return escape(printable(str(value)))


def html_report(verdict: Verdict, words: Words, tool: str, files: str) -> str:
    """The page. `tool` names the verifier and its version, `files` what the reader gave it."""
    good = verdict.verified
    colour = "good" if good else "bad" if verdict.exit_code == 1 else "ask"
    language = "zh-CN" if words.language == "zh" else "en"
    body = [
        f"<h1>{words('title')}</h1>",
        f'<p class="answer {colour}">{escape(headline(verdict, words))}</p>',
        '<div class="verdicts">',
        *(
            _answer(words, name, answer)
            for name, answer in (("integrity", verdict.integrity), ("completeness", verdict.completeness))
        ),
        "</div>",
        '<table class="facts">',
        *(_fact(name, value) for name, value in fact_rows(verdict.facts, words)),
        _fact(words("files"), files),
        _fact(words("tool"), tool),
        "</table>",
        f"<h2>{words('findings')}</h2>",
        *_findings(verdict, words),
        f"<h2>{words('not_proved')}</h2>",
        "<ul>",
        *(f"<li>{_text(limit.text(words.language))}</li>" for limit in verdict.not_proved),
        "</ul>",
    ]
    if verdict.steps_missed:
        names = words.listed(words.step(step) for step in verdict.steps_missed)
        body.append(f'<p class="bad">{words("missed")} {escape(names)}</p>')
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{words('title')}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _answer(words: Words, name: str, answer: bool) -> str:
    colour = "good" if answer else "bad"
    said = words("yes") if answer else words("no")
    question = escape(words(f"{name}_question"))
    return f'<b>{words(name)}</b><b class="{colour}">{said}</b><span class="soft">{question}</span>'


def _fact(name: str, value: str) -> str:
    loud = ' class="loud"' if name in SIMULATED else ""
    return f"<tr{loud}><th>{_text(name)}</th><td>{_text(value)}</td></tr>"


def _findings(verdict: Verdict, words: Words) -> list[str]:
    if not verdict.findings:
        return [f'<p class="good">{words("no_findings")}</p>']
    names = ("step", "severity", "code", "where", "index", "expected", "found")
    rows = ["<table><tr>" + "".join(f"<th>{words(name)}</th>" for name in names) + "</tr>"]
    for finding in verdict.findings[:SHOWN]:
        index = "" if finding.index is None else str(finding.index)
        rows.append(
            f"<tr><td>{words.step(finding.step)}</td>"
            f'<td class="{_COLOURS[finding.severity]}">{words(finding.severity)}</td>'
            f"<td><code>{finding.code}</code></td><td>{_text(finding.entity)}</td>"
            f'<td class="number">{index}</td>'
            f"<td>{_text(finding.expected)}</td><td>{_text(finding.found)}</td></tr>"
        )
    rows.append("</table>")
    hidden = len(verdict.findings) - SHOWN + verdict.left_out
    if hidden > 0:
        rows.append(f"<p>{words('more', count=hidden)}</p>")
    return rows
