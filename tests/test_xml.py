"""XML from a wire: what is refused before it can do harm (rows 111, 112)."""

import pytest

from redoubt.limits import XML_DEPTH
from redoubt.xml import XmlRefused, child_text, escaped, parse_xml

LAUGHS = b'<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;&l;">]><a>&m;</a>'
ATTACKS = {
    "billion laughs": LAUGHS,
    "a file by an external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "an external DTD": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>',
    "a DTD in UTF-16": LAUGHS.decode().encode("utf-16"),
    "a DTD in UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>',
    "an entity of nobody": b"<a>&other;</a>",
    "deep nesting": b"<a>" * (XML_DEPTH + 1) + b"</a>" * (XML_DEPTH + 1),
    "very deep nesting": b"<a>" * 20_000,
    "many elements": b"<a>" + b"<b/>" * 101 + b"</a>",
    "two roots": b"<a/><a/>",
    "nothing": b"",
    "no XML": b"REGISTER sip:home SIP/2.0",
    "too long": b"<a>" + b" " * 100_000 + b"</a>",
    "no UTF-8": b"<a>\xff</a>",
}


@pytest.mark.parametrize("octets", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_hostile_document_is_refused(octets: bytes) -> None:
    with pytest.raises(XmlRefused):
        parse_xml(octets, 100_000, most_elements=100)


def test_what_is_escaped_is_read_back() -> None:
    text = """<a href="x">&amp; 'ß' ]]></a>"""
    root = parse_xml(f'<r t="{escaped(text)}"><c> {escaped(text)} </c><!-- said --></r>'.encode(), 1000)
    assert root.get("t") == text
    assert child_text(root, "c") == text
    assert child_text(root, "d", "none") == "none"
    assert len(root) == 1
