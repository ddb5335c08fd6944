"""The identity and the stored form of a payload of dataselect."""

from eida_statistics.encoding import EncodedPayload, PayloadSummary
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.kinds import Description


def identify(payload: PayloadSummary) -> Identity:
    """Return the identity of a payload."""
    envelope = payload.envelope
    return Identity(
        hash=payload.hash,
        content=payload.content,
        source=envelope.source,
        period=envelope.period,
        days=frozenset(envelope.days_coverage),
    )


def describe(payload: EncodedPayload) -> Description:
    """Return the identity and the stored form of a payload."""
    return Description(
        identity=identify(payload),
        generated_at=payload.envelope.generated_at,
        version=payload.envelope.version,
        rows=payload.count,
        body=payload.body,
        packed_rows=payload.packed_rows,
    )
