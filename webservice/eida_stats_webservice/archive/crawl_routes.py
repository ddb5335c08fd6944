"""PUT archive/SHARD/crawl stores the file of a crawl, which a node sends."""

import errno
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import msgspec
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from eida_statistics.archive.crawl_ends import read_ends
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.texts import printable
from eida_stats_webservice.archive.crawls import CrawlRepository
from eida_stats_webservice.archive.errors import CrawlTooLarge, OtherShard, UnknownShard
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.shards import ShardRepository, check_is_local
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.errors import DiskFull, UnsupportedMediaType
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import check_connected, copy_body, drain
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

_GZIP_MAGIC = b"\x1f\x8b"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_COPY_IT = "Copy it to the centre, where the administrator can ingest it: eida_statsman shards ingest."


class CrawlLimits(NamedTuple):
    """The limits of crawls in a process.

    Attributes:
        receiving: limits how many are received at once.
        max_bytes: the size of the largest one.
    """

    receiving: ConcurrencyLimit
    max_bytes: int


def create_blueprint(
    crawls: CrawlRepository, shards: ShardRepository, registry: RegistryRepository, limits: CrawlLimits
) -> Blueprint:
    """Create the routes.

    Args:
        crawls: stores the files.
        shards: the list of shards.
        registry: the nodes and their tokens.
        limits: the limits of the process.
    """
    routes = Blueprint("crawls", __name__)
    declare_options(routes, RouteOptions(is_open_to_pages=False))

    @routes.put("/archive/<shard>/crawl")
    def store(shard: str) -> Response:
        """Store a crawl, unless it was received before."""
        sender = authenticate_node(request, registry)
        g.token_valid_until = sender.token_valid_until.replace(microsecond=0)
        require_parameters(read_parameters(request))
        found = find_shard_of_node(shards, shard, sender.node)
        check_is_local(found)
        with limits.receiving.slot(), _receive(limits.max_bytes) as received:
            if not received.size:
                raise InvalidCrawl("it is empty")
            ends = read_ends(received.file)
            check_connected(request)
            crawl, is_new = crawls.store(found, received.file, received.digest.hexdigest(), received.size, ends)
        members = msgspec.structs.asdict(crawl)
        del members["id"], members["code"]
        state = "stored" if is_new else "unchanged"
        return make_json({"status": state, "shard": found.code, **members}, 202 if is_new else 200)

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer; add the end of its token."""
        if response.status_code >= 400:
            drain(request, limits.max_bytes)
        if (end := g.get("token_valid_until")) is not None:
            response.headers["Token-Valid-Until"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        return response

    return routes


def find_shard_of_node(shards: ShardRepository, code: str, node: Node) -> Shard:
    """Return a shard of a node.

    Raises:
        UnknownShard: if there is no such shard.
        OtherShard: if it belongs to another node.
    """
    present = shards.read_all()
    own = [shard.code for shard in present if shard.node_id == node.id]
    hint = f"{node.name} has {', '.join(own) or 'no shard'}."
    for shard in present:
        if shard.code == code:
            if shard.node_id != node.id:
                raise OtherShard(code, hint=hint)
            return shard
    raise UnknownShard(printable(code[:60]), hint=hint)


class _ReceivedFile:
    """A body on disk, its hash and its size in bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append a piece.

        Raises:
            UnsupportedMediaType: if the body does not begin as gzip does.
        """
        if not self.size and not chunk.startswith(_GZIP_MAGIC):
            raise UnsupportedMediaType("not gzip", hint="Send the file that eida_archive crawl has written.")
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)


@contextmanager
def _receive(max_bytes: int) -> Iterator[_ReceivedFile]:
    """Yield the body of the request in a temporary file, from its beginning."""
    try:
        with tempfile.TemporaryFile() as file:
            received = _ReceivedFile(file)
            copy_body(request, max_bytes, received.write)
            file.seek(0)
            yield received
    except RequestEntityTooLarge as error:
        raise CrawlTooLarge(f"more than {max_bytes:,} bytes", hint=_COPY_IT) from error
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(hint="Try again later.") from error
        raise
