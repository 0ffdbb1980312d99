"""Messages out of a stream (RFC 3261 18.3, RFC 5626 3.5.1): Content-Length alone says where one ends.

A stream whose framing is in doubt is not read further: whoever guesses differently from the next node
lets a second message be smuggled inside the first (requirement row 93). A message that is malformed within good
framing costs itself only.
"""

from redoubt import limits
from redoubt.sip.errors import SipError
from redoubt.sip.grammar import malformed
from redoubt.sip.lines import length_despite
from redoubt.sip.message import MalformedMessage, Request, Response, answerable, read_message_head

END_OF_HEAD = b"\r\n\r\n"


class Ping:
    """The double CRLF that a client keeps its flow alive with; a single CRLF is the answer owed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<ping>"


PING = Ping()
Item = Request | Response | Ping | MalformedMessage
PONG = b"\r\n"


class BrokenStream(MalformedMessage):
    """The stream can't be followed: answer, then close. `before` are the good messages of the same octets."""

    def __init__(self, fault: SipError, response_to: Request | None) -> None:
        super().__init__(fault, response_to)
        self.before: list[Item] = []


class StreamFramer:
    """Cuts one connection's octets into messages. Nothing is searched twice, nothing grows past its bound."""

    __slots__ = ("_at", "_broken", "_buffer", "_head", "_length", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # what stands before is read, and leaves the buffer once all that came is
        self._searched = 0
        self._head: Request | Response | MalformedMessage | None = None
        self._length = 0
        self._broken = False

    def feed(self, octets: bytes) -> list[Item]:
        """The messages that these octets complete, and the faults of those that can't be taken.

        Raises BrokenStream; after that, feeds nothing.
        """
        found: list[Item] = []
        if self._broken:
            return found
        self._buffer += octets
        try:
            while (item := self._next()) is not None:
                found.append(item)
        except BrokenStream as broken:
            self._broken = True
            self._buffer.clear()
            broken.before = found
            raise
        del self._buffer[: self._at]
        self._searched = max(0, self._searched - self._at)
        self._at = 0
        return found

    @property
    def is_idle(self) -> bool:
        """Whether no message has begun, so that a slow sender can be told from a silent one."""
        return self._head is None and not self._buffer

    def _next(self) -> Item | None:
        buffer, message = self._buffer, self._head
        if message is None:
            if buffer.startswith(PONG, self._at):
                blank = self._skip_blank_lines()
                if blank is not None:
                    return blank
            message = self._read_head()
            if message is None:
                return None
        begin, end = self._at, self._at + self._length
        if len(buffer) < end:
            self._head = message
            return None
        if not isinstance(message, MalformedMessage):
            message.body = bytes(buffer[begin:end])
        self._head, self._at = None, end
        return message

    def _skip_blank_lines(self) -> Ping | None:
        """CRLFs before a message (RFC 3261 7.5): two are a ping, one is a pong or padding.

        A ping that is cut between its CRLFs looks like padding first, so one lone CRLF waits for more.
        """
        buffer = self._buffer
        while buffer.startswith(PONG, self._at):
            if buffer.startswith(END_OF_HEAD, self._at):
                self._at += 4
                return PING
            if bytes(buffer[self._at + 2 : self._at + 4]) in (b"", b"\r"):
                return None
            self._at += 2
        return None

    def _read_head(self) -> Request | Response | MalformedMessage | None:
        """The next message without its body, the length of which is noted."""
        end = self._buffer.find(END_OF_HEAD, max(self._at, self._searched - 3))
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched - self._at > limits.SIP_HEADER_SECTION_OCTETS:
                fault = SipError(513, "the header section is too long", "limits.SIP_HEADER_SECTION_OCTETS")
                raise BrokenStream(fault, answerable(bytes(self._buffer[self._at :])))
            return None
        message, self._length = _read(bytes(self._buffer[self._at : end]))
        self._at = self._searched = end + 4
        return message


def _read(head: bytes) -> tuple[Request | Response | MalformedMessage, int]:
    """A message or its fault, and the length of the body that follows. Raises BrokenStream when that is in doubt."""
    message: Request | Response | MalformedMessage
    try:
        message, length = read_message_head(head)
    except SipError as fault:
        message, length = MalformedMessage(fault, answerable(head)), length_despite(head)
        if length is None:
            raise BrokenStream(fault, message.response_to) from fault
    if length is None:
        raise BrokenStream(malformed("a message on a stream has no Content-Length", "RFC 3261 18.3"), answerable(head))
    if length > limits.SIP_BODY_OCTETS:
        raise BrokenStream(SipError(413, "the body is too long", "limits.SIP_BODY_OCTETS"), answerable(head))
    return message, length
