"""Crawls and requests for availability pass through nginx with its documented configuration."""

from contextlib import closing
from pathlib import Path

import requests

from support.commands import run_command
from support.nginx import run_nginx
from support.node_client import make_node
from support.roles import grant_service
from support.sent_crawls import make_crawl
from support.service import PREFIX, Service
from support.stores import open_store
from support.stubs import environment

# More than nginx accepts by default.
NOISE_BYTES = 2 << 20


def test_crawl_is_sent_through_nginx(uri: str, tmp_path: Path) -> None:
    with closing(open_store(uri)) as store:
        token = make_node(store, "GFZ")[1]
        store.shards.create("gfz", "/GFZ/archive", "GFZ", open_paths=False)
    (tmp_path / "token").write_text(token)
    (tmp_path / "crawl.gz").write_bytes(make_crawl(noise_bytes=NOISE_BYTES))
    with Service(grant_service(uri), tmp_path, workers=1) as service, run_nginx(service, tmp_path) as port:
        root = f"http://127.0.0.1:{port}"
        words = ["send", "crawl.gz", "--to", f"{root}{PREFIX}", "--shard", "gfz", "--token-file", "token"]
        sent = run_command("eida_archive", words, folder=tmp_path, environment=environment(tmp_path))
        assert sent.returncode == 0, sent.stderr
        version = requests.get(f"{root}/fdsnws/availability/1/version", timeout=60)
        # Nothing is ingested yet.
        found = requests.get(f"{root}/fdsnws/availability/1/query?network=GE", timeout=60)
    assert sent.stdout == f"crawl.gz to {root}{PREFIX}/archive/gfz/crawl: sent\n"
    assert (version.status_code, found.status_code) == (200, 204), found.text
