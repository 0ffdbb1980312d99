"""The security agreement (RFC 3329, TS 33.203 Annex H): what is read, chosen, refused and compared."""

import itertools
from typing import Any

import pytest
from tests.aka.published import published

from redoubt.gm.agreement import (
    STRENGTH,
    Agreement,
    AgreementPolicy,
    Ends,
    Mechanisms,
    Mode,
    accept,
    check_repeated,
    choose,
    client_list,
    demanded,
    read_offers,
    same,
    server_list,
    strip_agreement,
    written,
)
from redoubt.gm.algorithms import SOUND_SUITES, Encryption, Integrity, Suite
from redoubt.sip.errors import SipError
from redoubt.sip.fields import SECURITY_CLIENT, SECURITY_SERVER
from redoubt.sip.message import Request

from .suites import CBC_SHA1, GCM

PHONE = Ends(1001, 1002, 31000, 31001)
NETWORK = Ends(2001, 2002, 6101, 6001)
DEFAULT = AgreementPolicy()
RESERVED = ("100", "111")  # SPIs that stand in the headers below and that nobody may use (RFC 4303 2.1)
OLD = "ipsec-3gpp;alg=hmac-md5-96;ealg=des-ede3-cbc;spi-c=1001;spi-s=1002;port-c=31000;port-s=31001"


def register(*headers: tuple[str, str]) -> Request:
    return Request("REGISTER", "sip:ims.test", list(headers))


def mechanisms(value: str) -> Mechanisms:
    return register(("Security-Client", value)).every(SECURITY_CLIENT)


def offer(alg: str = "hmac-sha-1-96", ealg: str = "aes-cbc", **changed: str) -> str:
    values = {"spi-c": "1001", "spi-s": "1002", "port-c": "31000", "port-s": "31001"}
    values |= {name.replace("_", "-"): value for name, value in changed.items()}
    return f"ipsec-3gpp;alg={alg};ealg={ealg}" + "".join(f";{name}={value}" for name, value in values.items())


@pytest.mark.parametrize("entry", published("ims-ipsec/sec-agree-headers.json"))
def test_headers_seen_in_the_wild_are_read(entry: dict[str, Any]) -> None:
    field = SECURITY_CLIENT if entry["header"] == "Security-Client" else SECURITY_SERVER
    found = register((entry["header"], entry["value"])).every(field)
    assert len(found) == entry["offers"]
    whole = [m for m in found if m.name == "ipsec-3gpp" and m.param("spi-c") not in RESERVED]
    assert len(read_offers(found)) == entry.get("usable", len(whole))


def test_names_and_values_are_read_in_any_case_with_blanks_and_quotes() -> None:
    text = 'IPSEC-3GPP; ALG="HMAC-SHA-1-96"; EALG=AES-CBC; SPI-C=1001; SPI-S=1002; PORT-C=31000; PORT-S=31001; Q="0.5"'
    (found,) = read_offers(mechanisms(text))
    assert (found.suite, found.ends, found.q) == (CBC_SHA1, PHONE, 0.5)


def test_what_is_absent_means_null_esp_and_transport() -> None:
    text = "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1001;spi-s=1002;port-c=31000;port-s=31001"
    (found,) = read_offers(mechanisms(text))
    assert found.suite == Suite(Integrity.HMAC_SHA_1_96, Encryption.NULL)
    assert found.mode is Mode.TRANSPORT


@pytest.mark.parametrize(
    "changed",
    [
        {"spi_c": "1002"}, {"spi_c": "0"}, {"spi_s": "255"}, {"spi_s": "4294967296"}, {"spi_c": "-5"},
        {"spi_c": "+500"},
        {"port_c": "5060"}, {"port_s": "5061"}, {"port_c": "0"}, {"port_s": "65536"}, {"port_c": "31001"},
        {"mod": "tun"}, {"prot": "ah"}, {"q": "2"}, {"q": "x"}, {"alg": "hmac-sha-1-96"},
    ],
    ids=str,
)  # fmt: skip
def test_an_offer_out_of_range_or_said_twice_is_none(changed: dict[str, str]) -> None:
    assert not read_offers(mechanisms(offer(**{k: v for k, v in changed.items() if k != "alg"}) + (
        ";alg=hmac-md5-96" if "alg" in changed else "")))  # fmt: skip


@pytest.mark.parametrize("spi", ["256", "4294967295", "2147483648"])
def test_an_spi_is_an_unsigned_number_of_32_bits(spi: str) -> None:
    (found,) = read_offers(mechanisms(offer(spi_c=spi)))
    assert found.ends.spi_c == int(spi)


