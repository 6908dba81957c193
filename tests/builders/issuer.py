"""A real OpenID Connect issuer of another author (npm's oidc-provider) on loopback, and a person with a browser."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import pytest

from tests.builders.running import ending, next_line

FOREIGN = Path(__file__).resolve().parents[1] / "foreign" / "oidc"
KEPT = Path(__file__).resolve().parents[2] / ".tools" / "foreign" / "oidc"
INSTALL_S = 110
AUDIENCE = "https://suanli.example"


def installed() -> Path:
    """The folder with oidc-provider, installed once by its lock file. Skips where there is no npm; never under CI."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            reason = f"{program} is not installed"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
    lock = (FOREIGN / "package-lock.json").read_text("utf-8")
    if not (KEPT / "done").exists() or (KEPT / "done").read_text("utf-8") != lock:
        KEPT.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FOREIGN / name, KEPT)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=KEPT, capture_output=True, text=True, timeout=INSTALL_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (KEPT / "done").write_text(lock, "utf-8")
    return KEPT


class IssuerProcess:
    """The issuer. People and robots are accounts with their claims."""

    def __init__(
        self,
        people: Mapping[str, Mapping[str, Any]],
        robots: Mapping[str, Mapping[str, Any]],
        id_token_s: int = 3600,
    ) -> None:
        self._settings = {
            "people": people, "robots": robots, "audience": AUDIENCE, "id_token_s": id_token_s,
        }  # fmt: skip
        self._process: subprocess.Popen[str]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", str(FOREIGN / "issuer.mjs"), str(installed()), json.dumps(self._settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.url = self._line()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        with ending(self._process):
            self._process.stdin.close()  # its end
            self._process.wait(20)

    def tell(self, command: str) -> str:
        """`rotate`, `break`, `mend`, `asked`: see the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._line()

    def robots_token(self, robot: str) -> str:
        """An access token of a program (RFC 9068), by its own secret."""
        answer = httpx.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials"},
            auth=(robot, f"{robot}-secret"),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def _line(self) -> str:
        return next_line(self._process.stdout).strip()


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = known.get("action", "")
        if tag in ("input", "button") and known.get("name"):
            self.fields[known["name"]] = known.get("value", "")


def sign_in_with_a_browser(address: str, person: str, browser: httpx.Client | None = None) -> None:
    """Open the address, and answer every page as the person would, until no page asks anything."""
    with nullcontext(browser) if browser else httpx.Client(trust_env=False, timeout=20) as own:
        page = own.get(address, follow_redirects=True)
        for _ in range(6):
            form = _Form()
            form.feed(page.text)
            if form.action is None:
                assert page.status_code == 200, page.text
                return
            form.fields.pop("abort", None)
            if "login" in form.fields:
                form.fields |= {"login": person, "password": "whatever"}
            page = own.post(urljoin(str(page.url), form.action), data=form.fields, follow_redirects=True)
    raise AssertionError(f"the issuer never stopped asking: {page.text}")
