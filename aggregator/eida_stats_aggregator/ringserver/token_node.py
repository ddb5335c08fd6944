"""Send records with tokens of one node only."""

from collections.abc import Sequence

from eida_statistics.connections import Record
from eida_stats_aggregator.delivery.connections import ConnectionsClient
from eida_stats_aggregator.errors import ForeignToken
from eida_stats_aggregator.ringserver.follow_state import FollowState


class NodeSender:
    """Sends records, unless the token is that of another node than before.

    Args:
        client: sends them.
        state: has the node, once the service has stated it.
    """

    def __init__(self, client: ConnectionsClient, state: FollowState) -> None:
        self._client = client
        self._state = state
        self._is_checked = False

    def send(self, records: Sequence[Record]) -> int:
        """Send records, and return how many new events the service has stored.

        Raises:
            ForeignToken: if the token is that of another node than before.
            RecordsNotSent: if the service does not take the records.
        """
        if self._state.node and not self._is_checked:
            # The service stores nothing of an empty request, but states the node.
            self._client.send([])
            self._check()
        created = self._client.send(records)
        self._state.node = self._client.token_node or self._state.node
        self._is_checked = True
        return created

    def _check(self) -> None:
        node, known = self._client.token_node, self._state.node
        if node is not None and node != known:
            raise ForeignToken(
                f"it is that of node {node}, and the logs were sent for node {known}",
                hint="Use the right token. If the node was renamed: --state with a new file, and everything is sent"
                " again. The service counts what it has once.",
            )
        self._is_checked = True
