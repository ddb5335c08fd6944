"""Advise the operator about days that were not sent."""

from collections.abc import Mapping

from eida_statistics.ringserver.collection import SourceDay
from eida_stats_aggregator.console import format_list

DAMAGED_DAY = "its log is damaged, and no record of it counts"
"""The reason why a day that would be quiet is not sent or stored."""

_ONE_RUN_EACH = (
    "From then on, send the logs of each server in a run of its own, with its name and a pattern of its logs:"
    " --server NAME '/var/log/ringserver/txlog-*'. Logs whose names begin with that of the server need no --server."
)


def name_day(key: SourceDay) -> str:
    """Return the name of a day in messages."""
    return f"{key.day} of {key.source}" if key.source else str(key.day)


def advise_replacing(key: SourceDay, *, is_covered: bool) -> str:
    """Return how to replace a day, which the names of the files cover or not."""
    if is_covered:
        return "If the logs are complete for this day: --replace."
    return (
        "The names of the files do not cover this day. If the logs are complete for it nevertheless:"
        f" --replace --since {key.day} --until {key.day}."
    )


def describe_conflict(key: SourceDay, sources: Mapping[int, str], base: str, *, is_covered: bool) -> str:
    """Return that a day was not sent, because the service has other statistics, and the choices.

    Args:
        key: the day, and the source under which it was sent.
        sources: the sources of the payloads of the service, by their numbers.
        base: the URL of the service.
        is_covered: whether the names of the files cover the day.
    """
    payloads = format_list([_name_payload(*other) for other in sources.items()]) or "other statistics"
    text = f"{name_day(key)} was not sent: the service has {payloads}"
    wholes = [number for number, source in sources.items() if not source]
    if key.source and wholes:
        return (
            f"{text}, which stands for all servers of the node. If it is of one server, retract it."
            f" {_ONE_RUN_EACH}\n"
            f"{_describe_retraction(base, wholes[0])}"
        )
    if not key.source and sources and not wholes:
        return f"{text}. These logs have no source, so they stand for all servers of the node. Use --server NAME."
    replacing = advise_replacing(key, is_covered=is_covered)
    if key.source:
        return f"{text}. {replacing} If the payload is of another server: --server NAME for one of them."
    return (
        f"{text}. {replacing} If the payload is of another server, retract it. {_ONE_RUN_EACH}\n"
        f"{_describe_retraction(base, wholes[0] if wholes else 'NUMBER')}"
    )


def describe_other_key(days: int, *, are_covered: bool) -> str:
    """Return that days were delivered under another key, all of which the names of the files cover or not."""
    text = f"days that were delivered under another key, and were left alone: {days:,}"
    more = "" if are_covered else " with --since and --until, since the names of the files do not cover all of them"
    return f"{text}. Use that key again, or count these days again: --replace{more}."


def _name_payload(number: int, source: str) -> str:
    return f"payload {number} of source {source}" if source else f"payload {number} without a source"


def _describe_retraction(base: str, payload: int | str) -> str:
    return (
        "To retract it:\n"
        f'  curl --request DELETE --header "Authorization: Bearer $TOKEN" {base}/payloads/{payload}\n'
        "or, at the service:\n"
        f"  eida_statsman payloads retract {payload}"
    )
