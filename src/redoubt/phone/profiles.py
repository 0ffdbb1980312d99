"""What handsets are publicly known to send, as options of the test phone: plain data, replayed on each change.

`known` names the public thread that shows it; `assumed` says what no thread that we read shows. No trace is copied:
numbers, names and addresses are the phone's own. What operators provision differs, and so do firmwares: a profile is
one handset that somebody met, not every handset of its maker.
"""

from dataclasses import dataclass
from typing import Literal

from redoubt.phone.offers import OfferStyle, suites

MMTEL = '"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"'
TELEPHONY = (("+g.3gpp.icsi-ref", MMTEL), ("+g.3gpp.smsip", None))
ACCEPT_MMTEL = f"*;+g.3gpp.icsi-ref={MMTEL}"
WLAN = "IEEE-802.11;i-wlan-node-id=000000000000"
LTE = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001"
NR = "3GPP-NR-FDD;utran-cell-id-3gpp=00101000001000000001"
SIX = suites(
    "hmac-md5-96/des-ede3-cbc", "hmac-md5-96/aes-cbc", "hmac-md5-96/null",
    "hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null",
)  # fmt: skip
SHA_FIRST = (*SIX[3:], *SIX[:3])


@dataclass(frozen=True, slots=True)
class PhoneProfile:
    """How a phone writes its requests, and how strict it is (TS 24.229 5.1.1, GSMA IR.92)."""

    name: str
    does: str
    known: str = ""
    assumed: str = ""
    offers: OfferStyle | None = None  # None: this phone's own way
    user_agent: str = ""
    supported: str = "path, outbound"
    access_network: str = WLAN
    contact_user: Literal["identity", "uuid"] = "identity"
    contact_params: tuple[tuple[str, str | None], ...] = ()
    instance: Literal["uuid", "imei"] = "uuid"
    accept_contact: str = ""
    takes_qop: bool = True  # False: answers as RFC 2069 did, whatever the challenge offers
    drops_stray_keys: bool = False  # a challenge that still has ck or ik is not answered
    tcp_after_challenge: bool = False  # inside transport mode, or without IPsec: ESP in UDP carries UDP alone
    subscribes: bool = False  # to its registration state, after each registration (TS 24.229 5.1.1.3)
    strict_notify: bool = False  # a NOTIFY that is not right ends the registration, 21 to 32 s after it
    answers_deregistration_challenge: bool = True  # of one that an association carried


REDOUBT = PhoneProfile("redoubt", "this phone as it is: one offer for each algorithm that the configuration allows")

XIAOMI = PhoneProfile(
    "xiaomi",
    "six offers in one header, blanks after semicolons, no prot and no mod; contact named by a UUID; TCP after the 401",
    known="open5gs#337 (Mi 9 Pro): the six offers in their order, SPIs of full width, unrelated high ports, the form"
    " of User-Agent, the contact's user and feature tags; open5gs#486 (Mi Mix 2): TCP SYN after the 401, a second"
    " registration after flight mode with a stale SQN and with new ports",
    assumed="Supported, P-Access-Network-Info, Accept-Contact, an answer without qop; that Mi 9 Pro uses TCP too",
    offers=OfferStyle(SIX, ("alg", "ealg", "spi-c", "spi-s", "port-c", "port-s"), semicolon="; "),
    user_agent="Xiaomi_Test Phone_Android9_11",
    supported="path,sec-agree",
    access_network=LTE,
    contact_user="uuid",
    contact_params=(
        *TELEPHONY[:1], ("+g.3gpp.nw-init-ussi", None), *TELEPHONY[1:], ("audio", None), ("video", None),
        ("+g.3gpp.accesstype", '"cellular2"'),
    ),
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    takes_qop=False,
    tcp_after_challenge=True,
    subscribes=True,
)  # fmt: skip

SAMSUNG = PhoneProfile(
    "samsung",
    "six offers, ports and SPIs that follow each other, algorithms at the end; UDP throughout; drops a 401 with ck, ik",
    known="docker_open5gs#458: the first three offers, their parameters' order, SPIs of five digits one after the"
    " other, port-c one above port-s; Kamailio_IMS_Config#6 (by who had a Note 9): ports of that kind, contact by IMSI"
    " with q=1.0, MMTEL and SMS tags; treble_experimentations#2307: all in UDP; open5gs#491: a handset, seemingly this"
    " maker's, answers once ck, ik and qop"
    " are gone from the 401",
    assumed="that three offers with hmac-sha-1-96 follow; Supported, User-Agent, P-Access-Network-Info; which of ck, ik"
    " and qop it minded (here: the keys); an answer with qop",
    offers=OfferStyle(
        SIX, ("prot", "mod", "spi-c", "spi-s", "port-c", "port-s", "alg", "ealg"), comma=", ",
        spis=(10_000, 100_000), ports=(6_100, 8_999), adjacent=True,
    ),
    user_agent="SM-TEST Samsung IMS 6.0",
    supported="path, sec-agree, gruu",
    access_network=LTE,
    contact_params=(("q", "1.0"), *TELEPHONY),
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    drops_stray_keys=True,
    subscribes=True,
)  # fmt: skip

