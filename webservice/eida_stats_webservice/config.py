"""The configuration of the service: environment variables, which override a TOML file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eida_statistics.errors import ConfigurationError
from eida_statistics.user import get_data_directory

FILE_VARIABLE = "EIDA_STATS_CONFIG"
# A year. A larger number is a typing error.
MAX_CLOSED_AFTER_DAYS = 366

_EXPECTED = {
    "database_uri": "text: the URI of the database",
    "url_prefix": "empty, or begin with a slash and not end with one, and contain only letters, digits and . _ ~ -",
    "max_payload_bytes": "a whole number, at least 1024",
    "max_crawl_bytes": "a whole number, at least 1024",
    "min_clients": "a whole number, at least 0",
    "min_sketch_clients": "a whole number, at least 0",
    "closed_after_days": f"a whole number from 0 to {MAX_CLOSED_AFTER_DAYS}",
    "metrics_token": "letters, digits and punctuation of ASCII, without spaces",
    "max_failures_per_minute": "a whole number, at least 0",
    "networks_file": "text: a file with a registry of networks",
    "eas_keyring": "text: a file of public keys",
    "raw_logs": "off, token, loopback or any",
    "ringserver_node": "text: the name of a node",
    "ringserver_geoip": "text: a database in MaxMind's format",
    "ringserver_geohash_precision": "a whole number from 1 to 12",
    "ringserver_user_salt": "text: SeisComP's userSalt",
    "ringserver_rx": "true or false",
    "ringserver_timezone": "text: a time zone",
    "ringserver_window": "a whole number of hours from 1 to 24",
    "availability_prefix": "empty, or like url_prefix",
    "eas_fingerprints": "text: fingerprints of keys, separated by commas",
    "counts_at_root": "true or false",
    "redis_url": "empty, or a URL like redis://localhost:6379/0",
}


Prefix = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*\Z")]


class Config(msgspec.Struct, frozen=True):
    """The settings: in capitals in the environment, in lower case in a TOML file."""

    database_uri: str
    url_prefix: Prefix = "/eidaws/statistics/1"
    max_payload_bytes: Annotated[int, Meta(ge=1024)] = 256 * 1024 * 1024
    max_crawl_bytes: Annotated[int, Meta(ge=1024)] = 256 * 1024 * 1024
    min_clients: Annotated[int, Meta(ge=0)] = 0
    min_sketch_clients: Annotated[int, Meta(ge=0)] = 1000
    closed_after_days: Annotated[int, Meta(ge=0, le=MAX_CLOSED_AFTER_DAYS)] = 3
    metrics_token: Annotated[str, Meta(pattern=r"^[!-~]*\Z")] = ""
    max_failures_per_minute: Annotated[int, Meta(ge=0)] = 20
    networks_file: str = ""
    eas_keyring: str = ""
    eas_fingerprints: str = ""
    raw_logs: Literal["off", "token", "loopback", "any"] = "off"
    ringserver_node: str = "local"
    ringserver_geoip: str = ""
    ringserver_geohash_precision: Annotated[int, Meta(ge=1, le=12)] = 4
    ringserver_user_salt: str = ""
    ringserver_rx: bool = False
    ringserver_timezone: str = "UTC"
    ringserver_window: Annotated[int, Meta(ge=1, le=24)] = 24
    counts_at_root: bool = True
    redis_url: Annotated[str, Meta(pattern=r"^((redis|rediss|unix)://\S+)?\Z")] = ""
    availability_prefix: Prefix = "/fdsnws/availability/1"

    @property
    def privacy(self) -> "PrivacySettings":
        """Return the settings that protect small groups of clients."""
        return PrivacySettings(self.min_clients, self.min_sketch_clients, self.closed_after_days)


class PrivacySettings(msgspec.Struct, frozen=True):
    """The settings that protect small groups of clients; without `min_clients` the others have no effect."""

    min_clients: int
    min_sketch_clients: int
    closed_after_days: int


def default_database_uri() -> str:
    """Return the URI of the embedded database in the user's data directory, the default.

    Raises:
        HomeUnknown: if the user has no home directory.
    """
    return f"sqlite:///{get_data_directory() / 'statistics.db'}"


def read(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration.

    A variable with the suffix _FILE names a file that contains the value, such as DATABASE_URI_FILE.

    Raises:
        ConfigurationError: if a key is unknown, a value is bad, or a variable is set both directly and by a file.
            It never quotes a value, which may be secret.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    if FILE_VARIABLE in environment:
        path = Path(environment[FILE_VARIABLE])
        found = _read_file(path)
        values |= found
        sources |= {field: f"{field} in {path}" for field in found}
    for field in Config.__struct_fields__:
        variable, file_variable = field.upper(), f"{field.upper()}_FILE"
        if variable in environment and file_variable in environment:
            raise ConfigurationError(f"{variable} and {file_variable} are both set", hint="Unset one of them.")
        if file_variable in environment:
            values[field] = _read_secret(Path(environment[file_variable]))
            sources[field] = f"{variable} in {environment[file_variable]}"
        elif variable in environment:
            values[field] = environment[variable]
            sources[field] = variable
    if "database_uri" not in values:
        values["database_uri"] = default_database_uri()
    for setting in msgspec.structs.fields(Config):
        name = setting.name
        try:
            values[name] = msgspec.convert(values.get(name, setting.default), setting.type, strict=False)
        # A variable that is not UTF-8 has lone surrogates.
        except (msgspec.ValidationError, UnicodeEncodeError):
            # msgspec's message has a path and a pattern, which do not help administrators.
            raise ConfigurationError(f"{sources[name]} must be {_EXPECTED[name]}") from None
    return msgspec.convert(values, Config)


def _read_file(path: Path) -> dict[str, object]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if unknown := found.keys() - set(Config.__struct_fields__):
        known = ", ".join(Config.__struct_fields__)
        raise ConfigurationError(
            f"{path} has unknown settings: {', '.join(sorted(unknown))}", hint=f"The settings are {known}."
        )
    return found


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # The error itself would quote the content.
        raise ConfigurationError(f"{path} is not UTF-8 text") from None
