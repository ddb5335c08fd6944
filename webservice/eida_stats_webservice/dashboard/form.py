"""The form of the page."""

import datetime
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from eida_statistics.months import format_month
from eida_statistics.texts import find_similar
from eida_stats_webservice.dashboard.links import Link, change_view
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.reports import atlas
from eida_stats_webservice.reports.kinds import ReportKind
from eida_stats_webservice.reports.view import DEFAULT_TOP, MAX_TOP, View

_BY = (("month", "month"), ("year", "year"))
_COMPARE = (("year", "a year before"), ("previous", "the months before"), ("none", "nothing"))


class Option(msgspec.Struct, frozen=True):
    """A choice of a field, or a suggestion for it."""

    value: str
    label: str


class Field(msgspec.Struct, frozen=True):
    """A field of the form.

    Attributes:
        name: the parameter.
        label: the text above it.
        kind: `select`, or the type of an input.
        value: the text in it.
        options: the choices, or the suggestions.
        hint: the form of a value, where browsers have no special field.
        most: the largest number.
    """

    name: str
    label: str
    kind: str
    value: str
    options: Sequence[Option] = ()
    hint: str = ""
    most: int | None = None


class Names(msgspec.Struct, frozen=True):
    """The names that can be filled in: nodes, public networks, and countries by their codes."""

    nodes: list[str]
    networks: list[str]
    countries: dict[str, str]


class Form(msgspec.Struct, frozen=True):
    """The form of the page.

    Attributes:
        fields: the fields.
        hidden: parameters that are not filled in.
    """

    fields: list[Field]
    hidden: dict[str, str]


class Mistake(msgspec.Struct, frozen=True):
    """A value that cannot be used: the name of its field, a message, and links to similar values."""

    parameter: str
    message: str
    suggestions: list[Link]


def list_names(registry: RegistryRepository, countries: Iterable[str]) -> Names:
    """Return the names that can be filled in.

    Args:
        registry: the nodes and networks.
        countries: the codes of countries with statistics.
    """
    networks = {network.name for network in registry.list_networks() if not network.restricted}
    names = {code: atlas.name_country(code) for code in countries if code not in ("", OTHER)}
    return Names([name for name, _ in registry.list_policies()], sorted(networks), names)


def make_form(
    kind: ReportKind, values: Mapping[str, str], names: Names, view: View | None, mistake: Mistake | None = None
) -> Form:
    """Return the form.

    Args:
        kind: the kind of statistics.
        values: the parameters of the request.
        names: the names that can be filled in.
        view: the view, for its months; None if there is none.
        mistake: the value that cannot be used, if there is one.
    """
    wrong = None if mistake is None else mistake.parameter

    def get(name: str, default: str = "") -> str:
        return values.get(name, default)

    def make_month(name: str, label: str, month: datetime.date | None) -> Field:
        # Browsers take only whole months into their fields. A wrong value is shown as it is.
        value = get(name) if month is None else format_month(month)
        return Field(name, label, "text" if name == wrong else "month", value, hint="YYYY-MM")

    nodes = [Option(name, name) for name in names.nodes]
    shown = [(one.name, one.choice) for one in kind.shown.values()]
    fields = [
        make_month("start", "From", None if view is None else view.period.first),
        make_month("end", "To", None if view is None else view.period.last),
        Field("node", "Node", "select", get("node"), _add_value([Option("", "all"), *nodes], get("node"))),
        Field("network", "Network", "text", get("network"), [Option(name, name) for name in names.networks], "all"),
        Field("country", "Country", "text", get("country"), _list_countries(names), "all"),
        Field("show", "Show", "select", get("show"), _add_value(_make_options(shown), get("show"))),
        Field("by", "By", "select", get("by"), _add_value(_make_options(_BY), get("by"))),
        Field(
            "compare", "Compare with", "select", get("compare"), _add_value(_make_options(_COMPARE), get("compare"))
        ),
        Field("top", "Rows", "number", get("top", str(DEFAULT_TOP)), most=MAX_TOP),
    ]
    hidden = {name: values[name] for name in ("kind", "sort") if name in values and name != wrong}
    return Form(fields, hidden)


def _make_options(pairs: Sequence[tuple[str, str]]) -> list[Option]:
    return [Option(value, label) for value, label in pairs]


def _add_value(options: list[Option], value: str) -> list[Option]:
    """Return options that include a value, such as a list of several nodes."""
    known = value in ("", *(option.value for option in options))
    return options if known else [*options, Option(value, value.replace(",", ", "))]


def _list_countries(names: Names) -> list[Option]:
    return [Option(code, name) for code, name in sorted(names.countries.items(), key=lambda item: item[1])]


def make_mistake(error: BadParameter, values: Mapping[str, str], names: Names) -> Mistake:
    """Return the message on a value that cannot be used."""
    name = error.parameter or ""
    known = {"node": names.nodes, "network": names.networks, "country": [*names.countries]}.get(name, [])
    similar = find_similar(values.get(name, ""), known, names.countries if name == "country" else {})
    # Similar names are a better hint than the list of all names.
    is_unknown = bool(similar) and error.subject.startswith("No ")
    parts = [error.subject] if is_unknown else [error.subject, error.hint]
    message = ". ".join(part.rstrip(".") for part in parts if part)
    return Mistake(name, f"{message}.", [Link(change_view(values, **{name: one}), one) for one in similar])
