"""Whose a domain and a flow is, by agreement and by what secures the flow (TS 33.203 6.5, RFC 5922 7)."""

from functools import partial

import pytest

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import PartnerConfig
from redoubt.events import EventStream
from redoubt.ndm.partners import Partners
from redoubt.sim import Network
from redoubt.sim.loop import SimLoop
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness
from redoubt.transport.flow import Clear, Flow, Security, TlsPeer, Zone

BETA = PartnerConfig(name="beta", domains=("beta.example",), names=("sip:Border.Beta.Example", "beta.example"))
HUB = PartnerConfig(name="hub", domains=("hub.example",), transit_to=("far.example", "*"))
PLAIN = PartnerConfig(
    name="plain", domains=("plain.example",), kind="sip", security="none", addresses=("192.0.2.0/28",)
)
TUNNEL = PartnerConfig(
    name="tunnel", domains=("tunnel.example",), security="gateway", gateway="za", addresses=("198.51.100.7",)
)


def partners(*agreements: PartnerConfig, standing: tuple[str, ...] = ()) -> Partners:
    context = Context("ibcf", EventStream(), Clock(SimLoop(Network(1))), SeededRandomness(1))
    return Partners(context, agreements or (BETA, HUB, PLAIN, TUNNEL), lambda name: name in standing)


def flow(security: Security, host: str = "203.0.113.1", zone: Zone = Zone.BORDER) -> Flow:
    return Flow("tls", ("203.0.113.9", 5061), (host, 40_000), zone, security, lambda _data: None)


def name_of(found: object) -> str:
    return getattr(found, "name", "")


@pytest.mark.parametrize(
    ("domain", "through"),
    [
        ("beta.example", "beta"),
        ("pcscf7.BETA.example.", "beta"),
        ("notbeta.example", "hub"),
        ("a.far.example", "hub"),
        ("elsewhere.org", "hub"),
        ("192.0.2.66", ""),
        ("[2001:db8::66]", ""),
    ],
)
def test_a_domain_is_reached_through_its_owner_else_through_a_hub(domain: str, through: str) -> None:
    assert name_of(partners().to(domain)) == through


def test_without_a_hub_an_unknown_domain_leads_nowhere() -> None:
    assert partners(BETA).to("elsewhere.org") is None


def test_a_certificate_proves_a_partner_by_a_name_of_the_agreement_only() -> None:
    known = partners()
    assert name_of(known.of_flow(flow(TlsPeer(("border.beta.example",), False)))) == "beta"
    for names in ((), ("x.beta.example",), ("*.beta.example",), ("border.beta.example", "hub.example")):
        refused = flow(TlsPeer(names, False))
        assert known.of_flow(refused) is None
        assert "certificate" in known.stranger(refused)


def test_nobody_is_a_partner_on_another_side_of_the_network() -> None:
    assert partners().of_flow(flow(TlsPeer(("beta.example",), True), zone=Zone.CORE)) is None


def test_in_clear_only_whose_agreement_goes_by_address_is_known() -> None:
    known = partners()
    assert name_of(known.of_flow(flow(Clear(), "192.0.2.3"))) == "plain"
    assert known.of_flow(flow(Clear(), "192.0.2.16")) is None


def test_what_comes_from_a_gateways_network_counts_while_the_tunnel_stands() -> None:
    source = flow(Clear(), "198.51.100.7")
    assert name_of(partners(standing=("za",)).of_flow(source)) == "tunnel"
    cut = partners()
    assert cut.of_flow(source) is None
    assert "za" in cut.stranger(source)


def test_when_a_tunnel_falls_its_connections_end_at_once_and_no_others() -> None:
    aborted: list[str] = []
    known = partners(standing=("za",))
    for host, security in (("198.51.100.7", Clear()), ("203.0.113.1", TlsPeer(("beta.example",), True))):
        opened = flow(security, host)
        opened.abort = partial(aborted.append, host)
        assert known.welcome(opened) == ""
    known.tunnel_changed("za", stands=True)
    known.tunnel_changed("another", stands=False)
    assert aborted == []
    known.tunnel_changed("za", stands=False)
    assert aborted == ["198.51.100.7"]


def test_trust_needs_the_agreement_and_the_secured_flow() -> None:
    known = partners()
    assert known.vouch(TlsPeer(("beta.example",), False), "203.0.113.1") == TlsPeer(("beta.example",), True)
    assert known.vouch(TlsPeer(("evil.example",), True), "203.0.113.1") == TlsPeer(("evil.example",), False)
    assert known.vouch(None, "192.0.2.3") == Clear(), "a plain SIP network is never believed"


@pytest.mark.parametrize("other", ["198.51.100.0/25", "198.51.0.0/16", "198.51.100.7", "2001:db8::/32"])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_an_address_is_of_one_partner_only(other: str, security: str) -> None:
    one = PartnerConfig(
        name="one", domains=("a.b",), kind="sip", security="none", addresses=("198.51.100.0/24", "2001:db8:1::/48")
    )
    two = PartnerConfig(name="two", domains=("c.d",), kind="sip", security=security, addresses=(other,))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"of one and .* of two have addresses in common; write for each"):
        partners(one, two)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"security": "none"}, "kind"),
        ({"security": "gateway"}, "gateway"),
        ({"security": "none", "kind": "sip"}, "addresses"),
        ({"names": ("*.x.example",)}, "wildcard"),
        (
            {
                "security": "gateway",
                "gateway": "za",
                "addresses": ("198.51.100.8",),
                "connect": ("udp:192.0.2.1:5060",),
            },
            "not among addresses",
        ),
        ({"addresses": ("nowhere",)}, "addresses"),
        ({"domains": ("beta.example",)}, "beta"),
        ({"connect": ("udp:192.0.2.1:5060",)}, "tls:"),
    ],
)
def test_agreements_that_contradict_themselves_or_others_are_refused(options: dict[str, object], said: str) -> None:
    wrong = PartnerConfig(**{"name": "x", "domains": ("x.example",), **options})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=said):
        partners(BETA, wrong)
