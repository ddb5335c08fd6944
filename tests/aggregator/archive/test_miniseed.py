"""Tests of reading the content of files."""

import gzip
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eida_statistics.archive.records import MseedRecord, decode_mseed, encode_record
from eida_stats_aggregator.archive import traces
from eida_stats_aggregator.archive.miniseed import read_content
from support.archives import make_log_record, make_mseed, write

NOISE = random.Random(1).randbytes(700)


def read(tmp_path: Path, content: bytes, name: str = "file") -> MseedRecord:
    path = write(tmp_path / name, content)
    record = read_content(str(path), len(content), lambda code, _: code)
    assert decode_mseed(encode_record(record)) == record
    if record.error is None:
        assert sum(one.bytes for one in record.segments) + record.bytes_unread == len(content)
    return record


@pytest.mark.parametrize(("version", "quality"), [(2, "D"), (3, "2")])
def test_segment_describes_its_records(tmp_path: Path, version: int, quality: str) -> None:
    content = make_mseed(samples=1200, version=version)
    (segment,) = read(tmp_path, content).segments
    assert segment.sid == "FDSN:GE_APE__L_H_Z"
    assert (segment.network, segment.station, segment.location, segment.channel) == ("GE", "APE", "", "LHZ")
    assert (segment.quality, segment.rate, segment.samples) == (quality, 1.0, 1200)
    assert segment.start == datetime(2015, 3, 1, tzinfo=UTC)
    assert segment.end == datetime(2015, 3, 1, 0, 19, 59, tzinfo=UTC)
    assert segment.records > 1
    assert segment.bytes == len(content)


def test_streams_of_one_file_add_up(tmp_path: Path) -> None:
    parts = [
        make_mseed(f"FDSN:GE_APE__L_H_{code}", length=length, version=version)
        for code, length, version in (("Z", 512, 2), ("N", 4096, 2), ("E", 512, 3))
    ]
    record = read(tmp_path, parts[0][:512] + parts[1] + parts[2] + parts[0][512:])
    assert [(one.channel, one.bytes) for one in record.segments] == [
        ("LHE", len(parts[2])),
        ("LHN", len(parts[1])),
        ("LHZ", len(parts[0])),
    ]


def test_records_of_equal_length_add_up(tmp_path: Path) -> None:
    first, second = make_mseed("FDSN:GE_APE__L_H_Z"), make_mseed("FDSN:GE_APE__L_H_N", samples=3000)
    record = read(tmp_path, second + first)
    assert [one.bytes for one in record.segments] == [len(second), len(first)]


def test_lengths_that_seem_equal_add_up(tmp_path: Path) -> None:
    """The first and the last record have the same length, and those between have others."""
    pieces = [
        make_mseed(start=f"2015-03-01T00:{minute:02d}:00Z", samples=60, length=length)
        for minute, length in enumerate((512, 256, 1024, 4096, 512))
    ]
    other = make_mseed("FDSN:GE_APE__L_H_N", length=512)
    record = read(tmp_path, b"".join(pieces) + other)
    assert [one.bytes for one in record.segments] == [len(other), 6400]


def test_gap_overlap_rates_and_qualities_are_apart(tmp_path: Path) -> None:
    content = b"".join(
        (
            make_mseed(),
            make_mseed(start="2015-03-01T01:00:00Z"),
            make_mseed(start="2015-03-01T00:10:00Z"),
            make_mseed(rate=2.0),
            make_mseed(quality=4),
        )
    )
    found = [(f"{one.start:%H:%M}", one.rate, one.quality) for one in read(tmp_path, content).segments]
    assert found == [
        ("00:00", 2.0, "D"),
        ("00:00", 1.0, "D"),
        ("00:00", 1.0, "M"),
        ("00:10", 1.0, "D"),
        ("01:00", 1.0, "D"),
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_noise_between_records_is_damage(tmp_path: Path, version: int) -> None:
    first, second = make_mseed(version=version), make_mseed(start="2015-03-01T01:00:00Z", version=version)
    record = read(tmp_path, first + NOISE + second)
    assert record.damaged
    assert record.bytes_unread == 700
    assert [one.bytes for one in record.segments] == [len(first), len(second)]


def test_damaged_record_leaves_the_others(tmp_path: Path) -> None:
    content = bytearray(make_mseed(version=3, samples=3000))
    content[len(content) // 2] ^= 0xFF  # its checksum is wrong now
    record = read(tmp_path, bytes(content))
    assert record.damaged
    assert len(record.segments) == 2
    assert record.bytes_unread > 0


@pytest.mark.parametrize("version", [2, 3])
def test_truncated_record_is_unread(tmp_path: Path, version: int) -> None:
    first, second = make_mseed(version=version), make_mseed(start="2015-03-01T00:20:00Z", version=version)
    record = read(tmp_path, first + second[:100])
    assert not record.damaged
    assert record.bytes_unread == 100
    assert [one.bytes for one in record.segments] == [len(first)]


def test_zeros_at_the_end_are_unread(tmp_path: Path) -> None:
    record = read(tmp_path, make_mseed() + bytes(4096))
    assert record.damaged
    assert record.bytes_unread == 4096


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"no miniSEED\n" * 100, "no miniSEED record was found"),
        (b"short", "no miniSEED record was found"),
        (NOISE * 10, "no miniSEED record was found"),
        (gzip.compress(make_mseed()), "the file is compressed"),
        (make_mseed()[:300], "no miniSEED record was found"),
    ],
)
def test_file_without_segment_has_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    record = read(tmp_path, content)
    assert record.error == reason
    assert record.segments == []


