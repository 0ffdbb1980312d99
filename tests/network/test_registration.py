"""Registration with IMS AKA as it looks on the wire: rows 1 to 20 of the requirements (TS 33.203 6.1)."""

import base64
import re

import pytest

from redoubt.aka.digest import DigestAlgorithm
from redoubt.events import Check, Deregistered, Notice, Registered
from redoubt.hss.administration import Told
from redoubt.hss.provisioning_fields import described
from redoubt.hss.records import RegistrationState
from redoubt.hss.scscfs import SCscfs
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE
from redoubt.sip.message import Request, Response

from .client import Card, Client
from .home import home


def nonce_of(challenge: Response) -> bytes:
    return base64.b64decode(challenge.need(WWW_AUTHENTICATE).param("nonce") or "")


async def message_arrives(sender: Client, receiver: Client) -> bool:
    """Whether a MESSAGE of one phone reaches another, which answers."""
    request = sender.make("MESSAGE", receiver.card.impu, None, ("Content-Type", "text/plain"), body=b"there?")
    sender.send(request)
    try:
        receiver.respond(await receiver.request("MESSAGE", 1.0), 200)
    except TimeoutError:
        return False
    return (await sender.final(request)).status == 200


async def test_a_phone_registers_with_one_challenge() -> None:
    async with home() as net:
        phone = await net.phone("alice")
        challenge = await phone.challenged()
        assert challenge.status == 401
        accepted = await phone.ask(phone.register(phone.answer()))
        assert accepted.status == 200
        assert net.impu("alice") in (accepted.get("P-Associated-URI") or "")
        assert "scscf" in (accepted.get("Service-Route") or "")
        assert [event.impu for event in net.events(Registered)] == [net.impu("alice")]


async def test_no_rand_comes_twice_and_sqn_rises_with_each_challenge() -> None:
    """Row 1. Twenty registrations; the card's own SQN check proves that SQN rises."""
    async with home() as net:
        phone = await net.registered("alice")
        rands = set()
        for _ in range(20):
            challenge = await phone.challenged()
            rands.add(nonce_of(challenge)[:16])
            credentials = phone.answer()
            assert credentials.param("auts") is None
            assert (await phone.ask(phone.register(credentials))).status == 200
        assert len(rands) == 20


async def test_the_nonce_is_rand_and_autn_that_the_card_accepts() -> None:
    """Row 2."""
    async with home() as net:
        phone = await net.phone("alice")
        challenge = await phone.challenged()
        octets = nonce_of(challenge)
        assert len(octets) >= 32
        assert phone.answer().param("response"), "the card made RES, so AUTN was the authentication centre's"


@pytest.mark.parametrize("algorithm", ["AKAv1-MD5", "AKAv2-MD5", "AKAv2-SHA-256"])
async def test_each_digest_algorithm_registers_a_phone(algorithm: str) -> None:
    """Rows 3 and 4."""
    async with home({"s-cscf": {"algorithms": [algorithm]}}) as net:
        phone = await net.phone("alice")
        challenge = await phone.challenged()
        assert DigestAlgorithm.named(challenge.need(WWW_AUTHENTICATE).param("algorithm") or "").value == algorithm  # type: ignore[union-attr]
        assert (await phone.ask(phone.register(phone.answer()))).status == 200


async def test_an_answer_with_another_call_id_does_not_count() -> None:
    """Row 5."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        answer = await phone.ask(phone.register(phone.answer(), call_id="another"))
        assert answer.status in (401, 403)
        assert not net.events(Registered)


async def test_a_wrong_res_is_403_and_leaves_the_registration_untouched() -> None:
    """Row 7 (TS 33.203 6.1.2)."""
    async with home() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        await alice.challenged()
        answer = await alice.ask(alice.register(alice.answer(password=Secret(b"guessed!"))))
        assert answer.status == 403
        await net.settled()
        assert not net.events(Deregistered)
        assert await message_arrives(bob, alice)


async def test_a_card_that_is_out_of_step_resynchronises_and_registers() -> None:
    """Row 8 (TS 33.203 6.1.3): AUTS, a fresh vector, success."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        phone.answer()  # the card has taken this SQN now
        credentials = phone.answer()  # so the same challenge again is out of step
        assert credentials.param("auts")
        second = await phone.ask(phone.register(credentials))
        assert second.status == 401
        assert nonce_of(second)[:16] != nonce_of(phone.challenge)[:16]  # type: ignore[arg-type]
        phone.challenge = second
        assert (await phone.ask(phone.register(phone.answer()))).status == 200


async def test_an_auts_with_a_wrong_mac_s_resynchronises_nothing() -> None:
    """Row 8: one bit is enough."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        phone.answer()
        credentials = phone.answer()
        auts = bytearray(base64.b64decode(credentials.param("auts") or ""))
        auts[13] ^= 1
        answer = await phone.ask(phone.register(credentials.with_param("auts", base64.b64encode(auts).decode())))
        assert answer.status == 403
        assert any("AUTS" in check.rule or "MAC-S" in check.rule + check.advice for check in net.failed())


@pytest.mark.parametrize("with_auts", [False, True])
async def test_the_empty_password_never_authenticates(with_auts: bool) -> None:
    """Row 9 (RFC 3310 3.4)."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        credentials = phone.answer(password=Secret(b""))
        if with_auts:
            credentials = credentials.with_param("auts", base64.b64encode(bytes(14)).decode())
        assert (await phone.ask(phone.register(credentials))).status in (401, 403)
        assert not net.events(Registered)