@pytest.mark.parametrize(("alg", "ealg"), list(itertools.product(Integrity, Encryption)))
def test_null_integrity_is_read_with_gcm_alone(alg: str, ealg: str) -> None:
    assert len(read_offers(mechanisms(offer(alg, ealg)))) == (Suite(Integrity(alg), Encryption(ealg)) in SOUND_SUITES)


# ---- policy and choice


def test_the_default_demands_confidentiality_and_refuses_what_was_withdrawn() -> None:
    assert DEFAULT.allowed == (GCM, CBC_SHA1)


def test_named_policies_allow_more() -> None:
    assert AgreementPolicy(confidentiality=False, legacy=True).allowed == STRENGTH
    assert set(STRENGTH) == set(SOUND_SUITES)
    assert AgreementPolicy(confidentiality=False, floor=CBC_SHA1).allowed == (GCM, CBC_SHA1)
    assert AgreementPolicy(preference=(CBC_SHA1, GCM)).allowed == (CBC_SHA1, GCM)


def test_a_policy_that_leaves_nothing_is_the_operators_mistake() -> None:
    with pytest.raises(ValueError, match="leaves no algorithms"):
        AgreementPolicy(preference=(Suite(Integrity.HMAC_SHA_1_96, Encryption.NULL),))


@pytest.mark.parametrize("order", list(itertools.permutations(["gcm", "sha1", "null"])))
def test_the_networks_own_order_decides_whatever_the_phones_is(order: tuple[str, ...]) -> None:
    texts = {
        "gcm": offer("null", "aes-gcm", spi_c="3001"), "sha1": offer(), "null": offer(ealg="null"),
    }  # fmt: skip
    client = mechanisms(", ".join(texts[name] for name in order))
    assert choose(DEFAULT, Mode.TRANSPORT, client).suite == GCM
    assert choose(DEFAULT, Mode.TRANSPORT, client).ends.spi_c == 3001  # of that offer, not of its neighbour
    assert choose(AgreementPolicy(preference=(CBC_SHA1, GCM)), Mode.TRANSPORT, client).suite == CBC_SHA1


@pytest.mark.parametrize("text", [OLD, offer(ealg="null"), offer("hmac-md5-96"), "tls;q=0.2", offer(mod="UDP-enc-tun")])
def test_no_common_algorithms_are_494_with_the_networks_list(text: str) -> None:
    with pytest.raises(SipError) as refused:
        choose(DEFAULT, Mode.TRANSPORT, mechanisms(text))
    assert refused.value.status == 494
    assert refused.value.headers == (("Security-Server", server_list(DEFAULT, Mode.TRANSPORT)),)


def test_the_legacy_switch_alone_lets_old_algorithms_in() -> None:
    assert choose(AgreementPolicy(legacy=True), Mode.TRANSPORT, mechanisms(OLD)).suite.is_legacy


def test_the_networks_list_is_the_same_for_every_phone() -> None:
    lists = []
    for text in (offer(), offer("null", "aes-gcm"), OLD):
        try:
            choose(DEFAULT, Mode.TRANSPORT, mechanisms(text))
        except SipError:
            pass
        lists.append(server_list(DEFAULT, Mode.TRANSPORT, NETWORK))
    assert len(set(lists)) == 1
    assert [m.param("q") for m in mechanisms(server_list(DEFAULT, Mode.TRANSPORT))] == ["0.9", "0.8"]


def test_behind_a_nat_only_the_tunnel_is_chosen() -> None:
    assert DEFAULT.mode_for(True) is Mode.UDP_TUNNEL
    assert DEFAULT.mode_for(False) is Mode.TRANSPORT
    assert AgreementPolicy(modes=(Mode.TRANSPORT,)).mode_for(True) is None


# ---- who asks, and who doesn't


def test_a_register_that_asks_and_offers_is_taken() -> None:
    request = register(("Require", "path, SEC-Agree"), ("Proxy-Require", "sec-agree"), ("Security-Client", offer()))
    assert same(demanded(request, DEFAULT, Mode.TRANSPORT), mechanisms(offer()))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 421),
        ((("Supported", "path, sec-agree"),), 494),
        ((("Require", "sec-agree"),), 494),
        ((("Security-Client", offer()),), 494),
    ],
)
def test_a_register_without_an_agreement_gets_the_list(headers: tuple[tuple[str, str], ...], status: int) -> None:
    with pytest.raises(SipError) as refused:
        demanded(register(*headers), DEFAULT, Mode.TRANSPORT)
    assert refused.value.status == status
    listed = dict(refused.value.headers)
    assert "alg=null;ealg=aes-gcm" in listed["Security-Server"]
    assert "spi-c" not in listed["Security-Server"]
    assert ("Require" in listed) is (status == 421)


