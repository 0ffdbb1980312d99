"""Messages as they are on the wire of Cx, for the tests of the codec: a MAR and its MAA of usual size."""

from ipaddress import IPv4Address
from typing import Any

from redoubt.diameter import dictionary as d
from redoubt.diameter.avp import AvpGroup
from redoubt.diameter.codec import PROXIABLE, DiameterMessage
from redoubt.diameter.results import VENDOR_3GPP

CX, MULTIMEDIA_AUTH = 16777216, 303


def group(*values: tuple[Any, Any]) -> AvpGroup:
    made = AvpGroup()
    for kind, value in values:
        made.add(kind, value)
    return made


def vendor_specific() -> AvpGroup:
    return group((d.VENDOR_ID, VENDOR_3GPP), (d.AUTH_APPLICATION_ID, CX))


def mar() -> DiameterMessage:
    message = DiameterMessage(MULTIMEDIA_AUTH, CX, hop_by_hop=0x1234, end_to_end=0x567890AB)
    message.add(d.SESSION_ID, "scscf.ims.test;1;2")
    message.add(d.ORIGIN_HOST, "scscf.ims.test").add(d.ORIGIN_REALM, "ims.test")
    message.add(d.DESTINATION_REALM, "ims.test")
    message.add(d.VENDOR_SPECIFIC_APPLICATION_ID, vendor_specific())
    message.add(d.AUTH_SESSION_STATE, d.AuthSessionState.NO_STATE_MAINTAINED)
    message.add(d.USER_NAME, "alice@ims.test").add(d.PUBLIC_IDENTITY, "sip:alice@ims.test")
    message.add(d.SIP_AUTH_DATA_ITEM, group((d.SIP_AUTHENTICATION_SCHEME, "Digest-AKAv1-MD5")))
    return message.add(d.SIP_NUMBER_AUTH_ITEMS, 1).add(d.SERVER_NAME, "sip:scscf.ims.test")


def maa() -> DiameterMessage:
    message = DiameterMessage(MULTIMEDIA_AUTH, CX, PROXIABLE, 0x1234, 0x567890AB)
    message.add(d.SESSION_ID, "scscf.ims.test;1;2").add(d.RESULT_CODE, 2001)
    message.add(d.ORIGIN_HOST, "hss.ims.test").add(d.ORIGIN_REALM, "ims.test")
    message.add(d.VENDOR_SPECIFIC_APPLICATION_ID, vendor_specific())
    message.add(d.AUTH_SESSION_STATE, d.AuthSessionState.NO_STATE_MAINTAINED)
    message.add(d.USER_NAME, "alice@ims.test").add(d.PUBLIC_IDENTITY, "sip:alice@ims.test")
    message.add(d.SIP_NUMBER_AUTH_ITEMS, 1)
    return message.add(
        d.SIP_AUTH_DATA_ITEM,
        group(
            (d.SIP_ITEM_NUMBER, 1),
            (d.SIP_AUTHENTICATION_SCHEME, "Digest-AKAv1-MD5"),
            (d.SIP_AUTHENTICATE, bytes(range(32))),
            (d.SIP_AUTHORIZATION, bytes(range(8))),
            (d.CONFIDENTIALITY_KEY, bytes(range(16))),
            (d.INTEGRITY_KEY, bytes(range(16))),
        ),
    )


def cer() -> DiameterMessage:
    message = DiameterMessage(257, 0, 0x80, 1, 2)
    message.add(d.ORIGIN_HOST, "scscf.ims.test").add(d.ORIGIN_REALM, "ims.test")
    message.add(d.HOST_IP_ADDRESS, IPv4Address("127.0.0.1")).add(d.VENDOR_ID, VENDOR_3GPP)
    message.add(d.PRODUCT_NAME, "Redoubt").add(d.SUPPORTED_VENDOR_ID, VENDOR_3GPP)
    return message.add(d.VENDOR_SPECIFIC_APPLICATION_ID, vendor_specific())
