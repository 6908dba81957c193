"""People and programs whom an OpenID Connect issuer of another author vouches for: npm's oidc-provider.

It runs where npm is, and must run under CI=true.
"""

import json
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from scheduler.domain.issuers import issuers_from
from suanli.client.profiles import load, profiles_path
from tests.builders.api import ApiInThread, InhabitedUrls, job_spec
from tests.builders.cli import run_suanli
from tests.builders.issuer import AUDIENCE, IssuerProcess, sign_in_with_a_browser
from tests.builders.running import ending, next_line

PEOPLE = {
    "li.wei": {"preferred_username": "Li.Wei", "groups": ["everybody", "lanjing-vision"]},
    "chen": {"preferred_username": "chen", "groups": ["lanjing-admins"]},
    "lin@sso": {"preferred_username": "lin", "groups": ["beiming"]},
    "stranger": {"preferred_username": "stranger", "groups": ["everybody"]},
}
ROBOTS = {"ci": {"tenant": "lanjing"}, "unknown-robot": {"tenant": "nobody"}}


def trusting(issuer: str) -> Any:
    return issuers_from(
        {
            "issuers": [
                {
                    "issuer": issuer,
                    "audience": ["suanli", AUDIENCE],
                    "client_id": "suanli",
                    "scopes": ["openid", "profile", "offline_access"],
                    "algorithms": "ES256",
                    "rules": [
                        {
                            "claims": {"groups": "lanjing-admins"},
                            "role": "firm_administrator",
                            "firm": "lanjing",
                        },
                        {
                            "claims": {"groups": "lanjing-vision"},
                            "role": "researcher",
                            "firm": "lanjing",
                            "projects": ["vision"],
                        },
                        {"claims": {"groups": "beiming"}, "role": "researcher", "firm": "beiming"},
                        {
                            "claims": {"tenant": "lanjing"},
                            "role": "researcher",
                            "firm": "lanjing",
                            "scope": "jobs",
                        },
                    ],
                }
            ]
        }
    )


@pytest.fixture
def issuer(request: pytest.FixtureRequest) -> Iterator[IssuerProcess]:
    with IssuerProcess(PEOPLE, ROBOTS, getattr(request, "param", 3600)) as running:
        yield running


@pytest.fixture
def api(issuer: IssuerProcess, inhabited_urls: InhabitedUrls, tmp_path: Path) -> Iterator[ApiInThread]:
    with ApiInThread(inhabited_urls, tmp_path / "api", issuers=trusting(issuer.url)) as running:
        # Tokens are of now, and so must be the clock that judges them.
        running.installation.clock.now_ms = time.time_ns() // 1_000_000
        yield running


def with_token(api: ApiInThread, token: str, path: str = "/v1/whoami") -> httpx.Response:
    return httpx.get(api.url + path, headers={"Authorization": f"Bearer {token}"}, trust_env=False)