async def test_the_card_refuses_a_replayed_autn() -> None:
    """Row 10: the network's old challenge, replayed to the card, gives AUTS and no RES."""
    async with home() as net:
        phone = await net.phone("alice")
        old = await phone.challenged()
        assert (await phone.ask(phone.register(phone.answer()))).status == 200
        assert phone.answer(old).param("auts")


async def test_a_phone_that_rejects_the_network_gets_403_and_leaves_nothing_pending() -> None:
    """Row 11 (TS 33.203 6.1.2.2): a card of another K sees a wrong MAC."""
    async with home() as net:
        before = net.network.table_sizes()
        phone = await net.phone("alice", card=Card.of("alice", net.realm, k=bytes(16)))
        await phone.challenged()
        credentials = phone.answer()
        assert credentials.param("response") == "" and credentials.param("auts") is None
        assert (await phone.ask(phone.register(credentials))).status == 403
        await net.settled()
        after = net.network.table_sizes()
        assert _challenges(after) == _challenges(before)
        held = described(await net.hss.administration.show(phone.card.impi))
        assert held["sets"][0]["state"] == "not_registered"
        assert held["s-cscf"] == held["candidate"] == "", "the pending name of the S-CSCF is gone too"
        assert (await (await net.phone("alice")).registers()).status == 200


def _challenges(sizes: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if "challenge" in name or "binding" in name}


async def test_an_unprotected_register_is_challenged_even_for_a_registered_user() -> None:
    """Row 12 (TS 33.203 5.1.2)."""
    async with home({"s-cscf": {"reauthenticate": "initial-only"}}) as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        thief = await net.phone("alice")
        assert (await thief.challenged()).status == 401
        assert await message_arrives(bob, alice)
        assert await thief.hears_nothing()


async def test_ck_and_ik_never_reach_the_phone() -> None:
    """Row 13: in no form, in none of the octets that the phone was sent."""
    async with home(tracing=True) as net:
        phone = await net.registered("alice")
        assert any("ck=" in text for text in net.seen_at("p-cscf")), "the S-CSCF gave them to the P-CSCF"
        sent = b"".join(message.to_bytes() for message in phone.received).decode()
        for key in keys_of(phone)[1:]:
            assert key.hex() not in sent.lower()
            assert base64.b64encode(key).decode() not in sent
        assert not re.search(r"\b[ci]k\s*=", sent)


def keys_of(phone: Client) -> tuple[bytes, bytes, bytes]:
    """RES, CK and IK of the phone's last challenge."""
    assert phone.challenge is not None
    keys = phone.card.functions.f2345(nonce_of(phone.challenge)[:16])
    return keys.res.reveal(), keys.ck.reveal(), keys.ik.reveal()


@pytest.mark.parametrize(
    "lie",
    [
        'integrity-protected="yes"', "integrity-protected=yes", 'Integrity-Protected="auth-done"',
        'integrity-protected="tls-yes"', '\r\n integrity-protected="ip-assoc-yes"',
    ],
)  # fmt: skip
async def test_what_a_phone_says_of_its_protection_is_not_believed(lie: str) -> None:
    """Row 14 (TS 24.229 7.2A.2): the P-CSCF alone writes it."""
    async with home({"s-cscf": {"reauthenticate": "initial-only"}}, tracing=True) as net:
        phone = await net.registered("alice")
        credentials = f"{phone.empty_credentials()},{lie}"
        octets = phone.register().to_bytes().replace(str(phone.empty_credentials()).encode(), credentials.encode())
        net.network.context.events.recent.clear()
        phone.send(octets)
        answer = await phone.take(lambda message: isinstance(message, Response) and message.is_final)
        assert isinstance(answer, Response) and answer.status in (400, 401)
        for text in net.seen_at("i-cscf", "s-cscf"):
            assert not text.startswith("REGISTER") or text.lower().count('integrity-protected="no"') == 1
            assert text.lower().count("integrity-protected") <= 1


async def test_integrity_protected_twice_is_refused() -> None:
    """Row 14: two of them, so that two readers may read differently."""
    async with home() as net:
        phone = await net.registered("alice")
        doubled = str(phone.empty_credentials()) + ',integrity-protected="no",integrity-protected="yes"'
        request = phone.register()
        request.set("Authorization", doubled)
        assert (await phone.ask(request)).status == 400


@pytest.mark.parametrize("claim", ["yes", "auth-done", "tls-yes", "no"])
async def test_the_s_cscf_believes_no_stranger(claim: str) -> None:
    """Rows 15 and 67: a REGISTER straight to the S-CSCF, from an address that is no core node's."""
    async with home() as net:
        stranger = await net.stranger("s-cscf", name="alice")
        request = stranger.register(stranger.empty_credentials().with_param("integrity-protected", claim))
        stranger.send(request)
        assert await refused_or_silent(stranger, request)
        assert not net.events(Registered)


