"""Subscribers in files: CSV (first line: field names) and JSON lines, read and written row by row.

What is wrong is told by file, line and column. Reading takes memory for one line; a file may hold a million.
"""

import csv
import io
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from redoubt.hss.provisioning_fields import ALL_FIELDS, json_of, subscriber_of
from redoubt.hss.subscriber import ProvisioningError, Subscriber
from redoubt.limits import HSS_IMPORT_LINE_OCTETS

Kind = Literal["csv", "jsonl"]
_AT_OCTET = re.compile(r"byte (\d+)")


class ImportRefused(ProvisioningError):
    """An import file's fault, by line and column (of CSV: the field's number; of JSON: the character's)."""

    def __init__(self, file: str, line: int, column: int, fault: ProvisioningError) -> None:
        super().__init__(fault.field, fault.why)
        self.line, self.column = line, column
        self.args = (f"{file}, line {line}, column {column}: {fault}",)


@dataclass(frozen=True, slots=True)
class CardFile:
    """Something that can be read from its beginning as often as needed."""

    name: str
    kind: Kind
    octets: int
    open: Callable[[], BinaryIO]

    @classmethod
    def at(cls, path: Path) -> "CardFile":
        """A file by its suffix. Raises ProvisioningError."""
        try:
            found = path.stat()
            path.open("rb").close()
        except OSError as fault:
            raise ProvisioningError("file", f"{path} can't be read: {fault.strerror}") from None
        if not stat.S_ISREG(found.st_mode):
            raise ProvisioningError("file", f"{path} is no regular file, and an import reads it twice; save it first")
        return cls(path.name, kind_of(path), found.st_size, lambda: path.open("rb"))

    @classmethod
    def holding(cls, name: str, kind: Kind, octets: bytes) -> "CardFile":
        """One in memory."""
        return cls(name, kind, len(octets), lambda: io.BytesIO(octets))


@dataclass(frozen=True, slots=True)
class Row:
    """A subscriber of a file. `position` is how many octets have been read, `column` tells where a field stands."""

    line: int
    column: Callable[[str], int]
    subscriber: Subscriber
    position: int

    def refused(self, file: str, fault: ProvisioningError) -> ImportRefused:
        """The fault, with its place in the file."""
        return ImportRefused(file, self.line, self.column(fault.field), fault)


def kind_of(path: Path) -> Kind:
    """By suffix: .csv, else JSON lines."""
    return "csv" if path.suffix.lower() == ".csv" else "jsonl"


def rows(file: CardFile) -> Iterator[Row]:
    """The subscribers in their order; raises ImportRefused at the first fault."""
    with file.open() as stream:
        records = _csv_records if file.kind == "csv" else _json_records
        for line, column, fields in records(_lines(stream, file.name), file.name):
            try:
                subscriber = subscriber_of(fields)
            except ProvisioningError as fault:
                raise ImportRefused(file.name, line, column(fault.field), fault) from None
            yield Row(line, column, subscriber, stream.tell())


def identities(subscriber: Subscriber) -> Iterator[tuple[str, str]]:
    """Field and value of all that must be unique."""
    for private in subscriber.privates:
        yield "impi", private.impi
    for one in subscriber.sets:
        for identity in one.identities:
            yield "impus", identity.impu or identity.wildcard


Record = tuple[int, Callable[[str], int], dict[str, Any]]
"""Line, where each field stands in it, the fields."""


def _lines(stream: BinaryIO, file: str) -> Iterator[str]:
    """Of bounded length and in UTF-8, a byte order mark at the beginning taken off."""
    number = 0
    while octets := stream.readline(HSS_IMPORT_LINE_OCTETS + 1):
        number += 1
        if len(octets) > HSS_IMPORT_LINE_OCTETS:
            fault = ProvisioningError("line", f"has more than {HSS_IMPORT_LINE_OCTETS} octets")
            raise ImportRefused(file, number, 1, fault)
        try:
            yield octets.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ImportRefused(file, number, 1, ProvisioningError("line", "is no UTF-8 text")) from None


def _csv_records(lines: Iterator[str], file: str) -> Iterator[Record]:
    reader = csv.reader(lines, strict=True)
    columns: dict[str, int] = {}

    def column_of(field: str) -> int:
        return columns.get(field, 1)

    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _header(cells, file, line)
                continue
            if len(cells) != len(columns):
                fault = ProvisioningError("line", f"has {len(cells)} fields, the first line has {len(columns)}")
                raise ImportRefused(file, line, min(len(cells), len(columns)) + 1, fault)
            yield line, column_of, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    except csv.Error as fault:
        raise ImportRefused(file, reader.line_num, 1, ProvisioningError("line", str(fault))) from None


def _header(cells: list[str], file: str, line: int) -> dict[str, int]:
    columns: dict[str, int] = {}
    for number, name in enumerate((cell.strip().lower() for cell in cells), 1):
        if name not in ALL_FIELDS:
            fault = ProvisioningError(name, f"no such field; there are {', '.join(ALL_FIELDS)}")
            raise ImportRefused(file, line, number, fault)
        if name in columns:
            raise ImportRefused(file, line, number, ProvisioningError(name, f"is column {columns[name]} already"))
        columns[name] = number
    return columns


def _json_records(lines: Iterator[str], file: str) -> Iterator[Record]:
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            fields = json_of(text, dict[str, Any])
        except msgspec.MsgspecError as fault:
            at = _AT_OCTET.search(str(fault))
            wrong = ProvisioningError("line", f"is no JSON object: {fault}")
            raise ImportRefused(file, line, int(at[1]) + 1 if at else 1, wrong) from None
        yield line, partial(_place, text), fields


def _place(text: str, field: str) -> int:
    return text.find(f'"{field}"') + 1 or 1


class Rows:
    """Writes a file of subscribers' fields; `octets_of` gives what a row is in it."""

    def __init__(self, kind: Kind, names: tuple[str, ...]) -> None:
        self._kind = kind
        self._names = names

    def header(self) -> str:
        return self._csv(self._names) if self._kind == "csv" else ""

    def row(self, fields: Mapping[str, Any]) -> str:
        """One line with its end."""
        if self._kind == "jsonl":
            return msgspec.json.encode(fields).decode() + "\n"
        return self._csv([_cell(fields.get(name, "")) for name in self._names])

    def _csv(self, cells: Any) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()


def _cell(value: Any) -> str:
    """Text as it is, lists of words or numbers with blanks between them, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, int | str) for item in value):
        words = [str(item) for item in value]
        if not any(" " in word for word in words):
            return " ".join(words)
    return msgspec.json.encode(value).decode()
