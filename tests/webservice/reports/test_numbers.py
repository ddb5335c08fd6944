"""Numbers as pages show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.reports import numbers
from eida_stats_webservice.reports.numbers import NO_BREAK, Unit

TIB = 1 << 40


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0, "0"), (1781.2, "1,781"), (88.46, "88.5"), (4.213, "4.21"), (0.5, "0.500"), (0.0123, "0.0123")),
        *((9.999, "10.0"), (99.96, "100"), (999.6, "1,000"), (100, "100"), (0.9999, "1.00")),
    ],
)
def test_numbers_have_three_digits(value: float, expected: str) -> None:
    assert numbers.format_three_digits(value) == expected


@given(st.floats(1e-6, 1e9))
def test_three_digits_are_close_to_the_number(value: float) -> None:
    text = numbers.format_three_digits(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0051)
    assert value >= 999.5 or len(text.replace(".", "").lstrip("0")) == 3


def test_bytes_have_binary_and_decimal_units() -> None:
    size = 1781 * TIB
    assert numbers.format_bytes(size) == f"1,781{NO_BREAK}TiB"
    assert numbers.format_bytes(size, decimal=True) == f"1,958{NO_BREAK}TB"
    assert numbers.format_bytes(0) == f"0{NO_BREAK}B"
    assert [Unit(5 * TIB).format(value) for value in (5 * TIB, TIB // 2, 0)] == ["5.00", "0.500", "0"]


@pytest.mark.parametrize(
    ("clients", "error", "expected"),
    [
        (160, 0.0, ("160", "")),
        (12_421, 285.6, (f"≈{NO_BREAK}12,400", f"±{NO_BREAK}290")),
        (161, 3.7, (f"≈{NO_BREAK}161", f"±{NO_BREAK}4")),
        (1_234_567, 28_371.0, (f"≈{NO_BREAK}1,230,000", f"±{NO_BREAK}29,000")),
    ],
)
def test_clients_have_their_standard_error(clients: int, error: float, expected: tuple[str, str]) -> None:
    assert numbers.format_clients(clients, error) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        *((0, 0, "0"), (0, 5, "0"), (5, 5, "100"), (1, 2, "50"), (365, 366, "99.7"), (9999, 10_000, "99.99")),
        *((1, 366, "0.3"), (1, 10**9, "<\u00a00.001"), (10**9 - 1, 10**9, ">\u00a099.999")),
    ],
)
def test_only_everything_is_100_percent(part: int, whole: int, expected: str) -> None:
    assert numbers.format_share(part, whole) == f"{expected}{NO_BREAK}%"


@pytest.mark.parametrize(
    ("change", "smallest", "expected"),
    [
        *((0.13, 0, ("▲", f"13{NO_BREAK}%")), (-0.004, 0, ("▼", f"0.4{NO_BREAK}%")), (0.0, 0, ("", "no change"))),
        *(
            (None, 0, ("", "not comparable")),
            (11.0, 0, ("▲", f"×{NO_BREAK}12")),
            (10.0, 0, ("▲", f"1,000{NO_BREAK}%")),
        ),
        *((0.06, 0.065, ("", "no clear change")), (-0.07, 0.065, ("▼", f"7{NO_BREAK}%"))),
    ],
)
def test_changes_have_an_arrow_or_words(change: float | None, smallest: float, expected: tuple[str, str]) -> None:
    assert numbers.format_change(change, smallest=smallest) == expected
