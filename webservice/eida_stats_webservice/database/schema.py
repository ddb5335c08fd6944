"""Which migrations a database must have for this version of the service."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "migrations"
SQLITE_FOLDER = FOLDER / "sqlite"


def migration_ids(folder: Path) -> frozenset[str]:
    """Return the names under which yoyo keeps the migrations of a folder."""
    return frozenset(path.stem for path in folder.glob("*.sql") if not path.stem.endswith(".rollback"))