SAMSUNG_NULL = PhoneProfile(
    "samsung-null",
    "two offers and neither encrypts: a network that demands confidentiality answers 494, and says so",
    known="treble_experimentations#2307: hmac-md5-96 and hmac-sha-1-96, both with ealg=null, as an operator had it set",
    assumed="all else as samsung",
    offers=OfferStyle(
        suites("hmac-md5-96/null", "hmac-sha-1-96/null"),
        ("prot", "mod", "spi-c", "spi-s", "port-c", "port-s", "alg", "ealg"), comma=", ",
        spis=(10_000, 100_000), ports=(6_100, 8_999), adjacent=True,
    ),
    user_agent=SAMSUNG.user_agent,
    supported=SAMSUNG.supported,
    access_network=LTE,
    contact_params=SAMSUNG.contact_params,
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    drops_stray_keys=True,
    subscribes=True,
)  # fmt: skip

HUAWEI = PhoneProfile(
    "huawei",
    "six offers with hmac-sha-1-96 first, alg before prot and mod before ealg; contact by its identity",
    known="open5gs#564 (Nova 7): offers in that order of algorithms and parameters, SPIs of eight digits, ports around"
    " 31000, a SUBSCRIBE right after the 200; kamailio#3570: contact named by the IMSI, port of that range",
    assumed="the last two offers, Supported, User-Agent, P-Access-Network-Info, feature tags",
    offers=OfferStyle(
        SHA_FIRST, ("alg", "prot", "mod", "ealg", "spi-c", "spi-s", "port-c", "port-s"),
        spis=(10_000_000, 100_000_000), ports=(31_000, 32_000),
    ),
    user_agent="HUAWEI TEST-AN00",
    supported="100rel,path,replaces,sec-agree",
    access_network=LTE,
    contact_params=TELEPHONY,
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    subscribes=True,
)  # fmt: skip

IPHONE = PhoneProfile(
    "iphone",
    "strict: a wrong NOTIFY makes it leave after 21 to 32 s; no second answer when de-registration is challenged",
    known="docker_open5gs#252: User-Agent `iOS/VERSION iPhone`, AKAv1-MD5; Kamailio_IMS_Config#22 (13 Pro): after a"
    " 401 that it does not like (SQN, they suspect) it is silent; sprout#1640 (6s): a challenged de-registration"
    " is left where it is; siphon-sip#140: handsets that validate NOTIFY leave 21 to 32 s after registration (no maker"
    " is named)",
    assumed="which handset of siphon-sip#140 it was; the offers and their ports, Supported, P-Access-Network-Info,"
    " tags, TCP after the 401",
    offers=OfferStyle(
        (SIX[4], SIX[1], SIX[5], SIX[2]), ("alg", "ealg", "prot", "mod", "spi-c", "spi-s", "port-c", "port-s"),
        semicolon="; ", comma=", ", ports=(50_000, 65_536),
    ),
    user_agent="iOS/16.0 iPhone",
    supported="100rel,path,gruu,sec-agree",
    access_network=LTE,
    contact_params=(*TELEPHONY, ("audio", None), ("+g.3gpp.mid-call", None), ("+g.3gpp.srvcc-alerting", None)),
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    tcp_after_challenge=True,
    subscribes=True,
    strict_notify=True,
    answers_deregistration_challenge=False,
)  # fmt: skip

PIXEL = PhoneProfile(
    "pixel",
    "four offers with hmac-sha-1-96 first, on 5G; TCP after the 401; User-Agent from Android's carrier settings",
    known="pixel-volte-patch#24: User-Agent is maker, model, Android version and build, joined by underscores;"
    " Kamailio_IMS_Config#33: REGISTER, 401, REGISTER, with ESP both ways after it",
    assumed="the offers, ports, Supported, P-Access-Network-Info, feature tags, TCP after the 401",
    offers=OfferStyle((SIX[4], SIX[5], SIX[1], SIX[2]), ports=(32_768, 61_000)),
    user_agent="Google_Test Phone_Android14_UP1A",
    supported="path,gruu,sec-agree",
    access_network=NR,
    contact_user="uuid",
    contact_params=(*TELEPHONY, ("audio", None), ("video", None)),
    instance="imei",
    accept_contact=ACCEPT_MMTEL,
    tcp_after_challenge=True,
    subscribes=True,
)  # fmt: skip

PROFILES = {
    profile.name: profile for profile in (REDOUBT, IPHONE, SAMSUNG, SAMSUNG_NULL, PIXEL, XIAOMI, HUAWEI)
}
