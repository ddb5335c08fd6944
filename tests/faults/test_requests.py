"""Thousands of requests generated from the OpenAPI document: running services never fail, and are never slow."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import HealthCheck, settings
from schemathesis import Case

from eida_stats_webservice.database import migrations
from support.postgresql import Cluster
from support.requests_from_openapi import METRICS_TOKEN, OPERATORS, Tokens, authorize, fill, load_document, mend
from support.roles import grant_service
from support.service import PREFIX, Service
from support.signer import Signer
from support.stores import open_store
from support.timelines import AVAILABILITY

pytestmark = pytest.mark.alone

EXAMPLES = 100
SECONDS = 1
API = load_document()
# tests/webservice/test_fuzzing.py covers the edges of each parameter; generating them takes a minute.
API.config.phases.coverage.enabled = False


class Target(NamedTuple):
    """A service, its tokens, and the observed durations and statuses."""

    kind: str
    uri: str
    service: Service
    tokens: Tokens
    session: requests.Session
    seconds: list[tuple[float, str]]
    statuses: Counter[int]


@pytest.fixture(scope="module")
def targets(postgresql: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Target]]:
    """Run a service on each kind of database, with the same statistics."""
    directories = {kind: tmp_path_factory.mktemp(kind) for kind in ("postgresql", "sqlite")}
    uris = {
        "postgresql": postgresql.create_database("requests", template),
        "sqlite": f"sqlite:///{directories['sqlite'] / 'statistics.db'}",
    }
    migrations.apply(uris["sqlite"])
    with ExitStack() as stack:
        signer = stack.enter_context(Signer())
        yield [start_target(kind, uri, directories[kind], signer, stack) for kind, uri in uris.items()]
    postgresql.drop_database("requests")


def start_target(kind: str, uri: str, directory: Path, signer: Signer, stack: ExitStack) -> Target:
    with closing(open_store(uri)) as store:
        tokens = fill(store, signer.token(f"/epos/{OPERATORS}").decode())
    service = Service(
        grant_service(uri),
        directory,
        METRICS_TOKEN=METRICS_TOKEN,
        MAX_FAILURES_PER_MINUTE="0",
        EAS_KEYRING=str(signer.keyring),
        EAS_FINGERPRINTS=signer.fingerprint,
    )
    session = stack.enter_context(requests.Session())
    session.trust_env = False
    stack.enter_context(service)
    # The first answer in Parquet loads pyarrow, which takes two seconds if the machine has not read its files yet.
    session.get(
        f"{service.url}/dataselect/public", params={"start": "2021", "format": "parquet"}
    ).raise_for_status()
    return Target(kind, uri, service, tokens, session, [], Counter())


@API.parametrize()
@settings(derandomize=True, deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_generated_requests_conform_and_are_fast(case: Case[Any], targets: list[Target]) -> None:
    headers = [authorize(case, target.tokens) for target in targets]
    mend(case, headers[0])
    for target, sent in zip(targets, headers, strict=True):
        # The service for availability is at the root of the server.
        at_root = case.path.startswith(AVAILABILITY)
        url = target.service.url.removesuffix(PREFIX) if at_root else target.service.url
        answer = case.call_and_validate(url, target.session, sent)
        assert answer.status_code < 500
        assert answer.elapsed < SECONDS, (target.kind, answer.request.url)
        target.seconds.append((answer.elapsed, f"{case.method} {case.path}"))
        target.statuses[answer.status_code] += 1


def test_generated_requests_leave_consistent_sums(
    targets: list[Target], record_figure: Callable[[str], None]
) -> None:
    for target in targets:
        assert "Traceback" not in target.service.log
        with closing(open_store(target.uri)) as store:
            assert [difference for *_, found in store.verification.verify() for difference in found] == []
        seconds, slowest = max(target.seconds, default=(0, ""))
        summary = f"{dict(sorted(target.statuses.items()))}, {seconds * 1000:.0f} ms at most, for {slowest}"
        record_figure(f"{target.kind}: {len(target.seconds):,} requests made from the document: {summary}")
