"""Replay a log in another database: open it, and register there what the log does not state."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from eida_stats_webservice.connections.models import DOOR, FEDERATION
from eida_stats_webservice.database import migrations, open_database
from eida_statsman.repositories import Repositories


@contextmanager
def open_target(uri: str | None) -> Iterator[Repositories]:
    """Yield the repositories of a database; by default, of an empty one that is deleted afterwards."""
    if uri is not None:
        with closing(open_database(uri)) as database:
            yield Repositories(database)
        return
    with TemporaryDirectory(prefix="eida-statistics-") as folder:
        temporary = f"sqlite:///{Path(folder) / 'replay.db'}"
        migrations.apply(temporary)
        with closing(open_database(temporary)) as database:
            yield Repositories(database)


def copy_registrations(source: Repositories, target: Repositories) -> None:
    """Add the nodes, spaces, doors, installations and recounts that a database lacks."""
    known = {node.name for node in target.registry.list_nodes()}
    for node in source.registry.list_nodes():
        if node.name not in known:
            target.registry.add_node(node.name, node.contact)
    _copy_spaces(source, target)
    _copy_doors(source, target)
    for name, recount in source.spaces.list_recounts():
        target.spaces.recount(name, recount.count, recount.recorded, "replay")


def _copy_spaces(source: Repositories, target: Repositories) -> None:
    names = {node.id: node.name for node in source.list_nodes()}
    tree, known = source.spaces.read_tree(), target.spaces.read_tree()
    # Spaces that contain others come first.
    for space in sorted(tree, key=lambda one: len(tree.list_above(one))):
        if known.find(space.name) is None and space.name != FEDERATION:
            above = next(iter(tree.list_above(space)), None)
            target.spaces.add(
                space.name,
                node=names.get(space.node_id or 0),
                parent=None if above is None else above.name,
                capacity=space.capacity,
                restricted=space.restricted,
                is_copy=True,
            )


def _copy_doors(source: Repositories, target: Repositories) -> None:
    known = {
        sensor.name: {(space, one.installed_at) for one, space in places}
        for sensor, places in target.sensors.list_sensors()
        if sensor.kind == DOOR
    }
    for sensor, places in source.sensors.list_sensors():
        if sensor.kind != DOOR:
            continue
        if sensor.name not in known:
            target.sensors.add(sensor.name, sensor.node, is_open=sensor.open)
        for one, space in places:
            if (space, one.installed_at) not in known.get(sensor.name, ()):
                target.sensors.install(
                    sensor.name,
                    space,
                    doorway=one.doorway,
                    orientation=one.orientation,
                    start=one.installed_at,
                    stop=one.removed_at,
                )
