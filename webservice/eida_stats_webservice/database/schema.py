"""The migrations that this version of the service needs."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "migrations"
SQLITE_FOLDER = FOLDER / "sqlite"


def list_migration_ids(folder: Path) -> frozenset[str]:
    """Return the ids of the migrations of a folder, as yoyo stores them."""
    return frozenset(path.stem for path in folder.glob("*.sql") if not path.stem.endswith(".rollback"))
