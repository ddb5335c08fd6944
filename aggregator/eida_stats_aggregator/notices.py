"""Warnings about anything that changes the numbers. They are shown even with --quiet."""

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eida_stats_aggregator.console import format_list
from eida_stats_aggregator.period import LogPeriod, parse_day

if TYPE_CHECKING:
    from eida_stats_aggregator.fdsnws.tally import Tally  # slow to import

_REJECTED_SHARE = 0.01
_REJECTED_LINES = 10
_TOKEN_DAYS = 30


class Notice(NamedTuple):
    """A warning; `key` stays the same for as long as its reason does, so that it is shown once."""

    key: str
    text: str


def make_log_notices(
    names: Sequence[str], tally: "Tally", found: LogPeriod | None, today: datetime.date
) -> list[Notice]:
    """Return the warnings about logs that were read, and their period."""
    subject = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    texts = []
    lines = tally.lines
    if are_many_rejected(tally.rejected, lines):
        texts.append(f"{subject}: {tally.rejected:,} of {lines:,} lines were rejected")
    if tally.repeated:
        texts.append(f"{subject}: {tally.repeated:,} repeated lines were counted once")
    if not tally.requests:
        texts.append(f"{subject}: no request of this service")
    if found is not None:
        texts += _describe_period(subject, names, tally, found, today)
    return [Notice(f"log:{text}", text) for text in texts]


def are_many_rejected(rejected: int, total: int) -> bool:
    """Return whether so much of logs was rejected that the operator must know."""
    return rejected > max(_REJECTED_LINES, _REJECTED_SHARE * total)


def _describe_period(
    subject: str, names: Sequence[str], tally: "Tally", found: LogPeriod, today: datetime.date
) -> list[str]:
    texts = []
    named = {day for name in names if (day := parse_day(name)) is not None}
    if found.origin == "names" and is_mostly_elsewhere(tally, named):
        days = ", ".join(str(day) for day, _ in tally.requests_by_day.most_common(2))
        texts.append(f"{subject}: fewer than half of its requests are of the day in its name; most are of {days}")
    if found.period.end >= today:
        texts.append(f"{subject}: the period {found.period} is not over")
    if found.gaps:
        texts.append(f"{subject}: no log of {format_list(found.gaps)} within the period")
    return texts


def is_mostly_elsewhere(tally: "Tally", days: Collection[datetime.date]) -> bool:
    """Return whether fewer than half of the requests are of these days."""
    total = sum(tally.requests_by_day.values())
    return 2 * sum(tally.requests_by_day[day] for day in days) < total


def make_token_notices(valid_until: datetime.datetime | None, now: datetime.datetime) -> list[Notice]:
    """Return a warning if the token ends soon."""
    if valid_until is None or valid_until - now > datetime.timedelta(days=_TOKEN_DAYS):
        return []
    text = f"the token is valid until {valid_until:%Y-%m-%d %H:%M} UTC; ask the central administrator for a new one"
    return [Notice(f"token:{valid_until}", text)]


def make_late_notices(late: Mapping[str, Sequence[datetime.date]]) -> list[Notice]:
    """Return a warning for each cause that has kept days from being sent for more than 24 hours."""
    return [
        Notice(f"late:{cause}", f"{format_list(days)} could not be sent for more than 24 hours: {cause}")
        for cause, days in late.items()
    ]


def make_gap_notices(days: Sequence[datetime.date]) -> list[Notice]:
    """Return a warning about days without a log."""
    if not days:
        return []
    text = (
        f"there is no log of {format_list(days)}. SeisComP writes none for a day without a request."
        f" If there was none: --no-requests {days[0]}"
    )
    return [Notice(f"gaps:{days[0]}", text)]


def make_undated_notices(undated: Iterable[Path], dated: Iterable[Path], named: Collection[str]) -> list[Notice]:
    """Return a warning about logs that are skipped since their names have no day, except the current one."""
    stems = tuple({f"{path.name.partition('.log.')[0]}.log." for path in dated})
    skipped = [str(path) for path in undated if str(path) in named or path.name.startswith(stems)]
    if not skipped:
        return []
    return [Notice(f"undated:{' '.join(skipped)}", f"skipped, since the name has no day: {format_list(skipped)}")]
