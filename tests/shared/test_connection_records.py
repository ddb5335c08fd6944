"""Records of connections, on the wire."""

import pytest

from eida_statistics.connections import decode_records
from eida_statistics.errors import InvalidRecords


@pytest.mark.parametrize(
    "body",
    [b'{"event":"alive","instance":5,"more":"\xff"}', b'{"event":"alive","instance":5,"more":[1}'],
    ids=["not UTF-8", "not JSON"],
)
def test_second_fault_is_no_crash(body: bytes) -> None:
    with pytest.raises(InvalidRecords, match="line 2: not JSON"):
        decode_records(b"\n" + body)
