"""How the service reads raw logs, by its configuration."""

import datetime
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eida_statistics.errors import ConfigurationError, InvalidRegistry, RegistryUnavailable
from eida_statistics.networks import Epoch, NetworkRegistry, get_cache_path, read_cached_registry, read_registry
from eida_statistics.ringserver.collection import Settings
from eida_statistics.ringserver.events import RX, TX
from eida_statistics.ringserver.identity import ClientKey, create_key, get_key_path, load_key
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.windows import HOUR, Grid
from eida_stats_webservice.config import Config
from eida_stats_webservice.ringserver.errors import NetworksUnknown

log = logging.getLogger(__name__)

_NO_REGISTRY_HINT = "Try again later. The administrator can name a file with the registry as NETWORKS_FILE."

MakeSettings = Callable[[], Settings]


def prepare(config: Config) -> MakeSettings:
    """Return a function that returns the settings for one request, with the present time.

    Raises:
        ConfigurationError: if there is no such time zone, or the key or the database of places cannot be used.
    """
    key = _load_key(config)
    places = Places(
        Path(config.ringserver_geoip) if config.ringserver_geoip else None, config.ringserver_geohash_precision
    )
    try:
        zone = ZoneInfo(config.ringserver_timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            "RINGSERVER_TIMEZONE is no time zone", hint="Use a name such as UTC or Europe/Paris."
        ) from error
    grid = Grid(zone, config.ringserver_window * HOUR)
    directions = frozenset({TX, RX} if config.ringserver_rx else {TX})

    def make_settings() -> Settings:
        now = int(datetime.datetime.now(tz=datetime.UTC).timestamp())
        # Each request reads the registry, if it needs it: it may have changed.
        return Settings(key, places, grid, _make_registry(config).extend, now, directions)

    return make_settings


def _load_key(config: Config) -> ClientKey:
    if config.ringserver_user_salt:
        return ClientKey(config.ringserver_user_salt.encode())
    path = get_key_path()
    if create_key(path):
        log.warning("created a random key in %s. Keep it: with another one, all records look new.", path)
    return load_key(path)


def _make_registry(config: Config) -> NetworkRegistry:
    return NetworkRegistry(partial(_load_registry, config))


def _load_registry(config: Config) -> list[Epoch]:
    try:
        if config.networks_file:
            return read_registry(Path(config.networks_file))
        return read_cached_registry(get_cache_path(), warn=log.warning)
    except (RegistryUnavailable, InvalidRegistry) as error:
        # The reason may name a file of the service.
        raise NetworksUnknown(hint=_NO_REGISTRY_HINT) from error
