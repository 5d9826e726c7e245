"""CRC-32C as S3 writes it."""

from hypothesis import given
from hypothesis import strategies as st

from app.checksums import Crc32c

PART_BYTES = 5 * 1024 * 1024


def test_the_check_value_of_the_algorithm_is_that_of_the_catalogue() -> None:
    assert Crc32c.of(b"123456789").value == 0xE3069283


def test_it_is_written_as_s3_and_gcs_do() -> None:
    assert str(Crc32c.of(b"123456789")) == "4waSgw=="
    assert Crc32c().label == "crc32c:AAAAAA=="


@given(st.lists(st.binary()))
def test_that_of_the_whole_is_combined_from_its_parts(parts: list[bytes]) -> None:
    combined = Crc32c()
    for part in parts:
        combined = combined.followed_by(Crc32c.of(part), len(part))
    assert combined == Crc32c.of(b"".join(parts))


def test_parts_of_the_usual_length_are_combined() -> None:
    part = bytes(range(256)) * (PART_BYTES // 256)
    combined = Crc32c.of(part).followed_by(Crc32c.of(part), len(part))
    assert combined == Crc32c.of(part * 2)