def test_logs_have_rate_0(tmp_path: Path) -> None:
    content = b"".join(make_log_record(b"text", f"2015-03-01T00:00:0{second}Z") for second in (1, 0, 0))
    found = read(tmp_path, content).segments
    assert [(one.rate, one.samples, one.start.second, one.bytes) for one in found] == [
        (0.0, 4, 0, 512),
        (0.0, 4, 0, 512),
        (0.0, 4, 1, 512),
    ]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("2262-04-11T20:00:00Z", "2262-04-11T20:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
    ],
)
def test_unusual_times_are_read(tmp_path: Path, start: str, expected: str, version: int) -> None:
    (segment,) = read(tmp_path, make_mseed(start=start, version=version)).segments
    assert segment.start.isoformat() == expected
    assert segment.end > segment.start


def test_leap_second_within_a_segment(tmp_path: Path) -> None:
    (segment,) = read(tmp_path, make_mseed(start="2016-12-31T23:50:00Z")).segments
    assert segment.end == datetime(2017, 1, 1, 0, 9, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sid", "codes"),
    [
        ("FDSN:NETWORK8_STATION8_LOCATIO8_B_H_Z", ("NETWORK8", "STATION8", "LOCATIO8", "BHZ")),
        ("FDSN:XX2015_STA_00_L_O_G", ("XX2015", "STA", "00", "LOG")),
        ("FDSN:GE_APE__BB_HHH_Z1", ("GE", "APE", "", "BB_HHH_Z1")),
        ("FDSN:GE_APE__B_H_", ("GE", "APE", "", "B_H_")),
        ("FDSN:GE_A-B_1-2_L_H_Z", ("GE", "A-B", "1-2", "LHZ")),
    ],
)
def test_long_source_identifier_has_codes(tmp_path: Path, sid: str, codes: tuple[str, ...]) -> None:
    (segment,) = read(tmp_path, make_mseed(sid, version=3)).segments
    assert segment.sid == sid
    assert (segment.network, segment.station, segment.location, segment.channel) == codes


@pytest.mark.parametrize("sid", ["XFDSN:GE_APE__L_H_Z", "FDSN:GE_APE__LHZ", "FDSN:GE_A PE__L_H_Z", "weather"])
def test_other_source_identifier_has_no_segment(tmp_path: Path, sid: str) -> None:
    other = make_mseed(sid, version=3)
    assert read(tmp_path, other).error == "its records have no valid stream, time or sample rate"
    record = read(tmp_path, make_mseed() + other)
    assert [one.station for one in record.segments] == ["APE"]
    assert record.bytes_unread == len(other)


def test_network_is_extended_at_the_first_day(tmp_path: Path) -> None:
    path = write(tmp_path / "file", make_mseed("FDSN:Z3_A__L_H_Z", "2015-12-31T23:59:00Z"))
    record = read_content(str(path), path.stat().st_size, lambda code, day: f"{code}{day:%Y%j}")
    assert record.segments[0].network == "Z32015365"
    with pytest.raises(ZeroDivisionError):
        read_content(str(path), path.stat().st_size, lambda _code, _day: str(1 // 0))


def test_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, make_mseed(), os.fsdecode(b"caf\xe9")).error is None


def test_file_that_grows_meanwhile(tmp_path: Path) -> None:
    content = make_mseed()
    path = write(tmp_path / "file", content)
    record = read_content(str(path), 512, lambda code, _: code)
    assert (record.segments[0].bytes, record.bytes_unread) == (len(content), 0)


def test_missing_file_cannot_be_read(tmp_path: Path) -> None:
    record = read_content(str(tmp_path / "missing"), 512, lambda code, _: code)
    assert record.error == "cannot be read: No such file or directory"


def test_garbled_files_never_raise(tmp_path: Path) -> None:
    for content in make_garbled_files():
        read(tmp_path, content)


def test_large_files_have_the_same_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libmseed reads them itself."""
    files = [
        *make_garbled_files(),
        make_mseed()[:300],
        make_mseed() + bytes(39),
        make_mseed() + NOISE + make_mseed(),
    ]
    # Without their blockette, the last record ends where the file does.
    files += [without_length(make_mseed()), without_length(make_mseed())[:-1]]
    records = [read(tmp_path, content) for content in files]
    monkeypatch.setattr(traces, "_BUFFER_BYTES", 0)
    assert [read(tmp_path, content) for content in files] == records


def without_length(content: bytes) -> bytes:
    """Return records of 512 bytes of miniSEED 2 without the blockette that has their length."""
    records = (bytearray(content[start : start + 512]) for start in range(0, len(content), 512))
    no_blockettes = bytes(2)
    return b"".join(one[:39] + bytes(1) + one[40:46] + no_blockettes + one[48:] for one in records)


def make_garbled_files() -> Iterator[bytes]:
    chance = random.Random(7)
    bases = [
        make_mseed(samples=2000),
        make_mseed(samples=2000, version=3),
        make_log_record(b"text", "2015-03-01T00:00:00Z") * 3,
    ]
    for _ in range(400):
        content = bytearray(chance.choice(bases))
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(len(content)) // chance.choice((1, 16))
            match chance.randrange(3):
                case 0:
                    content[place] = chance.choice((0, 255, chance.randrange(256)))
                case 1:
                    del content[place : place + chance.randrange(1, 200)]
                case 2:
                    content[place:place] = chance.randbytes(chance.randrange(1, 200))
        yield bytes(content)
