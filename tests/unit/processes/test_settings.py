"""Settings: from the environment, checked at the door, with the variable named."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.settings import PREFIX, Settings, SettingsError, Witness, load


@pytest.fixture(autouse=True)
def no_settings() -> Iterator[None]:
    """Nothing of ours in the environment, before and after."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)}
    yield
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(kept)


def test_folders_lie_in_the_data_folder_unless_they_are_given(tmp_path: Path) -> None:
    os.environ["SUANLI_LOG_FOLDER"] = "/srv/log"
    settings = load(data=tmp_path)
    assert settings.secret("ca.key") == tmp_path / "secrets" / "ca.key"
    assert (settings.log_folder, settings.job_log_folder) == (Path("/srv/log"), tmp_path / "logs")
    assert settings.run_folder == tmp_path / "run"


def test_what_is_given_stands_above_the_environment_and_what_is_not_does_not() -> None:
    os.environ["SUANLI_API_PORT"] = "9000"
    assert load(api_port=None).api_port == 9000
    assert load(api_port=9001).api_port == 9001


def test_relative_folders_become_absolute() -> None:
    assert load(data=Path("here")).data == Path.cwd() / "here"


def test_witnesses_are_read_from_json() -> None:
    os.environ["SUANLI_WITNESSES"] = '[{"name": "city", "url": "https://w.example", "key": "city+1+A"}]'
    assert load().witnesses == (Witness(name="city", url="https://w.example", key="city+1+A"),)
    os.environ["SUANLI_WITNESSES"] = ""
    assert load().witnesses == ()


def test_an_empty_name_of_an_issuers_file_is_none() -> None:
    os.environ["SUANLI_OIDC_FILE"] = ""
    assert load().oidc_file is None
    os.environ["SUANLI_OIDC_FILE"] = "/etc/suanli/oidc/oidc.yaml"
    assert load().oidc_file == Path("/etc/suanli/oidc/oidc.yaml")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SUANLI_WINDOW_MS", "7000", "SUANLI_WINDOW_MS: must divide 300000 (milliseconds)"),
        ("SUANLI_FIRM_UIDS", "400000", "SUANLI_FIRM_UIDS: must be FIRST-LAST, for example 400000-499999"),
        ("SUANLI_FIRM_UIDS", "0-5000", "SUANLI_FIRM_UIDS: must be FIRST-LAST within 1000 and 2147483647"),
        ("SUANLI_WINDOW_MS", "soon", "SUANLI_WINDOW_MS: Input should be a valid integer"),
        ("SUANLI_FLEET_PORT", "70000", "SUANLI_FLEET_PORT: Input should be less than or equal to 65535"),
        ("SUANLI_WITNESSES", "city", "SUANLI_WITNESSES: must be JSON"),
        ("SUANLI_WITNESSES", '[{"name": "c", "url": "ftp://w", "key": "k"}]', "SUANLI_WITNESSES at 0.url: "),
        (
            "SUANLI_PLANNER_PROFILE",
            "fast",
            "SUANLI_PLANNER_PROFILE: Input should be 'balanced', 'throughput' or 'packing'",
        ),
        ("SUANLI_LOG_FORMAT", "xml", "SUANLI_LOG_FORMAT: Input should be 'auto', 'json' or 'console'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_variable(name: str, value: str, sentence: str) -> None:
    os.environ[name] = value
    with pytest.raises(SettingsError, match="^" + sentence.replace("(", r"\(").replace(")", r"\)")):
        load()


def test_several_wrong_values_are_named_at_once() -> None:
    os.environ |= {"SUANLI_WINDOW_MS": "0", "SUANLI_API_PORT": "x"}
    with pytest.raises(SettingsError, match=r"SUANLI_API_PORT: .*; SUANLI_WINDOW_MS: "):
        load()


def test_the_database_url_is_not_shown() -> None:
    os.environ["SUANLI_DATABASE_URL"] = "postgresql://u:hunter2@h/d"
    settings = load()
    assert "hunter2" not in f"{settings!r} {settings}"
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:hunter2@h/d"


def test_settings_do_not_change_while_a_process_runs() -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, "window_ms", 1)  # noqa: B010 - the type checker knows better already


def test_every_setting_has_a_default() -> None:
    assert not [name for name, field in Settings.model_fields.items() if field.is_required()]
