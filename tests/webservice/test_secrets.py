"""No secret in any log or error: passwords of databases, and tokens. `conftest` searches for all of them."""

import json
import sys
from pathlib import Path

import pytest
import requests

from eida_stats_webservice.config import FILE_VARIABLE
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_statsman.cli import main
from support import issued
from support.payloads import row, wire
from support.postgresql import Cluster
from support.roles import SERVICE, grant_service
from support.service import Service, ServiceFailed, register_nodes
from support.signer import Signer
from support.stubs import Answer, encode_log, line, run, serve_answers

PASSWORD = issued.note("Tr0ub4dor")
METRICS_TOKEN = issued.note("a-token-for-metrics")

# Unreachable databases and unreadable URIs, with the password where it belongs or elsewhere.
URIS = [
    f"postgresql://user:{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user@127.0.0.1:9/db?password={PASSWORD}",
    f"postgresql://user@/db?host=/nowhere&sslpassword={PASSWORD}",
    f"postgresql://user:x@{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:12/{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:x?{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:x#{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:x:{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:%zz{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:[{PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user:x {PASSWORD}@127.0.0.1:9/db",
    f"postgresql://user@127.0.0.1:{PASSWORD}/db",
    f"postgresql://user@127.0.0.1:9/db?pasword={PASSWORD}",
    f"postgresql:/user:{PASSWORD}@127.0.0.1/db",
    f"postgres//user:{PASSWORD}@127.0.0.1/db",
    f"mysql://user:{PASSWORD}@127.0.0.1/db",
    f"host=127.0.0.1 port=9 user=user password={PASSWORD}",
    f"sqlite://user:{PASSWORD}@127.0.0.1/db",
]
COMMANDS = [
    ("db", "migrate"), ("db", "grant", SERVICE), ("db", "status"), ("db", "verify"), ("nodes", "list"),
    ("payloads", "list"), ("coverage", "--node", "GFZ"),
]  # fmt: skip


@pytest.mark.parametrize("uri", URIS, ids=lambda uri: uri.replace(PASSWORD, "password"))
def test_command_prints_no_password(
    uri: str, sqlite_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URI_FILE", raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    others = [(sqlite_uri, "db", "import-upstream", uri), (sqlite_uri, "payloads", "replay", "--from", uri)]
    for database, *words in [*((uri, *command) for command in COMMANDS), *others]:
        monkeypatch.setenv("DATABASE_URI", database)
        monkeypatch.setattr(sys, "argv", ["eida_statsman", *words])
        with pytest.raises(SystemExit) as refusal:
            main()
        printed = capsys.readouterr()
        assert refusal.value.code in (1, 2), words
        assert printed.err.startswith("eida_statsman: "), words
        assert issued.find_secrets(printed.out + printed.err) == [], words


@pytest.mark.parametrize(
    "uri", [f"postgresql://u:p%40{PASSWORD}@h/d", f"postgresql://u:a:{PASSWORD}@h/d?user=a%40b"]
)
def test_escaped_password_is_accepted(uri: str) -> None:
    assert parse_sqlite_path(uri) is None


def test_service_logs_no_database_password(tmp_path: Path) -> None:
    with Cluster(tcp=True) as cluster:
        uri = cluster.uri("postgres").replace("postgres:", f"{SERVICE}:{PASSWORD}x", 1)
        with Service(uri, tmp_path, workers=1, threads=1, healthy=False) as service:
            assert service.get("_health").status_code == 503
            assert service.get("nodes").status_code == 503
            assert "password authentication failed" in service.log
            assert issued.find_secrets(service.log) == []
    for unusual in (URIS[3], URIS[15]):
        with pytest.raises(ServiceFailed), Service(unusual, tmp_path, workers=1, threads=1) as service:
            pass
        assert issued.find_secrets((tmp_path / "service.log").read_text()) == []


def test_service_logs_no_token(database_uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(database_uri, "GFZ")
    with (
        Signer() as signer,
        Service(
            grant_service(database_uri),
            tmp_path,
            workers=1,
            threads=1,
            METRICS_TOKEN=METRICS_TOKEN,
            EAS_KEYRING=str(signer.keyring),
            EAS_FINGERPRINTS=signer.fingerprint,
            MAX_FAILURES_PER_MINUTE="0",
        ) as service,
    ):
        eas = signer.token("/epos/alparray").decode()
        for secret in (token, METRICS_TOKEN, eas):
            for path in ("dataselect/public", "dataselect/restricted", "submit", "metrics", "nodes", "nothing"):
                for query in ({"token": secret}, {"start": secret}, {"start": "2026-01", "network": secret}):
                    service.get(path, **query)
            if secret != eas:
                service.post(b"{}", secret)
            service.post(json.dumps(wire(row(), version=secret)).encode(), token)
            service.post(secret.encode(), token)
            restricted = f"{service.url}/dataselect/restricted?start=2026-01&network=GE"
            for url in (restricted, f"{restricted}&token={secret}"):
                with requests.Session() as session:
                    session.trust_env = False
                    session.post(url, data=secret.encode(), timeout=60)
        assert issued.find_secrets(service.log) == []


def test_aggregator_prints_no_quoted_token(tmp_path: Path) -> None:
    token = issued.note("a-token-that-is-quoted")
    (tmp_path / "a.log").write_bytes(encode_log(line()))
    quoted = f"you have sent Bearer {token}"
    for status in (201, 307, 400, 401, 403, 404, 409, 422, 500, 501):
        answer = Answer(
            status, quoted.encode(), {"Location": f"https://elsewhere.example/{token}", "X-Token": token}, quoted
        )
        with serve_answers(answer) as stub:
            sending = ["--send-to", stub.url, "--retries", "0", "-o", f"{status}"]
            options = ["--json"] if status % 2 else []
            printed = run(*options, *sending, "a.log", cwd=tmp_path, TOKEN=token)
            assert issued.find_secrets(printed.stdout + printed.stderr) == [], status
    for path in tmp_path.glob("**/*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path
