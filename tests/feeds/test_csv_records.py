"""Records of CSV files, broken ones above all."""

import gzip
import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.csv_records import (
    LINE_BYTES_MAX,
    RECORD_BYTES_MAX,
    CsvRecord,
    open_decompressed,
    read_records,
)
from app.feeds.staging import RejectedLine
from tests.hostile import MIB, measured_memory

LONG = "x" * LINE_BYTES_MAX


def records(content: bytes) -> list[CsvRecord | RejectedLine]:
    return list(read_records(open_decompressed(io.BufferedReader(io.BytesIO(content)))))


def parse(content: bytes) -> list[tuple[int, str | list[str]]]:
    return [
        (each.line, each.cells if isinstance(each, CsvRecord) else each.reason)
        for each in records(content)
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_are_cut_at_their_commas(end: bytes) -> None:
    content = end.join([b"a,b", b"1,", b"", b" 2 ,\xc3\xa9", b'"3,""4""",5'])
    assert parse(content) == [
        (1, ["a", "b"]),
        (2, ["1", ""]),
        (4, [" 2 ", "é"]),
        (5, ['3,"4"', "5"]),
    ]


def test_a_long_cell_may_be_quoted() -> None:
    cell = "x" * (LINE_BYTES_MAX // 2)
    assert parse(f'a,b\n1,"{cell}"\n2,{cell}\n'.encode())[1:] == [
        (2, ["1", cell]),
        (3, ["2", cell]),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_cell() -> None:
    assert parse(b"\xef\xbb\xbfa,b\n") == [(1, ["a", "b"])]


def test_a_record_over_several_lines_counts_from_its_first() -> None:
    content = b'a,b\n1,"x\ny\r\nz"\n2,w\n'
    assert parse(content)[1:] == [(2, ["1", "x\ny\r\nz"]), (5, ["2", "w"])]


def test_an_open_quote_spoils_its_own_line_only() -> None:
    found = parse(b'a,b\n1,"x\n2,y\n3,z\n')
    assert found[1] == (2, "is no CSV: unexpected end of data")
    assert found[2:] == [(3, ["2", "y"]), (4, ["3", "z"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,\xff", "is not UTF-8"),
        (b"1,a\0b", "holds a NUL"),
        (b'1,"a"b', "is no CSV: ',' expected after '\"'"),
        (b"1," + LONG.encode(), "is longer than 1,048,576 bytes"),
        (b'1,"' + LONG.encode() + b'"', "is longer than 1,048,576 bytes"),
    ],
)
def test_a_line_that_is_no_record_is_told_and_passed_over(line: bytes, reason: str) -> None:
    found = parse(b"a,b\n" + line + b"\n2,y\n")
    assert found == [(1, ["a", "b"]), (2, reason), (3, ["2", "y"])]


def test_lines_may_end_in_any_of_the_three_ways_in_one_file() -> None:
    content = b'a,b\n1,x\r2,y\r\n\r3,"z\r"\r\r\n4,\r5,v\n6,u'
    assert parse(content) == [
        (1, ["a", "b"]),
        (2, ["1", "x"]),
        (3, ["2", "y"]),
        (5, ["3", "z\r"]),
        (8, ["4", ""]),
        (9, ["5", "v"]),
        (10, ["6", "u"]),
    ]


def test_a_line_longer_than_a_read_ends_at_a_carriage_return_too() -> None:
    for length in range(LINE_BYTES_MAX - 3, LINE_BYTES_MAX + 3):
        line = b"x" * length
        found = parse(b"a,b\r1,y\r" + line + b"\r2,z\r")
        long = ["x" * length] if length < LINE_BYTES_MAX else "is longer than 1,048,576 bytes"
        assert found == [(1, ["a", "b"]), (2, ["1", "y"]), (3, long), (4, ["2", "z"])]


def test_gzip_is_known_by_its_first_bytes() -> None:
    assert parse(gzip.compress(b"a,b\n1,2\n")) == [(1, ["a", "b"]), (2, ["1", "2"])]


def test_a_compressed_file_that_breaks_off_gives_whole_lines_only() -> None:
    lines = [b"%d,ann%d@example.com" % (number, number * 7919) for number in range(20_000)]
    whole = gzip.compress(b"\n".join(lines))
    *read, last = parse(whole[: len(whole) * 2 // 3])
    assert len(read) > 1000
    assert all(
        cells == line.decode().split(",")
        for (_, cells), line in zip(read, lines[: len(read)], strict=True)
    )
    assert last[0] == len(read) + 1
    assert "the compressed file is broken from here on" in last[1]


class Endless(io.RawIOBase):
    """A file that repeats itself until it has given ``left`` bytes."""

    def __init__(self, piece: bytes, left: int) -> None:
        self._piece = piece * (8192 // len(piece))
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(self._piece), self._left)
        assert count <= len(buffer)
        buffer[:count] = self._piece[:count]
        self._left -= count
        return count


@pytest.mark.parametrize("piece", [b"x", b",", b'"', b'"x","x"'])
def test_a_line_without_an_end_is_read_in_little_memory(piece: bytes) -> None:
    file = io.BufferedReader(Endless(piece, 256 * MIB))
    with measured_memory() as memory:
        found = list(read_records(open_decompressed(file)))
    assert found == [RejectedLine(1, "is longer than 1,048,576 bytes")]
    assert memory.peak < 16 * MIB


def test_a_record_whose_quotes_never_close_for_long_is_read_in_little_memory() -> None:
    file = io.BufferedReader(Endless(b'"x\n",', 256 * MIB))
    with measured_memory() as memory:
        first = next(read_records(open_decompressed(file)))
    assert first == RejectedLine(1, "is no CSV: longer than 1,048,576 bytes")
    assert memory.peak < 96 * MIB


def test_a_compressed_file_that_blows_up_a_thousandfold_takes_little_memory() -> None:
    content = gzip.compress(b"a,b\n" + b"x" * 64 * MIB + b"\n1,2\n", 1)
    with measured_memory() as memory:
        found = parse(content)
    assert found == [(1, ["a", "b"]), (2, "is longer than 1,048,576 bytes"), (3, ["1", "2"])]
    assert memory.peak < 16 * MIB


def test_a_record_over_many_lines_is_taken_up_to_a_bound() -> None:
    cell = b'"' + b"x" * 1000 + b'\n",'
    longest = cell * (RECORD_BYTES_MAX // len(cell) - 1) + b"\n"
    (record,) = records(longest)
    assert isinstance(record, CsvRecord)
    assert len(record.cells) == len(longest) // len(cell) + 1
    first, *_ = records(cell + longest * 2)
    assert first != record
    found = records(cell * (RECORD_BYTES_MAX // len(cell) + 2) + b"\n")
    assert found[0] == RejectedLine(1, "is no CSV: longer than 1,048,576 bytes")


def test_an_empty_file_has_no_records() -> None:
    assert parse(b"") == parse(b"\n\r\n\n") == []


@given(st.binary(max_size=300).map(lambda noise: noise.replace(b"\x1f\x8b", b"")))
def test_whatever_the_bytes_every_line_is_reported_once_and_in_order(noise: bytes) -> None:
    lines = [each.line for each in records(noise)]
    assert all(earlier < later for earlier, later in pairwise(lines))
    assert all(1 <= line <= noise.count(b"\n") + noise.count(b"\r") + 1 for line in lines)


HEADED = [(1, ["a", "b"]), (2, ["1", "x, y"]), (3, ["2", ""])]


@pytest.mark.parametrize("delimiter", [b";", b"\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_header_says_what_separates_cells_and_lines(
    delimiter: bytes, end: bytes, mark: bytes
) -> None:
    lines = [delimiter.join(cells) for cells in ((b"a", b"b"), (b"1", b"x, y"), (b"2", b""))]
    content = mark + end.join(lines) + end
    assert parse(content) == HEADED
    assert parse(gzip.compress(content)) == HEADED


def test_commas_with_carriage_returns_keep_quotes_and_other_letters() -> None:
    content = 'a,b\r1,"x, y"\r\r"é\r""",ü'.encode()
    assert parse(content) == [(1, ["a", "b"]), (2, ["1", "x, y"]), (4, ['é\r"', "ü"])]


@pytest.mark.parametrize("before", [b"", b"\n\r\n", b";;\n", b"  \r"])
def test_the_header_is_the_first_line_with_a_word(before: bytes) -> None:
    *_, header, row = parse(before + b"a;b\n1;x, y\n")
    assert (header[1], row[1]) == (["a", "b"], ["1", "x, y"])