def test_the_agreement_goes_no_further_than_the_p_cscf() -> None:
    request = register(
        ("Require", "path, sec-agree"), ("Proxy-Require", "sec-agree"),
        ("Security-Client", offer()), ("Security-Verify", offer()), ("Supported", "path"),
    )  # fmt: skip
    strip_agreement(request)
    assert request.headers == [("Supported", "path"), ("Require", "path")] or sorted(request.headers) == [
        ("Require", "path"), ("Supported", "path"),
    ]  # fmt: skip


# ---- both ends


def agreed() -> Agreement:
    client = written(client_list(DEFAULT, PHONE))
    found = accept(DEFAULT, client, server_list(DEFAULT, Mode.TRANSPORT, NETWORK))
    assert found is not None
    return found


def answer(client: str, verify: str) -> Request:
    return register(("Security-Client", client), ("Security-Verify", verify))


def test_both_ends_come_to_the_same_agreement() -> None:
    client, phone = client_list(DEFAULT, PHONE), agreed()
    chosen = choose(DEFAULT, Mode.TRANSPORT, client)
    assert (chosen.suite, chosen.ends, chosen.mode) == (phone.suite, phone.phone, phone.mode)
    assert phone.network == NETWORK


def test_a_phone_takes_the_networks_order_by_q_and_nothing_below_its_own_floor() -> None:
    client = written(client_list(AgreementPolicy(confidentiality=False), PHONE))
    text = f"{offer(ealg='null', q='0.9', spi_c='2001', spi_s='2002')}, {offer(q='0.1', spi_c='2001', spi_s='2002')}"
    found = accept(DEFAULT, client, text)
    assert found is not None
    assert found.suite == CBC_SHA1
    assert accept(DEFAULT, client, OLD) is None


def test_what_the_network_prefers_by_q_counts_wherever_it_stands_in_the_list() -> None:
    client = written(client_list(DEFAULT, PHONE))
    last = offer(alg="null", ealg="aes-gcm", q="0.9", spi_c="2001", spi_s="2002")
    found = accept(DEFAULT, client, f"{offer(q='0.1', spi_c='2001', spi_s='2002')}, {last}")
    assert found is not None
    assert found.suite == GCM


def test_a_phone_takes_no_spi_that_is_its_own() -> None:
    reflecting = server_list(DEFAULT, Mode.TRANSPORT, Ends(PHONE.spi_s, 2002, 6101, 6001))
    assert accept(DEFAULT, written(client_list(DEFAULT, PHONE)), reflecting) is None


def test_lists_repeated_in_other_words_count() -> None:
    agreement = agreed()
    verify = agreement.server.replace("alg=", "ALG=").replace(";", " ; ").replace("q=0.9", 'q="0.9"')
    check_repeated(agreement, answer(agreement.client, verify))


def _changes(text: str) -> list[str]:
    first, second = text.split(", ")
    return [
        text.replace("aes-gcm", "aes-cbc"), text.replace("q=0.9", "q=0.7"), text.replace("2002", "2003"),
        f"{second}, {first}", first, second, text + ";x=1", text.replace(";prot=esp", ""), f"{text}, {second}",
        text.replace("6001", "6002"), "tls;q=0.2",
    ]  # fmt: skip


@pytest.mark.parametrize("verify", _changes(server_list(DEFAULT, Mode.TRANSPORT, NETWORK)))
def test_a_changed_security_verify_ends_the_attempt(verify: str) -> None:
    agreement = agreed()
    with pytest.raises(SipError) as refused:
        check_repeated(agreement, answer(agreement.client, verify))
    assert refused.value.status == 494


@pytest.mark.parametrize("at", range(len(server_list(DEFAULT, Mode.TRANSPORT, NETWORK))))
def test_each_changed_digit_of_security_verify_ends_the_attempt(at: int) -> None:
    agreement = agreed()
    text = agreement.server
    if not text[at].isdigit():
        return
    changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    with pytest.raises(SipError):
        check_repeated(agreement, answer(agreement.client, changed))


def test_a_changed_security_client_ends_the_attempt() -> None:
    agreement = agreed()
    with pytest.raises(SipError) as refused:
        check_repeated(agreement, answer(agreement.client.split(", ")[0], agreement.server))
    assert refused.value.status == 494


def test_no_security_verify_ends_the_attempt() -> None:
    agreement = agreed()
    with pytest.raises(SipError):
        check_repeated(agreement, register(("Security-Client", agreement.client)))
