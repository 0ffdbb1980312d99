"""What requests and responses share (RFC 3261 clause 7): header lines by name, typed views on demand, the body.

Forwarding copies two tables and shares what they hold. A typed view is parsed when it is asked for, and remembered
until its header is changed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from redoubt.sip.fields import CSEQ, FROM, TO, Field
from redoubt.sip.grammar import malformed, split_list
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.cseq import CSeq
from redoubt.sip.lines import Headers, Lines, gathered, one_by_one
from redoubt.sip.names import canonical

T = TypeVar("T")


class Document(Protocol):
    """A body as a value."""

    def to_bytes(self) -> bytes: ...


class Message:
    """What requests and responses share. Header names are canonical, values unfolded and otherwise raw."""

    __slots__ = ("_body", "_document", "_lines", "_views")

    def __init__(self, headers: Iterable[tuple[str, str]] | Lines = (), body: bytes = b"") -> None:
        self._lines: Lines = headers if isinstance(headers, dict) else gathered(headers)
        self._views: dict[str, tuple[Any, ...]] = {}  # all values of a name, parsed
        self._body: bytes | None = body  # None: the document's octets, which nobody has asked for yet
        self._document: Document | None = None

    # ---- raw values

    @property
    def headers(self) -> Headers:
        """Every line; those of one name stand together."""
        return one_by_one(self._lines)

    def get(self, name: str) -> str | None:
        """The first line of that name."""
        known = self._lines.get(name)
        return None if known is None else known[0]

    def all(self, name: str) -> list[str]:
        """Every line of that name."""
        return list(self._lines.get(name, ()))

    def has(self, name: str) -> bool:
        """Whether there is a line of that name."""
        return name in self._lines

    def present(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these names the message has lines of."""
        return names.intersection(self._lines)

    def others(self, names: frozenset[str]) -> list[str]:
        """The names of lines that are not among these."""
        if names.issuperset(self._lines):
            return []
        return [name for name in self._lines if name not in names]

    def beside(self, names: frozenset[str]) -> list[str]:
        """Every line whose name is not among these."""
        return [line for name, lines in self._lines.items() if name not in names for line in lines]

    def set(self, name: str, value: str) -> None:
        """Replace the first line of that name and drop the others, or append."""
        name = canonical(name)
        self._lines[name] = (value,)
        self._views.pop(name, None)

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        name = canonical(name)
        self._lines[name] = (*self._lines.get(name, ()), value)
        self._views.pop(name, None)

    def extend(self, headers: Iterable[tuple[str, str]]) -> None:
        """Append lines."""
        for name, value in headers:
            self.add(name, value)

    def push(self, name: str, *values: str) -> None:
        """Insert before the first line of that name; else Via at the top, others after the Vias."""
        name = canonical(name)
        lines = self._lines
        if name in lines:
            lines[name] = values + lines[name]
            self._views.pop(name, None)
        elif not values:
            return
        elif name == "Via" or "Via" not in lines:
            self._lines = {name: values, **lines}
        else:
            self._lines = {"Via": lines["Via"], name: values, **lines}

    def replace(self, name: str, values: Iterable[str]) -> None:
        """Exactly these lines of that name, where `push` would put them: their place says nothing of what was there."""
        lines = tuple(values)
        if lines and name == "Via" == next(iter(self._lines), None):
            self._lines[name] = lines
            self._views.pop(name, None)
        else:
            self.remove(name)
            self.push(name, *lines)

    def remove(self, name: str) -> None:
        """Drop every line of that name."""
        if self._lines.pop(name, None) is not None:
            self._views.pop(name, None)

    # ---- typed views

    def first(self, field: Field[T]) -> T | None:
        """The first value; None if the header is absent; SipError 400 if it is malformed."""
        name = field.name
        known: tuple[T, ...] | None = self._views.get(name)
        if known is not None:
            return known[0]
        lines = self._lines.get(name)
        if lines is None:
            return None
        text = lines[0]
        if field.listed and "," in text:
            return field.parse(split_list(text)[0])  # what follows may be malformed, and nobody asked for it
        value = field.parse(text)
        if len(lines) == 1:
            self._views[name] = (value,)
        return value

    def need(self, field: Field[T]) -> T:
        """The first value, which the message must have."""
        value = self.first(field)
        if value is None:
            raise malformed(f"{field.name} is missing", "RFC 3261 8.1.1")
        return value

    def every(self, field: Field[T]) -> tuple[T, ...]:
        """All values, over all lines and commas."""
        name = field.name
        known: tuple[T, ...] | None = self._views.get(name)
        if known is None:
            lines = self._lines.get(name)
            if lines is None:
                return ()
            known = self._views[name] = field.values(lines)
        return known

    def read(self, fields: Mapping[str, Field[Any]]) -> None:
        """Parse and remember every header that has a field here, in one pass; SipError 400 at a bad one."""
        views = self._views
        for name, lines in self._lines.items():
            if name in views or (field := fields.get(name)) is None:
                continue
            if len(lines) == 1 and not (field.listed and "," in lines[0]):
                views[name] = (field.parse(lines[0]),)
            else:
                views[name] = field.values(lines)

    def put(self, field: Field[T], *values: T) -> None:
        """Replace all values of the header; without values, remove it."""
        if values:
            self._lines[field.name] = tuple([str(value) for value in values])
            self._views[field.name] = values
        else:
            self.remove(field.name)

    def pop_first(self, field: Field[T]) -> T | None:
        """Remove and return the first value, whether it has a line of its own or starts a comma list."""
        value = self.first(field)
        if value is None:
            return None
        name = field.name
        line, *lines = self._lines[name]
        if field.listed and "," in line and (rest := split_list(line)[1:]):
            lines.insert(0, ", ".join(rest))
        known = self._views.pop(name, ())
        if lines:
            self._lines[name] = tuple(lines)
            if len(known) > 1:
                self._views[name] = known[1:]
        else:
            del self._lines[name]
        return value

    # ---- the body

    @property
    def body(self) -> bytes:
        """The octets."""
        if self._body is None:
            self._body = b"" if self._document is None else self._document.to_bytes()
        return self._body

    @body.setter
    def body(self, octets: bytes) -> None:
        self._body, self._document = octets, None

    def carry(self, document: Document) -> None:
        """Makes this the body. Within the process it is handed on as it is; a wire gets its octets."""
        self._body, self._document = None, document

    def document(self, kind: type[T]) -> T | None:
        """What `carry` was given, if that is of this kind."""
        return self._document if isinstance(self._document, kind) else None

    # ---- shorter

    @property
    def call_id(self) -> str:
        """Raw: compared octet by octet (RFC 3261 20.8)."""
        known = self._lines.get("Call-ID")
        return "" if known is None else known[0]

    @property
    def cseq(self) -> CSeq:
        """CSeq, which parsing has checked."""
        known = self._views.get("CSeq")
        return self.need(CSEQ) if known is None else known[0]

    @property
    def from_(self) -> NameAddr:
        """From."""
        known = self._views.get("From")
        return self.need(FROM) if known is None else known[0]

    @property
    def to(self) -> NameAddr:
        """To."""
        known = self._views.get("To")
        return self.need(TO) if known is None else known[0]

    # ---- inside

    def _copy_into(self, other: "Message") -> None:
        other._lines = self._lines.copy()
        other._views = self._views.copy()
        other._body = self._body
        other._document = self._document

    def _octets(self, start: str) -> bytes:
        lines = [f"{name}: {value}" for name, values in self._lines.items() for value in values]
        lines = [start, *lines, f"Content-Length: {len(self.body)}", "", ""]
        content = "".join(lines)
        if "\r" in content or "\n" in content:
            raise ValueError("a header value that this process made has a line end in it")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body
