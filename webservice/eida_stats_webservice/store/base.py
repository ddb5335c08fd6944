"""The one interface to the database, whichever it is."""

from eida_stats_webservice.dataselect.verification import Audit
from eida_stats_webservice.query.repository import Answers
from eida_stats_webservice.registry.repository import Registry


class Store(Registry, Audit, Answers):
    """A database with the schema of `migrations/`.

    Every method is one transaction, but `verify` and `replay`, which have one for each month of a node. All of them
    raise DatabaseUnavailable if the database cannot be reached, and DatabaseNotReady if it has no such tables.
    """
