"""Numbers as people read them, with no-break spaces."""

import math

NO_BREAK = "\u00a0"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB")
# A change of clients is one only if it is larger than two standard errors of a difference.
CLEAR_CHANGE_OF_CLIENTS = 0.065
_LARGE_CHANGE = 10.0
_SMALLEST = 0.01
# 1.04 / sqrt(2048): a sketch has 2,048 registers.
RELATIVE_STANDARD_ERROR = 1.04 / math.sqrt(2048)


class Unit:
    """A unit of bytes for all numbers of a column or chart.

    Args:
        largest: the largest of the numbers.
        decimal: use powers of 1,000 instead of 1,024.
    """

    def __init__(self, largest: int, *, decimal: bool = False) -> None:
        units, factor = (_DECIMAL_UNITS, 1000) if decimal else (_UNITS, 1024)
        power = 0
        while power + 1 < len(units) and largest >= factor ** (power + 1):
            power += 1
        self.name = units[power]
        self.size = factor**power

    def format(self, value: int) -> str:
        """Return a number of bytes in this unit, without its name."""
        scaled = value / self.size
        return f"<{NO_BREAK}{_SMALLEST}" if 0 < scaled < _SMALLEST else format_three_digits(scaled)


def format_bytes(value: int, *, decimal: bool = False) -> str:
    """Return a number of bytes with its unit."""
    unit = Unit(value, decimal=decimal)
    return f"{unit.format(value)}{NO_BREAK}{unit.name}"


def format_count(value: int) -> str:
    """Return an integer with commas."""
    return f"{value:,}"


def count(number: int, one: str, several: str) -> str:
    """Return a number of things: `1 node` or `12 nodes`."""
    return f"{format_count(number)} {one if number == 1 else several}"


def format_three_digits(value: float) -> str:
    """Return a number with three digits, or all digits of its integral part: 1,781, 88.5 or 4.21."""
    if value == 0:
        return "0"
    # First, since rounding may add a digit: 9.999 is 10.0.
    rounded = value if value >= 1000 else float(f"{value:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(rounded)))}f}"


def round_clients(clients: int) -> int:
    """Return a number of clients, rounded to three digits if it is an estimate of more."""
    if clients < 1000:
        return clients
    return int(round(clients, 3 - len(str(clients))))


def format_clients(clients: int, standard_error: float) -> tuple[str, str]:
    """Return a number of clients and its standard error: `≈ 12,400` and `± 290`; an exact number has none."""
    if standard_error == 0:
        return format_count(clients), ""
    factor = 10 ** max(0, math.floor(math.log10(standard_error)) - 1)
    error = math.ceil(standard_error / factor) * factor
    return f"≈{NO_BREAK}{format_count(round_clients(clients))}", f"±{NO_BREAK}{format_count(error)}"


def format_share(part: int, whole: int) -> str:
    """Return a share in percent. Only all of it is 100 %, and only nothing is 0 %."""
    if whole == 0 or part == 0:
        return f"0{NO_BREAK}%"
    if part == whole:
        return f"100{NO_BREAK}%"
    percent = 100 * part / whole
    for digits in range(1 if percent > 99 or percent < 1 else 0, 4):
        text = f"{percent:.{digits}f}".removesuffix(".0")
        if float(text) not in (0, 100):
            return f"{text}{NO_BREAK}%"
    return f">{NO_BREAK}99.999{NO_BREAK}%" if percent > 50 else f"<{NO_BREAK}0.001{NO_BREAK}%"


def format_share_of(share: float | None) -> str:
    """Return a share from 0 to 1 in percent."""
    return format_share(round((share or 0) * 1_000_000), 1_000_000)


def format_change(change: float | None, *, smallest: float = 0.0) -> tuple[str, str]:
    """Return an arrow and a change in words: `▲` and `13 %`, or no arrow and `not comparable`.

    Args:
        change: the relative change; None if the periods are not comparable.
        smallest: the smallest change that is not by chance.
    """
    if change is None:
        return "", "not comparable"
    if abs(change) < smallest:
        return "", "no clear change"
    if change > _LARGE_CHANGE:
        return "▲", f"×{NO_BREAK}{change + 1:,.0f}"
    percent = abs(change) * 100
    text = f"{percent:,.0f}" if percent >= 1 or percent == 0 else f"{percent:.1f}"
    if text in ("0", "0.0"):
        return "", "no change"
    return ("▲" if change > 0 else "▼"), f"{text}{NO_BREAK}%"