async def refused_or_silent(client: Client, request: Request) -> bool:
    try:
        return (await client.final(request, 0.3)).status == 403
    except TimeoutError:
        return True


async def test_a_private_identity_registers_its_own_public_identities_only() -> None:
    """Row 16 (TS 33.203 6.1.1)."""
    async with home() as net:
        alice = await net.phone("alice")
        answer = await alice.registers(impu=net.impu("bob"))
        assert answer.status == 403
        assert not net.events(Registered)
        assert any(check.fault.value == "identity" for check in net.failed("bob"))


async def test_a_new_register_ends_the_older_challenge_of_the_same_contact() -> None:
    """Row 17: the first answer is refused, the second counts."""
    async with home() as net:
        phone = await net.phone("alice")
        first = await phone.challenged()
        second = await phone.challenged()
        late = phone.answer(first)
        assert (await phone.ask(phone.register(late))).status in (401, 403)
        phone.challenge = second
        other = await net.phone("bob")
        await other.challenged()
        assert (await other.ask(other.register(other.answer()))).status == 200, "nobody else is concerned"


async def test_a_challenge_of_another_contact_stays_open() -> None:
    """Row 17: only of that contact."""
    async with home() as net:
        one, two = await net.phone("alice"), await net.phone("alice")
        two.card = one.card  # one card, two clients of it
        await one.challenged()
        await two.challenged()
        assert (await one.ask(one.register(one.answer()))).status == 200
        assert (await two.ask(two.register(two.answer()))).status == 200


async def test_a_guesser_is_slowed_and_the_true_user_served() -> None:
    """Row 18: fifty guesses from one address; an alarm; the user at another address registers."""
    async with home() as net:
        guesser = await net.phone("alice", host="127.0.0.3")
        statuses = []
        for _ in range(50):
            answer = await guesser.challenged()
            if answer.status == 401:
                answer = await guesser.ask(guesser.register(guesser.answer(password=Secret(b"guess"))))
            statuses.append(answer.status)
        assert set(statuses[-20:]) <= {503, 429, 403} and 503 in statuses
        assert any(notice.level == "alarm" for notice in net.events(Notice))
        assert (await (await net.phone("alice")).registers()).status == 200


async def test_a_replayed_answer_is_refused() -> None:
    """Rows 5, 20 and "a replayed response": the very octets that registered, and the same nonce in a new REGISTER."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        credentials = phone.answer()
        assert (await phone.ask(phone.register(credentials))).status == 200
        again = await phone.ask(phone.register(credentials))
        assert again.status == 401
        thief = await net.phone("alice")
        thief.call_id = phone.call_id
        thief.cseq = 100
        assert (await thief.ask(thief.register(credentials))).status in (401, 403)
        assert len(net.events(Registered)) == 1


async def test_a_user_deregisters_and_is_gone() -> None:
    """TS 24.229 5.4.1.4."""
    async with home() as net:
        alice, bob = await net.registered("alice"), await net.registered("bob")
        assert (await alice.registers(expires="0")).status == 200
        await net.settled()
        assert [event.cause for event in net.events(Deregistered)] == ["user"]
        answer = await bob.ask(bob.make("MESSAGE", net.impu("alice")))
        assert answer.status in (404, 480)


async def test_the_operator_deregisters_and_the_phone_may_come_back() -> None:
    """TS 29.228 6.1.3, RTR."""
    async with home() as net:
        alice = await net.registered("alice")
        await net.hss.administration.deregister(alice.card.impi)
        await net.settled()
        assert [event.cause for event in net.events(Deregistered)] == ["network"]
        assert (await alice.ask(alice.make("MESSAGE", net.impu("bob")))).status == 403
        assert (await alice.registers()).status == 200


async def test_no_event_carries_a_key_or_a_response() -> None:
    """Security decision 3: what the event stream keeps, traces included, holds no key and no RES."""
    async with home(tracing=True) as net:
        phone = await net.registered("alice")
        kept = " ".join(map(repr, net.network.context.events.recent))
        assert net.events(Check)
        for secret in keys_of(phone):
            assert secret.hex() not in kept.lower()
            assert base64.b64encode(secret).decode() not in kept


async def test_a_phone_whose_registration_ended_unheard_at_the_hss_registers_again() -> None:
    """The RTR was lost: the HSS refuses the re-registration (TS 29.228 6.1.2.1), the user is there all the same."""
    async with home() as net:
        alice = await net.registered("alice")
        net.hss.clients = net.hss.administration._clients = SCscfs(net.hss.servers, net.hss.subscriptions)
        assert await net.hss.administration.deregister(alice.card.impi) is Told.UNREACHABLE
        assert (await alice.registers()).status == 200
        (state,) = (await net.hss.administration.show(alice.card.impi)).assignment.sets
        assert state.state is RegistrationState.REGISTERED
        assert await message_arrives(await net.registered("bob"), alice)
