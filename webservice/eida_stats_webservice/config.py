"""The service's configuration, read once: the environment over a file, and nothing unknown."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from platformdirs import user_data_path

from eida_statistics.errors import ConfigurationError

FILE_VARIABLE = "EIDA_STATS_CONFIG"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an administrator can set: in the environment in capitals, in a TOML file in small letters."""

    database_uri: str
    url_prefix: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*\Z")] = "/eidaws/statistics/1"
    max_payload_bytes: Annotated[int, Meta(ge=1024)] = 256 * 1024 * 1024


def default_database_uri() -> str:
    """The embedded store in the user's data directory, for when nothing is configured."""
    return f"sqlite:///{user_data_path('eida-statistics') / 'statistics.db'}"


def read(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration.

    A secret may come from a file: DATABASE_URI_FILE names one that holds the URI.

    Raises:
        ConfigurationError: if a key is unknown or a value cannot be used; secrets are not in it.
    """
    values: dict[str, object] = {"database_uri": default_database_uri()}
    if FILE_VARIABLE in environment:
        values |= _from_file(Path(environment[FILE_VARIABLE]))
    for field in Config.__struct_fields__:
        variable = field.upper()
        if f"{variable}_FILE" in environment:
            values[field] = _secret(Path(environment[f"{variable}_FILE"]))
        elif variable in environment:
            values[field] = environment[variable]
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error)) from error


def _from_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
