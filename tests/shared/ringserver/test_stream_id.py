"""The ids of streams."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.ringserver.stream_id import StreamCodes, parse
from eida_statistics.wire_records import CODES
from support.paths import ROOT

REAL_LOGS = ROOT.parent / "shared/data/ringserver"


@pytest.mark.parametrize(
    ("stream_id", "codes"),
    [
        ("FR_SURF_00_HHZ/MSEED", ("FR", "SURF", "00", "HHZ")),
        ("FDSN:FR_SURF_00_H_H_Z/MSEED", ("FR", "SURF", "00", "HHZ")),
        ("FDSN:FR_VTRI_00_H_H_Z/MSEED3", ("FR", "VTRI", "00", "HHZ")),
        ("FDSN:FR_SURF_00_L_H_Z/MSEED/1SEC", ("FR", "SURF", "00", "LHZ")),
        # no location
        ("FDSN:FR_OGAG__B_H_Z/MSEED", ("FR", "OGAG", "", "BHZ")),
        ("FR_OGAG__BHZ/MSEED", ("FR", "OGAG", "", "BHZ")),
        ("FR_OGAG_--_BHZ/MSEED", ("FR", "OGAG", "", "BHZ")),
        # extended networks, long codes, hyphens
        ("FDSN:3K2024_ST-1_00_H_H_Z/MSEED3", ("3K2024", "ST-1", "00", "HHZ")),
        (
            "FDSN:ZZLONG24_STATIONX_LOCATION_HH_SRC_SUB/MSEED3/LLLLLLLLLLL",
            ("ZZLONG24", "STATIONX", "LOCATION", "HH_SRC_SUB"),
        ),
        # band and subsource may be empty
        ("FDSN:XX_ABC__H_H_/MSEED3", ("XX", "ABC", "", "H_H_")),
        ("FDSN:XX_ABC___SRC_/MSEED3", ("XX", "ABC", "", "_SRC_")),
        ("FDSN:XX_ABC__HHHHHH_SSSS_ZZZZ/MSEED", ("XX", "ABC", "", "HHHHHH_SSSS_ZZZZ")),
    ],
)
def test_seismic_stream_is_parsed(stream_id: str, codes: tuple[str, ...]) -> None:
    assert parse(stream_id) == StreamCodes(*codes)


@pytest.mark.parametrize(
    "stream_id",
    [
        "",
        "soh-log_no.slash",
        "FDSN:FR_VTRI_00_V_E_C/JSON",
        "FR_SURF_00_HHZ",
        "FR_SURF_00_HHZ/MSEED33",
        "FR_SURF_00_HHZ/mseed",
        "FR_SURF_00_HHZ/MSEED\n",
        "FDSN:FR_SURF/MSEED",
        "FR_SURF_00_/MSEED",
        "_SURF_00_HHZ/MSEED",
        "FR__00_HHZ/MSEED",
        "FDSN:FR_SURF_00_H_H/MSEED",
        "FDSN:FR_SURF_00_H_H_Z_Z/MSEED",
        "FDSN:FR_SURF_00_H__Z/MSEED",
        "FR_SÜRF_00_HHZ/MSEED",
        "FR_SU RF_00_HHZ/MSEED",
        "NETWORKXX_SURF_00_HHZ/MSEED",
        "FR_STATIONXX_00_HHZ/MSEED",
        "FDSN:XX_ABC__HHHHHH_SSSS_ZZZZZ/MSEED",
        "XFDSN:FR_SURF_00_H_H_Z/MSEED",
    ],
)
def test_other_stream_is_none(stream_id: str) -> None:
    assert parse(stream_id) is None


code = st.text("AZ09az-_ é", max_size=9)


@given(st.text() | st.builds("FDSN:{}_{}_{}_{}/MSEED".format, code, code, code, st.text("AZ09-_", max_size=18)))
def test_codes_fit_payloads(stream_id: str) -> None:
    parsed = parse(stream_id)
    if parsed is not None:
        for field, value in parsed._asdict().items():
            msgspec.convert(value, CODES[field])


def test_real_streams_are_recognised() -> None:
    if not REAL_LOGS.exists():
        pytest.skip("the logs of a real ringserver are not there")
    text = "".join(path.read_text("latin-1") for path in sorted((REAL_LOGS / "text-4.5.3").iterdir()))
    ids = set(re.findall(r"^(\S+) \d+ \d+$", text, re.MULTILINE))
    assert len(ids) == 19
    assert {one for one in ids if parse(one) is None} == {"FDSN:FR_VTRI_00_V_E_C/JSON", "soh-log_no.slash"}
