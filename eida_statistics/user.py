"""The user of this process, who may have no account: an image can be started with any number of a user."""

import getpass
import os
from collections.abc import Callable
from pathlib import Path

from eida_statistics.errors import HomeUnknown

_APPLICATION = "eida-statistics"


def get_data_directory() -> Path:
    """Return the directory of data of this user.

    Raises:
        HomeUnknown: if the user has no home directory.
    """
    from platformdirs import user_data_path  # noqa: PLC0415 - slow to import

    return _find(user_data_path)


def get_cache_directory() -> Path:
    """Return the directory of caches of this user.

    Raises:
        HomeUnknown: if the user has no home directory.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415 - slow to import

    return _find(user_cache_path)


def get_login_name() -> str:
    """Return the login name of this user, or the number of a user who has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the former before Python 3.13
        return str(os.geteuid())


def _find(find: Callable[[str], Path]) -> Path:
    try:
        return find(_APPLICATION)
    except RuntimeError as error:
        raise HomeUnknown(hint="Set HOME, or XDG_DATA_HOME and XDG_CACHE_HOME.") from error
