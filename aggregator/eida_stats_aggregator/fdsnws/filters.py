"""The filter of requests, by day and by client program."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eida_statistics.payload import Exclusions
from eida_statistics.user_agents import ClientClasses


@dataclass(frozen=True)
class RequestFilter:
    """The requests that count: of UTC days from `since` to `until`, both included, and of clients not excluded.

    With `fingerprinted`, a tally computes the fingerprint of all lines.
    """

    classes: ClientClasses
    latest: datetime.date
    since: datetime.date = datetime.date.min
    until: datetime.date = datetime.date.max
    excluded_classes: Sequence[str] = ()
    excluded_clients: Sequence[re.Pattern[str]] = ()
    fingerprinted: bool = False

    def classify(self, agent: str | None) -> tuple[str, bool]:
        """Return the class of a client, and whether it is taken."""
        name = self.classes.classify(agent)
        return name, name not in self.excluded_classes and not any(
            pattern.search(agent or "") for pattern in self.excluded_clients
        )

    @property
    def exclusions(self) -> Exclusions | None:
        """Return the excluded clients as a payload names them, or None."""
        if not self.excluded_classes and not self.excluded_clients:
            return None
        return Exclusions(
            client_classes=sorted(set(self.excluded_classes)),
            client_patterns=sorted({pattern.pattern for pattern in self.excluded_clients}),
        )
