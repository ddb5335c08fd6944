"""POST and PUT submit: payloads of dataselect."""

import datetime

from eida_statistics import wire
from eida_stats_webservice.dataselect.repository import DataselectPayload
from eida_stats_webservice.payloads.submission import Received, SubmissionForm


def _receive(body: bytearray, today: datetime.date) -> Received[DataselectPayload]:
    received = wire.receive(body, today=today)
    # From here on, only the compressed form is in memory.
    return Received(received.payload, len(received.payload.body), received.countries_changed)


# The second path is the one of deployed aggregators.
FORM: SubmissionForm[DataselectPayload] = SubmissionForm("submit", ("/submit", "/dataselectstats"), _receive)
