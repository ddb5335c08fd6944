"""GET archive/PATH: the paths below a path, for its node, and for everybody where paths are open."""

from collections.abc import Generator
from itertools import chain, islice

from flask import Blueprint, Response, request
from werkzeug.routing import PathConverter

from eida_statistics.archive.paths import is_normal, is_within
from eida_stats_webservice.archive.errors import ForbiddenPath, ShardUnavailable
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.paths.answers import AnswerMaker, PathRepositories
from eida_stats_webservice.archive.paths.parameters import PathQuery, parse_path_query
from eida_stats_webservice.archive.paths.repository import PathRepository
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.reading import open_reader
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.query.responses import run_in_slot
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import read_bearer_token
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

_ROOTS = "list_root_gpath"


class _CataloguePath(PathConverter):
    """A path of the catalogue, which may have line breaks. Crawls are sent to SHARD/crawl."""

    regex = r"(?![^/]+/crawl\Z)[^/][\s\S]*?"


def create_blueprint(
    database: Database, shards: ShardRepository, registry: RegistryRepository, concurrency: ConcurrencyLimit
) -> Blueprint:
    """Create the routes.

    Args:
        database: the database.
        shards: the list of shards.
        registry: the nodes and their tokens.
        concurrency: limits how many long queries run at once.
    """
    routes = Blueprint("paths", __name__)
    routes.record_once(lambda state: state.app.url_map.converters.update(catalogue_path=_CataloguePath))
    declare_options(routes, RouteOptions(paths=("/archive",), logs_query=True))
    repositories = PathRepositories(PathRepository(database), PolygonRepository(database, shards))

    @routes.get("/archive/", defaults={"path": ""}, strict_slashes=False)
    @routes.get("/archive/<catalogue_path:path>")
    def look_up(path: str) -> Response:
        """Return what is below a path, or the paths of the shards that the client may see."""
        visible = list_visible()
        query = parse_path_query(read_parameters(request), has_postgis=has_postgis())
        if query.operation == _ROOTS:
            return make_json({"sub_paths": sorted(shard.path for shard in visible)})
        wanted = f"/{path.strip('/')}"
        shard = find_shard(visible, wanted)
        # The token may be revoked while the request waits.
        chunks = run_in_slot(concurrency, make_answer(shard, wanted, query), list_visible)
        begun = list(islice(chunks, 2))
        response = Response(chain(begun, chunks), content_type="application/json")
        response.call_on_close(chunks.close)
        return response

    def has_postgis() -> bool:
        """Return whether PostGIS can be used, for requests that need it."""
        if "wkt" not in request.args:
            return False
        with database.transaction() as connection:
            return repositories.polygons.is_used(connection)

    def list_visible() -> list[Shard]:
        """Return the shards whose paths the client may see."""
        has_token = read_bearer_token(request) is not None
        node_id = authenticate_node(request, registry).node.id if has_token else None
        return [shard for shard in shards.read_all() if shard.open_paths or shard.node_id == node_id]

    def make_answer(shard: Shard, path: str, query: PathQuery) -> Generator[bytes]:
        try:
            with open_reader(database) as reader:
                yield from AnswerMaker(repositories, reader, shard, path, query).make()
        except ShardUnavailable as error:
            # There are no other shards in this answer.
            error.hint = "Try again later."
            raise

    @routes.after_request
    def set_cache(response: Response) -> Response:
        """Let no cache keep an answer or an error, since the token decides what is in it."""
        response.headers["Cache-Control"] = "private, no-store"
        return response

    return routes


def find_shard(visible: list[Shard], path: str) -> Shard:
    """Return the shard that has a path, of those that the client may see.

    Raises:
        ForbiddenPath: if there is none.
    """
    for shard in visible if is_normal(path) else []:
        if is_within(path, shard.path):
            return shard
    raise ForbiddenPath(hint="Send Authorization: Bearer TOKEN, with the token of its node.")
