"""Configuration: the environment overrides the file, and unknown settings are refused."""

from pathlib import Path

import pytest

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice import config
from support.stores import open_store


def test_embedded_store_is_the_default() -> None:
    assert config.read({}).database_uri.startswith("sqlite:////")
    assert config.read({}).url_prefix == "/eidaws/statistics/1"


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('database_uri = "sqlite:///file.db"\nurl_prefix = "/file"\nmax_payload_bytes = 5000\n')
    read = config.read({"EIDA_STATS_CONFIG": str(file), "URL_PREFIX": "/environment", "MAX_PAYLOAD_BYTES": "9999"})
    assert read == config.Config("sqlite:///file.db", "/environment", 9999)


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file, secret = tmp_path / "config.toml", tmp_path / "uri"
    file.write_text('url_prefix = "/file"\n', encoding="utf-8-sig")
    secret.write_text("sqlite:///secret.db\n", encoding="utf-8-sig")
    read = config.read({"EIDA_STATS_CONFIG": str(file), "DATABASE_URI_FILE": str(secret)})
    assert read == config.Config("sqlite:///secret.db", "/file")


def test_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "uri"
    secret.write_text("postgresql://user:secret@host/database\n")
    assert config.read({"DATABASE_URI_FILE": str(secret)}).database_uri == "postgresql://user:secret@host/database"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('colour = "red"', "colour"),
        ("max_payload_bytes = 0", "max_payload_bytes in .*config.toml must be a whole number, at least 1024"),
        ('url_prefix = "no slash"', "url_prefix in .*config.toml must be empty, or begin with a slash"),
        ("database_uri = 5", "database_uri in .*config.toml must be text"),
        ("= 5", "config.toml"),
    ],
)
def test_bad_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        config.read({"EIDA_STATS_CONFIG": str(file)})


def test_bad_variable_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match="MAX_PAYLOAD_BYTES must be a whole number, at least 1024"
    ) as refusal:
        config.read({"MAX_PAYLOAD_BYTES": "much"})
    assert "$" not in str(refusal.value)


def test_privacy_settings_have_defaults_and_limits() -> None:
    assert config.read({}).privacy == config.PrivacySettings(0, 1000, 3)
    given = {"MIN_CLIENTS": "5", "MIN_SKETCH_CLIENTS": "0", "CLOSED_AFTER_DAYS": "366"}
    assert config.read(given).privacy == config.PrivacySettings(5, 0, 366)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MIN_SKETCH_CLIENTS", "-1", "MIN_SKETCH_CLIENTS must be a whole number, at least 0"),
        ("MIN_SKETCH_CLIENTS", "1.5", "MIN_SKETCH_CLIENTS must be a whole number, at least 0"),
        ("CLOSED_AFTER_DAYS", "-1", "CLOSED_AFTER_DAYS must be a whole number from 0 to 366"),
        ("CLOSED_AFTER_DAYS", "\udcff", "CLOSED_AFTER_DAYS must be a whole number from 0 to 366"),
        ("CLOSED_AFTER_DAYS", "367", "CLOSED_AFTER_DAYS must be a whole number from 0 to 366"),
    ],
)
def test_wrong_privacy_setting_is_refused(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        config.read({variable: value})


@pytest.mark.parametrize("value", ["token\udcff", "two words", "jet\u00f3n", "token\n"])
def test_unusable_metrics_token_is_refused(value: str) -> None:
    with pytest.raises(
        ConfigurationError, match="METRICS_TOKEN must be letters, digits and punctuation"
    ) as refusal:
        config.read({"METRICS_TOKEN": value})
    assert value not in str(refusal.value)


def test_metrics_token_may_have_any_visible_character() -> None:
    assert config.read({"METRICS_TOKEN": "AZaz09-._~+/="}).metrics_token == "AZaz09-._~+/="


@pytest.mark.parametrize("variable", ["DATABASE_URI", "URL_PREFIX", "MAX_PAYLOAD_BYTES"])
def test_variable_and_its_file_exclude_each_other(tmp_path: Path, variable: str) -> None:
    (tmp_path / "value").write_text("sqlite:///production.db")
    both = {variable: "sqlite:///trial.db", f"{variable}_FILE": str(tmp_path / "value")}
    with pytest.raises(ConfigurationError, match=f"{variable} and {variable}_FILE"):
        config.read(both)


def test_secret_must_be_text_and_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "uri").write_bytes(b"postgresql://user:hidden\xff@host/db")
    with pytest.raises(ConfigurationError, match="UTF-8") as refusal:
        config.read({"DATABASE_URI_FILE": str(tmp_path / "uri")})
    assert "hidden" not in str(refusal.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    for variable in ("EIDA_STATS_CONFIG", "DATABASE_URI_FILE"):
        with pytest.raises(ConfigurationError, match="missing"):
            config.read({variable: str(tmp_path / "missing")})


@pytest.mark.parametrize(
    "uri",
    [
        "", "mysql://user:secret@host/db", "statistics.db", "sqlite:///",
        "postgresql://user:word@host:secret/db", "postgresql://user:word@host/db?secret=1",
    ],
)  # fmt: skip
def test_bad_uri_is_refused_and_not_quoted(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URI") as refusal:
        open_store(uri)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("character", "%?#")
def test_path_that_yoyo_misreads_is_refused(tmp_path: Path, character: str) -> None:
    with pytest.raises(ConfigurationError, match=f"DATABASE_URI contains [{character}]"):
        open_store(f"sqlite:///{tmp_path}/100{character}20.db")
