"""POST and PUT ringserver: payloads of ringservers."""

import datetime

from eida_statistics.ringserver import payload_wire
from eida_statistics.ringserver.payload import DayPayload
from eida_stats_webservice.payloads.submission import Received, SubmissionForm
from eida_stats_webservice.ringserver.errors import RawLogsOff


def _receive(body: bytearray, today: datetime.date) -> Received[DayPayload]:
    # The rows take no less memory than the body.
    return Received(payload_wire.decode(body, today=today), len(body))


# The blueprint of the statistics has the name of the kind.
FORM = SubmissionForm(
    "ringserver_submit",
    ("/ringserver",),
    _receive,
    hint="Send logs as payloads: ringserverstats --send-to URL",
    refusal=RawLogsOff,
)
