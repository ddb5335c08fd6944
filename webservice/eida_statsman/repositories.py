"""Pass repositories to commands."""

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from eida_stats_webservice.database import Database
from eida_stats_webservice.dataselect.repository import PayloadRepository
from eida_stats_webservice.dataselect.transfer import Transfer
from eida_stats_webservice.dataselect.verification import Verification
from eida_stats_webservice.registry.repository import RegistryRepository

_Given = TypeVar("_Given")
_Parameters = ParamSpec("_Parameters")


class Repositories:
    """Creates each repository of a database at its first use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def registry(self) -> RegistryRepository:
        """Return the repository of nodes, networks and tokens."""
        return RegistryRepository(self._database)

    @cached_property
    def payloads(self) -> PayloadRepository:
        """Return the repository of payloads."""
        return PayloadRepository(self._database, self.registry)

    @cached_property
    def verification(self) -> Verification:
        """Return the object that verifies and rebuilds sums."""
        return Verification(self._database, self.registry, self.payloads)

    @cached_property
    def transfer(self) -> Transfer:
        """Return the object that copies other databases into this one."""
        return Transfer(self._database, self.registry, self.payloads)


def _create_decorator(choose: Callable[[Repositories], _Given]) -> Callable[..., Any]:
    """Return a decorator that passes a repository to a command as its first argument."""

    def decorate(command: Callable[Concatenate[_Given, _Parameters], None]) -> Callable[_Parameters, None]:
        @wraps(command)
        @click.pass_obj
        def run(database: Database, /, *arguments: _Parameters.args, **options: _Parameters.kwargs) -> None:
            command(choose(Repositories(database)), *arguments, **options)

        return run

    return decorate


pass_registry = _create_decorator(lambda repositories: repositories.registry)
pass_payloads = _create_decorator(lambda repositories: repositories.payloads)
pass_repositories = _create_decorator(lambda repositories: repositories)
