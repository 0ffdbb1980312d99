"""The session description in a message's body: alone, or a part of a multipart body (RFC 5621)."""

from dataclasses import replace

from redoubt.sip import sdp
from redoubt.sip.errors import SipError
from redoubt.sip.fields import CONTENT_TYPE
from redoubt.sip.headers.subscription import ContentType
from redoubt.sip.message import Message
from redoubt.sip.multipart import Part, split_body

MEDIA_TYPE = "application/sdp"
IDENTITY = (("Accept-Encoding", "identity"),)


def description_in(message: Message) -> sdp.Session | None:
    """What the message describes, None if nothing. Raises SipError for what can't be read, and so can't be anchored."""
    if not message.body:
        return None
    content = _content_type(message)
    if content.media_type == MEDIA_TYPE:
        return sdp.parse_sdp(message.body)
    if not content.media_type.startswith("multipart/"):
        return None
    found = _descriptions(split_body(content, message.body))
    if len(found) > 1:
        raise SipError(488, "several session descriptions in one body", "RFC 5621 3.2")
    return sdp.parse_sdp(found[0].body) if found else None


def describe(message: Message, session: sdp.Session) -> None:
    """Puts this description in place of the one that is there."""
    content = _content_type(message)
    if content.media_type == MEDIA_TYPE:
        message.body = session.to_bytes()
    else:
        message.body = _joined(content, split_body(content, message.body), session.to_bytes())


def drop_body(message: Message) -> None:
    """The message describes nothing any more."""
    message.body = b""
    for name in ("Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language"):
        message.remove(name)


def describes(message: Message) -> bool:
    """Whether a body is a description, or can't be read and may be one."""
    try:
        return description_in(message) is not None
    except SipError:
        return True


def _content_type(message: Message) -> ContentType:
    if len(message.all("Content-Type")) != 1:
        raise SipError(400, "a body with none or several Content-Type", "RFC 3261 20.15")
    if message.has("Content-Encoding"):
        raise SipError(415, "an encoded body, which nobody on the way can read", "RFC 3261 20.12", IDENTITY)
    return message.need(CONTENT_TYPE)


def _descriptions(parts: tuple[Part, ...]) -> list[Part]:
    nested = [each for part in parts for each in _descriptions(part.parts)]
    return [part for part in parts if part.content_type.media_type == MEDIA_TYPE] + nested


def _joined(content: ContentType, parts: tuple[Part, ...], description: bytes) -> bytes:
    """The parts again, without what stood before and after them (RFC 2046 5.1.1)."""
    delimiter = b"--" + (content.param("boundary") or "").encode("utf-8", "surrogateescape")
    pieces = []
    for part in parts:
        if part.content_type.media_type == MEDIA_TYPE:
            part = replace(part, body=description)
        elif part.parts:
            part = replace(part, body=_joined(part.content_type, part.parts, description))
        head = "".join([f"{name}: {value}\r\n" for name, value in part.headers]).encode("utf-8", "surrogateescape")
        pieces.append(delimiter + b"\r\n" + head + b"\r\n" + part.body + b"\r\n")
    return b"".join([*pieces, delimiter + b"--\r\n"])
