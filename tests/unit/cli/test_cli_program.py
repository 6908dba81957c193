"""The program itself: quick to start, complete, and content with what is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suanli.client.errors import NoProfile
from suanli.client.profiles import Profile, check_server, load, profiles_path, remove, resolve, store
from tests.builders.cli import run_suanli

KEY = "sk_" + "k" * 43
VERBS = (
    *(
        "submit",
        "jobs",
        "show",
        "logs",
        "cancel",
        "explain",
        "events",
        "usage",
        "bundle",
        "verify",
        "witness",
    ),
    *(
        "nodes",
        "models",
        "queues",
        "cordon",
        "join-token",
        "apply",
        "login",
        "whoami",
        "up",
        "demo",
        "simulate",
        "admin",
    ),
    *("version", "profile", "keys", "users"),
)


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    known = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    return run_suanli(*arguments, environment=known)


def test_help_names_every_verb() -> None:
    done = run("--help")
    assert done.returncode == 0
    shown = [line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()]
    assert set(VERBS) <= set(shown)


def test_help_loads_neither_http_nor_tables_nor_yaml() -> None:
    code = (
        "import sys\nsys.argv = ['suanli', '--help']\nfrom suanli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'httpx', 'rich.console', 'rich.table', 'yaml', 'cryptography'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str) -> None:
    groups = {"profile": ["list", "use", "remove"], "keys": ["list", "create", "revoke"],
              "users": ["list", "create", "disable"], "witness": ["init", "policy", "serve"],
              "admin": ["init", "operator-key", "join-token", "log-vkey"]}  # fmt: skip
    for path in [[verb, sub] for sub in groups[verb]] if verb in groups else [[verb]]:
        done = run(*path, "--help")
        assert done.returncode == 0, done.stderr
        assert "--json" in done.stdout, path


def test_verify_is_handed_its_own_arguments(tmp_path: Path) -> None:
    done = run("verify", str(tmp_path / "nothing.zip"), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["verified"] is False
    assert "--policy" in run("verify", "--help").stdout


def test_the_control_plane_is_run_by_the_other_program() -> None:
    done = run("admin", "--help")
    assert done.returncode == 0, done.stderr
    assert "join-token" in done.stdout
    assert "Usage: suanli admin" in done.stdout
    assert run("up", "--nonsense").returncode == 2
    assert run("simulate", "nowhere.csv").stderr.startswith("suanli: nowhere.csv: ")


def test_without_the_control_plane_up_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['scheduler'] = None\n"
        "sys.argv = ['suanli', 'up']\nfrom suanli.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install suanli-scheduler[embedded]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_wins_over_the_profile_and_halves_are_filled_in(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    store(profiles_path(home), Profile("site", "https://a.example/", KEY))
    assert resolve(home) == Profile("site", "https://a.example", KEY)
    both = resolve({**home, "SUANLI_SERVER": "http://localhost:1", "SUANLI_API_KEY": "sk_" + "e" * 43})
    assert (both.server, both.api_key) == ("http://localhost:1", "sk_" + "e" * 43)
    assert resolve({**home, "SUANLI_SERVER": "http://localhost:1"}).api_key == KEY
    assert resolve({**home, "SUANLI_SERVER": "http://localhost:1"}, "site").server == "https://a.example"
    (tmp_path / "key").write_text(f" {'sk_' + 'f' * 43}\n")
    assert resolve({**home, "SUANLI_API_KEY_FILE": str(tmp_path / "key")}).api_key == "sk_" + "f" * 43
    with pytest.raises(NoProfile, match="cannot be read"):
        resolve({**home, "SUANLI_API_KEY_FILE": str(tmp_path / "nothing")})


def test_a_key_is_never_part_of_what_is_shown() -> None:
    assert KEY not in repr(Profile("a", "https://a.example", KEY))
    with pytest.raises(NoProfile) as caught:
        resolve({"SUANLI_SERVER": "https://a.example", "SUANLI_API_KEY": "secret-but-wrong"})
    assert "secret-but-wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "server", ["", "localhost:8000", "ftp://x", "https://", "https://u:p@x", "suanli.example"]
)
def test_a_server_that_is_no_url_is_refused(server: str) -> None:
    with pytest.raises(NoProfile, match="server"):
        check_server(server)


def test_a_profile_file_that_is_broken_is_an_error_and_a_name_that_breaks_it_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "profiles.toml"
    with pytest.raises(NoProfile, match="name"):
        store(path, Profile('a"b', "https://a.example", KEY))
    with pytest.raises(NoProfile, match="URL"):
        store(path, Profile("a", 'https://a.example/"\n', KEY))
    assert not path.exists()
    path.write_text("current = [")
    path.chmod(0o600)
    with pytest.raises(NoProfile, match="cannot be read"):
        load(path)


def test_removing_the_current_profile_leaves_another_in_use(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    for name in ("a", "b"):
        store(path, Profile(name, f"https://{name}.example", KEY))
    remove(path, "b")
    assert load(path).current == "a"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("-o yaml jobs", "suanli: -o yaml goes after the command"),
        ("keys -o json list", "suanli: -o json goes after the command"),
        ("jobs -o xml", "Error: -o: got 'xml', want json or yaml"),
        ("jobs --output=xml", "Error: --output: got 'xml', want json or yaml"),
        (
            "up --window-ms 7",
            "suanli: --window-ms must divide 300000 (5 minutes in milliseconds); 7 does not",
        ),
    ],
)
def test_what_was_typed_wrongly_is_named_as_it_was_typed(typed: str, said: str) -> None:
    done = run(*typed.split())
    assert done.returncode in (1, 2)
    assert said in done.stderr.split("\n")


def test_a_form_of_output_may_be_written_with_an_equals_sign() -> None:
    assert json.loads(run("version", "--output=json").stdout).keys() == {"suanli"}


def test_an_empty_secret_is_said_to_be_one() -> None:
    done = run("secret", "set", "foo", "--file", "/dev/null")
    assert "suanli: the secret is empty: its value is read from standard input" in done.stderr
