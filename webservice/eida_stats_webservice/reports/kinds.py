"""The kinds of reports: what each counts, and how its pages name that. Another kind needs one more record here."""

from collections.abc import Mapping

import msgspec

from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.reports.numbers import count
from eida_stats_webservice.ringserver.cube import RINGSERVER

DEFAULT = Kind.DATASELECT


class Measure(msgspec.Struct, frozen=True):
    """A number that pages show.

    Attributes:
        name: its name as a value of the parameter `show`.
        column: its column in reports and in public answers.
        label: its name as a heading.
        choice: its name in the form, and within sentences.
        head: the head of its column in tables; bytes have their unit there.
        most: the property of the rows with the largest numbers.
        one, several: what one of it is, and several.
    """

    name: str
    column: str
    label: str
    choice: str
    head: str
    most: str = ""
    one: str = ""
    several: str = ""

    def describe(self, value: int) -> str:
        """Return a number in words: `1 packet` or `12 packets`."""
        return count(value, self.one, self.several)


CLIENTS = Measure("clients", "clients", "Distinct clients", "clients", "Clients", "the most clients")


class ReportKind(msgspec.Struct, frozen=True):
    """A kind of statistics, in the words of its pages.

    Attributes:
        name: the kind of payloads from which the statistics come.
        cube: the source of the figures.
        title: its name where one chooses a kind.
        subject: its statistics, as in `no statistics of streaming`.
        action: what was done with the data, as in `Data streamed in 2024`.
        size: the bytes.
        count: a further sum, such as packets.
        failed: the requests without data; None if there are none of this kind.
        no_network: the sums that belong to no network.
        reading: sentences on how to read a report of this kind.
    """

    name: Kind
    cube: Cube
    title: str
    subject: str
    action: str
    size: Measure
    count: Measure
    failed: Measure | None
    no_network: str
    reading: tuple[str, ...]

    @property
    def shown(self) -> Mapping[str, Measure]:
        """The measures of charts, maps and the order of tables, by the value of the parameter `show`."""
        return {one.name: one for one in (self.size, self.count, CLIENTS)}

    @property
    def sums(self) -> tuple[str, ...]:
        """The columns that add up, in their order."""
        failed = () if self.failed is None else (self.failed.column,)
        return (self.size.column, self.count.column, *failed)

    @property
    def sorted_columns(self) -> tuple[str, ...]:
        """The columns by which tables can be sorted; `name` is the first one."""
        return ("name", *self.sums, CLIENTS.column, "days_received")

    @property
    def choices(self) -> dict[str, str]:
        """The values of the choices of the cube: the defaults, such as the direction TX."""
        return {choice.name: choice.values[0] for choice in self.cube.choices}

    @property
    def prefix(self) -> str:
        """The beginning of the names of files, so that those of two kinds differ; empty for the default kind."""
        return "" if self.name is DEFAULT else f"{self.name}-"


_DATASELECT = ReportKind(
    name=Kind.DATASELECT,
    cube=DATASELECT,
    title="Requests (dataselect)",
    subject="requests",
    action="delivered on request",
    size=Measure("bytes", "bytes", "Data delivered", "data", "", "most data"),
    count=Measure(
        name="requests",
        column="nb_successful_reqs",
        label="Streams delivered",
        choice="requests",
        head="Streams",
        most="the most streams",
        one="stream delivered",
        several="streams delivered",
    ),
    failed=Measure(
        name="failed",
        column="nb_unsuccessful_reqs",
        label="Requests without data",
        choice="requests without data",
        head="Without data",
        one="request without data",
        several="requests without data",
    ),
    no_network="requests without data",
    reading=(
        "These are data that clients requested from the dataselect services of the nodes. What ringservers streamed"
        " in real time is not part of it, and has reports of its own.",
        "A stream that was delivered counts once. A request that failed as a whole counts once, too, as a request"
        " without data; most of these just found nothing. The two cannot be added up: there is no success rate.",
    ),
)

_RINGSERVER = ReportKind(
    name=Kind.RINGSERVER,
    cube=RINGSERVER,
    title="Streaming (ringserver)",
    subject="streaming",
    action="streamed in real time",
    size=Measure("bytes", "bytes", "Data streamed", "data", "", "most data"),
    count=Measure(
        name="packets",
        column="packets",
        label="Packets streamed",
        choice="packets",
        head="Packets",
        most="the most packets",
        one="packet",
        several="packets",
    ),
    failed=None,
    no_network="no network code",
    reading=(
        "These are data that the ringservers of the nodes sent to clients in real time. What clients requested from"
        " dataselect services is not part of it, and has reports of its own.",
        "A packet is usually one record of miniSEED. A packet that was sent to several clients counts for each of"
        " them.",
        "A ringserver logs what it sent when a connection ends, and otherwise after some time, an hour to a day."
        " All of that counts on the day (UTC) in its middle. A day counts as received once a part of it is there,"
        " and grows when later logs are read. Data of the present day count as soon as they are stored.",
        "The countries of clients are known only from nodes that look them up.",
    ),
)

KINDS = {kind.name: kind for kind in (_DATASELECT, _RINGSERVER)}
