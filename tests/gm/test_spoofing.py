"""A phone speaks for itself alone, also with valid keys."""

import pytest

from redoubt.gm.association_set import AssociationSet
from redoubt.gm.spoofing import check_private_identity, check_sender
from redoubt.sip.errors import SipError
from redoubt.sip.message import Request

from .sets import HERE, Node, virtually


def request(via: str = f"{HERE}:31001", contact: str | None = f"<sip:alice@{HERE}:31001>") -> Request:
    headers = [("Via", f"SIP/2.0/UDP {via};branch=z9hG4bK1")]
    return Request("REGISTER", "sip:ims.test", headers + ([("Contact", contact)] if contact else []))


def carried() -> AssociationSet:
    async def story(node: Node) -> AssociationSet:
        return node.authenticate()

    return virtually(story)


@pytest.mark.parametrize(
    "honest",
    [
        request(), request(contact=None), request(via=HERE), request(contact="*"),
        request(contact="<sip:alice@ims.test;gr=urn:uuid:1>"), request(contact="<tel:+15550100>"),
        request(via="phone.example:31001"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_phone_says_of_itself_is_taken(honest: Request) -> None:
    check_sender(carried(), honest)


@pytest.mark.parametrize(
    "lie",
    [
        request(via="10.0.0.2:31001"), request(via=f"{HERE}:5060"), request(contact="<sip:bob@10.0.0.2:31001>"),
        request(contact=f"<sip:alice@{HERE}:31001>, <sip:bob@[2001:db8::1]:31001>"), request(via="[2001:db8::1]"),
    ],
    ids=str,
)  # fmt: skip
def test_another_address_or_an_unprotected_port_is_403(lie: Request) -> None:
    with pytest.raises(SipError) as refused:
        check_sender(carried(), lie)
    assert refused.value.status == 403


def test_behind_a_nat_both_addresses_are_the_phones() -> None:
    carrier = carried()
    carrier.inner = "192.168.1.2"
    check_sender(carrier, request())
    check_sender(carrier, request("192.168.1.2:31001", "<sip:alice@192.168.1.2:31001>"))


def test_another_private_identity_is_403() -> None:
    check_private_identity(carried(), "alice@ims.test")
    with pytest.raises(SipError):
        check_private_identity(carried(), "bob@ims.test")
