"""XML from a wire, read in one way: no DTD, no entities, nothing fetched, bounded before it is parsed.

Requirement rows 111 and 112; TS 33.203 leaves it to the implementation. Every document that a peer can send (user
profiles, Sh data, reginfo) is read by `parse_xml`, and text goes into documents through `escaped`.
"""

from lxml import etree

from redoubt.limits import XML_DEPTH, XML_ELEMENTS

Element = etree._Element
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})


class XmlRefused(Exception):
    """The document breaks a bound or a rule; the text says which, for operators and events."""


def parse_xml(octets: bytes, most_octets: int, most_elements: int = XML_ELEMENTS) -> Element:
    """The root element of a document in UTF-8. Raises XmlRefused."""
    if len(octets) > most_octets:
        raise XmlRefused("the document is too long")
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets or b"\0" in octets:  # UTF-16 could hide the former
        raise XmlRefused("the document has a DTD or is not UTF-8")
    # A declared encoding counts for nothing: what the check above reads is what libxml2 reads.
    parser = etree.XMLPullParser(
        events=("start", "end"),
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        parser.feed(octets)
        _check_bounds(parser, most_elements)
        root: Element = parser.close()
    except etree.XMLSyntaxError as fault:
        raise XmlRefused("the document is not well-formed") from fault
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlRefused("the document has a DTD")
    return root


def _check_bounds(parser: "etree.XMLPullParser", most_elements: int) -> None:
    depth = elements = 0
    for action, _element in parser.read_events():
        if action == "end":
            depth -= 1
            continue
        depth, elements = depth + 1, elements + 1
        if depth > XML_DEPTH:
            raise XmlRefused("the document is nested too deep")
        if elements > most_elements:
            raise XmlRefused("the document has too many elements")


def escaped(text: str) -> str:
    """As content or attribute value of a document."""
    return text.translate(_ESCAPES)


def child_text(element: Element, name: str, default: str = "") -> str:
    """The text of a child element without the blanks around it; `default` where there is no such child."""
    child = element.find(name)
    return default if child is None else (child.text or "").strip()


def children(element: Element | None) -> dict[str, Element]:
    """The first child of each name; looked up so, a document is read many times quicker than by paths."""
    found: dict[str, Element] = {}
    for child in () if element is None else element:
        found.setdefault(child.tag, child)
    return found


def text_of(element: Element | None, default: str = "") -> str:
    """The text of an element without the blanks around it; `default` where there is none."""
    return default if element is None else (element.text or "").strip()