def login(api: ApiInThread, issuer: IssuerProcess, home: Path, person: str, code: int = 0) -> str:
    """`suanli login` in one window, a browser in another; gives what it said at its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "suanli.cli", "login", api.url, "--issuer", issuer.url],
        env=api.environment(None, home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ending(process):
        assert re.match(
            r"Open http://127\.0\.0\.1:\d+/device in a browser and enter the code [A-Z]{4}-[A-Z]{4}",
            next_line(process.stderr),
        )
        whole = next_line(process.stderr)
        sign_in_with_a_browser(whole.removeprefix("or open ").strip(), person)
        out, rest = process.communicate(timeout=60)
    assert process.returncode == code, rest
    return out + rest


def suanli(api: ApiInThread, home: Path, *arguments: str, code: int = 0, stdin: str = "") -> str:
    done = run_suanli(*arguments, environment=api.environment(None, home), stdin=stdin)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_person_signs_in_and_is_what_the_rules_say(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path
) -> None:
    assert httpx.get(f"{api.url}/v1/issuers", trust_env=False).json() == {
        "issuers": [
            {"issuer": issuer.url, "client_id": "suanli", "scopes": ["openid", "profile", "offline_access"]}
        ]
    }
    assert "You are li.wei, researcher of lanjing." in login(api, issuer, tmp_path, "li.wei")
    file = profiles_path({"HOME": str(tmp_path)})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    who = json.loads(suanli(api, tmp_path, "whoami", "--json"))
    assert (who["name"], who["role"], who["firm"], who["projects"]) == (
        *("li.wei", "researcher", "lanjing"), ["vision"],
    )  # fmt: skip

    job = json.dumps(job_spec(project="vision"))
    assert "tune" in suanli(api, tmp_path, "submit", "-", stdin=job)
    refused = suanli(api, tmp_path, "submit", "-", stdin=json.dumps(job_spec(project="default")), code=1)
    assert "li.wei may act in the projects vision, not in default" in refused
    mine, colleagues = (
        api.call(api.installation.submit("lin", project=project)) for project in ("vision", "default")
    )
    suanli(api, tmp_path, "hold", mine)
    assert "vision, not in default" in suanli(api, tmp_path, "hold", colleagues, code=1)
    foreign = api.call(api.installation.submit("zhao"))
    assert "there is no job" in suanli(api, tmp_path, "show", foreign, code=1)


@contextmanager
def login_here(api: ApiInThread, home: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`suanli login --browser` where no browser opens, and the address that a person opens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "suanli.cli", "login", api.url, "--browser"],
        env={**api.environment(None, home), "BROWSER": "/bin/true"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ending(process):
        address = next_line(process.stderr).rpartition(" ")[2].strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[-\w]{32}", address)
        yield process, address


@pytest.mark.parametrize("lets_in", [True, False])
def test_a_person_signs_in_with_the_browser_of_this_machine(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path, lets_in: bool
) -> None:
    with (
        login_here(api, tmp_path) as (process, address),
        httpx.Client(trust_env=False, timeout=20) as browser,
    ):
        led_to = browser.get(address).headers["location"]
        asked = {name: value for name, (value,) in parse_qs(urlsplit(led_to).query).items()}
        assert led_to.startswith(f"{issuer.url}/")
        assert asked["code_challenge_method"] == "S256"
        here = asked["redirect_uri"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", here)
        # Another page of the browser is not who was sent there, nor is another program of this machine.
        for query in ("", "?code=stolen", "?code=stolen&state=guessed", "?error=access_denied&state=%FF"):
            assert browser.get(here + query).status_code == 400
        told = {"error": "access_denied", "state": asked["state"], "iss": issuer.url}
        assert httpx.get(here, params=told, trust_env=False).status_code == 400
        assert httpx.get(here.replace("/callback", "/"), trust_env=False).status_code == 404
        if lets_in:
            sign_in_with_a_browser(address, "li.wei", browser)
        else:
            assert browser.get(here, params=told).status_code == 200
        out, rest = process.communicate(timeout=60)
    file = profiles_path({"HOME": str(tmp_path)})
    if not lets_in:
        assert (process.returncode, file.exists()) == (1, False)
        assert f"{issuer.url} did not let you in: access_denied" in rest
        return
    assert process.returncode == 0, rest
    assert "You are li.wei, researcher of lanjing." in out
    kept = load(file).by_name["default"].sign_in
    assert kept is not None
    assert kept.refresh_token
    assert json.loads(suanli(api, tmp_path, "whoami", "--json"))["name"] == "li.wei"


def test_somebody_else_on_this_machine_cannot_take_part(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path
) -> None:
    with login_here(api, tmp_path) as (process, address):
        assert httpx.get(address, trust_env=False).status_code == 302
        assert httpx.get(address, trust_env=False).status_code == 410
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the address was opened twice" in rest
    assert not profiles_path({"HOME": str(tmp_path)}).exists()


def test_the_same_name_is_not_the_same_person(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path
) -> None:
    said = login(api, issuer, tmp_path, "lin@sso")
    assert re.search(r"You are lin-[0-9a-f]{10}, researcher of beiming\.", said)
    mine = api.call(api.installation.submit("lin"))
    suanli(api, tmp_path, "show", mine, code=1)


def test_nobody_is_let_in_whom_no_rule_names(api: ApiInThread, issuer: IssuerProcess, tmp_path: Path) -> None:
    said = login(api, issuer, tmp_path, "stranger", code=1)
    assert "no rule of this installation says who you are here" in said
    assert not profiles_path({"HOME": str(tmp_path)}).exists()
    answer = with_token(api, issuer.robots_token("unknown-robot"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_program_comes_with_an_access_token(api: ApiInThread, issuer: IssuerProcess) -> None:
    answer = with_token(api, issuer.robots_token("ci"))
    assert answer.json() == {
        "name": "ci", "kind": "user", "role": "researcher", "firm": "lanjing", "projects": None,
        "firm_id": api.installation.firms["lanjing"],
    }  # fmt: skip
    made = httpx.post(
        f"{api.url}/v1/api-keys",
        json={},
        headers={"Authorization": f"Bearer {issuer.robots_token('ci')}"},
        trust_env=False,
    )
    assert made.status_code == 403  # the rule gave the scope `jobs`


@pytest.mark.parametrize("issuer", [30], indirect=True)
def test_a_token_that_is_about_to_end_is_refreshed_and_kept(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path
) -> None:
    login(api, issuer, tmp_path, "chen")
    file = profiles_path({"HOME": str(tmp_path)})
    first = load(file).by_name["default"].sign_in
    assert json.loads(suanli(api, tmp_path, "whoami", "--json"))["role"] == "firm_administrator"
    second = load(file).by_name["default"].sign_in
    assert first is not None
    assert second is not None
    # oidc-provider gives each refresh token once.
    assert first.refresh_token != second.refresh_token
    assert first.token != second.token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first.token not in repr(load(file))

    issuer.tell("rotate")  # which forgets every sign-in, too
    said = suanli(api, tmp_path, "whoami", code=1)
    assert "has ended" in said
    assert "suanli login" in said


def test_whoever_is_disabled_here_or_signs_in_elsewhere_has_no_other_way_in(
    api: ApiInThread, issuer: IssuerProcess, tmp_path: Path
) -> None:
    login(api, issuer, tmp_path, "chen")
    assert "no keys are made here" in suanli(api, tmp_path, "keys", "create", code=1)
    ops = api.installation.keys["ops"]
    answer = httpx.post(
        f"{api.url}/v1/principals/chen/disable", headers={"Authorization": f"Bearer {ops}"}, trust_env=False
    )
    assert answer.status_code == 204
    assert "chen is disabled here" in suanli(api, tmp_path, "whoami", code=1)


def test_keys_are_kept_rotated_and_withdrawn(api: ApiInThread, issuer: IssuerProcess) -> None:
    clock = api.installation.clock
    old = issuer.robots_token("ci")
    for _ in range(3):
        assert with_token(api, old).status_code == 200
    asked = json.loads(issuer.tell("asked"))
    assert (asked["/.well-known/openid-configuration"], asked["/jwks"]) == (1, 1)

    issuer.tell("rotate")
    clock.now_ms += 11_000
    assert with_token(api, issuer.robots_token("ci")).status_code == 200  # an unknown key id is looked for
    clock.now_ms += 301_000  # a verified token is known for five minutes
    assert with_token(api, old).status_code == 401
    assert "does not publish" in with_token(api, old).json()["detail"]


def test_an_issuer_that_is_away_stops_nobody_for_an_hour(api: ApiInThread, issuer: IssuerProcess) -> None:
    clock = api.installation.clock
    token = issuer.robots_token("ci")
    assert with_token(api, token).status_code == 200
    issuer.tell("break")
    clock.now_ms += 1_800_000
    assert with_token(api, token).status_code == 200
    clock.now_ms += 1_801_000
    away = with_token(api, token)
    assert (away.status_code, away.json()["code"]) == (503, "unavailable")
    issuer.tell("mend")
    clock.now_ms += 11_000
    assert with_token(api, token).status_code == 200
    clock.now_ms += 7_200_000
    expired = with_token(api, token)
    assert expired.status_code == 401
    assert "expired" in expired.json()["detail"]
