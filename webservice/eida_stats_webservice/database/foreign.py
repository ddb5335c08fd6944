"""Tables of other PostgreSQL servers, with the extension postgres_fdw.

All functions take a connection in a transaction of the role that owns the tables. Only this role gets a user
mapping; others read views. The password is in the user mapping, so it is also in dumps.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import errors, extensions, sql

from eida_stats_webservice.database.base import get_first_line, set_savepoint
from eida_stats_webservice.database.schemas import Columns
from eida_stats_webservice.errors import UnusableForeignServer

_OPTIONS = {
    "fetch_size": "10000",
    "connect_timeout": "3",
    "use_remote_estimate": "true",
    # statement_timeout ends a query of a server that hangs. Then the database server cancels the query there, with
    # a connection that has no other limit.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
}
_DEFAULTS = {"port": "5432"}
_HINT = "Use postgresql://reader@host:5432/database, without a password."
_NO_PACKAGE = "Install it on the database server. In Debian, the package of the server contains it."
_NO_RIGHT = (
    "As a superuser, run in this database: CREATE EXTENSION IF NOT EXISTS postgres_fdw; GRANT USAGE ON FOREIGN DATA"
    " WRAPPER postgres_fdw TO {role};"
)
_MUST_ASK = (
    "It must: PostgreSQL refuses trust authentication to roles that are not superusers. Use scram-sha-256 in its"
    " pg_hba.conf."
)
_CHECK_ADDRESS = "Check the address, the role and its password, and pg_hba.conf there."
_CHECK_RIGHTS = "Grant the role there USAGE on the schemas and SELECT on the tables, see webservice/README.md."
# Settings that write statements to the log of the server or of an extension, and the value that turns each off.
_LOGGING = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
    "pg_stat_statements.track_utility": "off",
}
# The values that log statements which take milliseconds and do not fail.
_LOG_ALL = {"log_statement": ("ddl", "mod", "all"), "log_min_duration_statement": ("0",)}
_COLUMNS = "columns"
_COLUMN_FIELDS = ("table_schema", "table_name", "column_name", "udt_name")


class Column(NamedTuple):
    """A column of a foreign server."""

    schema: str
    table: str
    name: str
    type: str


@dataclass(frozen=True)
class ForeignServer:
    """A database of another server.

    Attributes:
        options: the parameters of its connections, without user and password.
        user: a role there that may only read.
        password: its password.
        schema: the schema of the tables there.
    """

    options: Mapping[str, str]
    user: str
    password: str = field(repr=False)
    schema: str

    @property
    def place(self) -> str:
        """The host, port and name of the database."""
        return "{host}:{port}/{dbname}".format(**self.options)


def parse_server(uri: str, password: str, schema: str) -> ForeignServer:
    """Return the server of a URI.

    Raises:
        UnusableForeignServer: if the URI is not complete, or has a password. The message does not quote it.
    """
    try:
        options = {**_DEFAULTS, **extensions.parse_dsn(uri)}
    except psycopg2.ProgrammingError:
        options = {}
    if "password" in options:
        raise UnusableForeignServer(
            "the URI has a password, which other users of this machine could see",
            hint="Write the password to a file that only you can read, and name it with --password-file.",
        )
    user = options.pop("user", None)
    if user is None or not options.keys() >= {"host", "dbname"}:
        raise UnusableForeignServer("the URI lacks a user, a host or a database", hint=_HINT)
    if not password:
        raise UnusableForeignServer("the password is empty", hint=_MUST_ASK)
    return ForeignServer(options, user, password, schema)


def create_server(connection: extensions.connection, name: str, server: ForeignServer) -> None:
    """Create a foreign server and the user mapping of this role, and check that it asks for the password.

    A schema of the same name must exist.

    Raises:
        UnusableForeignServer: if there is a server of this name, this role may create none, the other server
            does not ask for a password, or this server would log it.
    """
    _require_wrapper(connection)
    if _fetch(connection, "SELECT FROM pg_foreign_server WHERE srvname = %s", (name,)):
        raise UnusableForeignServer(f"the database has a foreign server {name}", hint="Choose another code.")
    _stop_logging(connection)
    with _explain_errors(server):
        _execute(
            connection,
            "CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})",
            name=sql.Identifier(name),
            options=_write_options({**_OPTIONS, **server.options}),
        )
    create_table(
        connection, name, _COLUMNS, dict.fromkeys(_COLUMN_FIELDS, "text"), ("information_schema", _COLUMNS)
    )
    _map_user(connection, name, server.user, secrets.token_hex())
    if not _asks_for_password(connection, name):
        raise UnusableForeignServer(f"{server.place} does not ask for a password", hint=_MUST_ASK)
    _map_user(connection, name, server.user, server.password)


def drop_server(connection: extensions.connection, name: str) -> None:
    """Drop a foreign server with its user mapping and tables. No view may read its tables."""
    _execute(connection, "DROP SERVER IF EXISTS {name} CASCADE", name=sql.Identifier(name))


def create_table(
    connection: extensions.connection, server: str, name: str, columns: Columns, place: tuple[str, str]
) -> None:
    """Create a foreign table of a server, in the schema of the name of the server.

    Args:
        connection: the connection.
        server: the name of the server.
        name: the name of the table here.
        columns: its columns.
        place: its schema and name there.
    """
    schema, table = place
    _execute(
        connection,
        "CREATE FOREIGN TABLE {table} ({columns}) SERVER {server}"
        " OPTIONS (schema_name {foreign_schema}, table_name {foreign_table})",
        table=sql.Identifier(server, name),
        columns=sql.SQL(", ").join(
            sql.SQL(f"{{}} {type_}").format(sql.Identifier(column)) for column, type_ in columns.items()
        ),
        server=sql.Identifier(server),
        foreign_schema=sql.Literal(schema),
        foreign_table=sql.Literal(table),
    )


def list_columns(connection: extensions.connection, name: str, server: ForeignServer) -> set[Column]:
    """Return the columns of all tables that the user of a server may read.

    Raises:
        UnusableForeignServer: if the server refuses.
    """
    with _explain_errors(server):
        found = _fetch(
            connection,
            "SELECT {fields} FROM {table}",
            fields=sql.SQL(", ").join(map(sql.Identifier, _COLUMN_FIELDS)),
            table=sql.Identifier(name, _COLUMNS),
        )
    return {Column(*row) for row in found}


def name_types(connection: extensions.connection, columns: Columns) -> dict[str, str]:
    """Return the types of columns as `Column` has them."""
    statement = "SELECT typname FROM pg_type WHERE oid = %s::regtype"
    types = {column: type_.partition(" COLLATE ")[0] for column, type_ in columns.items()}
    return {column: _fetch(connection, statement, (type_,))[0][0] for column, type_ in types.items()}


def read_first_row(connection: extensions.connection, name: str, table: str, server: ForeignServer) -> None:
    """Read the first row of a foreign table.

    Raises:
        UnusableForeignServer: if the server refuses.
    """
    with _explain_errors(server):
        _fetch(connection, "SELECT FROM {table} LIMIT 1", table=sql.Identifier(name, table))


def _require_wrapper(connection: extensions.connection) -> None:
    """Create the extension if it is missing, and check that this role may use it."""
    (role,) = _fetch(connection, "SELECT quote_ident(current_user)")[0]
    try:
        with set_savepoint(connection):
            _execute(connection, "CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
        raise UnusableForeignServer("PostgreSQL lacks postgres_fdw", hint=_NO_PACKAGE) from error
    except errors.InsufficientPrivilege as error:
        raise UnusableForeignServer(
            f"{role} may not create postgres_fdw", hint=_NO_RIGHT.format(role=role)
        ) from error
    if not _fetch(connection, "SELECT has_foreign_data_wrapper_privilege('postgres_fdw', 'USAGE')")[0][0]:
        raise UnusableForeignServer(f"{role} may not use postgres_fdw", hint=_NO_RIGHT.format(role=role))


def _stop_logging(connection: extensions.connection) -> None:
    """Keep the statements of this transaction out of logs, as far as this role may, and check that it suffices."""
    settings = _fetch(
        connection,
        "SELECT name, setting, has_parameter_privilege(name, 'SET'), quote_ident(current_user) FROM pg_settings"
        " WHERE name = ANY (%s)",
        (list(_LOGGING),),
    )
    for name, value, may_change, role in settings:
        if may_change:
            _fetch(connection, "SELECT set_config(%s, %s, true)", (name, _LOGGING[name]))
        elif value in _LOG_ALL.get(name, ()):
            raise UnusableForeignServer(
                f"{name} is {value}, so the server would log the password",
                hint=f"As a superuser, run: GRANT SET ON PARAMETER {name} TO {role};",
            )


def _map_user(connection: extensions.connection, name: str, user: str, password: str) -> None:
    names = {"name": sql.Identifier(name), "options": _write_options({"user": user, "password": password})}
    try:
        _execute(connection, "DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER {name}", **names)
        _execute(connection, "CREATE USER MAPPING FOR CURRENT_USER SERVER {name} OPTIONS ({options})", **names)
    except psycopg2.Error as error:
        # Without the cause, which may quote the statement.
        raise UnusableForeignServer(get_first_line(error)) from None


def _asks_for_password(connection: extensions.connection, name: str) -> bool:
    """Return whether the server refuses the present password, or cannot be reached."""
    try:
        with set_savepoint(connection):
            _fetch(connection, "SELECT FROM {table} LIMIT 1", table=sql.Identifier(name, _COLUMNS))
    except (errors.SqlclientUnableToEstablishSqlconnection, errors.QueryCanceled):
        return True
    except errors.ProhibitedSqlStatementAttempted:
        pass
    return False


@contextmanager
def _explain_errors(server: ForeignServer) -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode is None:
            raise
        reason = f"{server.place}: {get_first_line(error)}"
        # PostgreSQL lists the options that it knows in its hint.
        detail = error.diag.message_detail or error.diag.message_hint
        hint = _CHECK_RIGHTS if isinstance(error, errors.InsufficientPrivilege) else _CHECK_ADDRESS
        raise UnusableForeignServer(f"{reason}: {detail}" if detail else reason, hint=hint) from error


def _write_options(options: Mapping[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in options.items()
    )


def _execute(connection: extensions.connection, statement: str, **parts: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**parts))


def _fetch(
    connection: extensions.connection, statement: str, values: Sequence[object] = (), **parts: sql.Composable
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**parts), values)
        return cursor.fetchall()
