"""What answers tell a stranger: rows 77 and 78, and 110, what a stranger may cost the HSS."""

import re
from collections import Counter

import pytest

from redoubt.events import MessageSeen
from redoubt.secret import Secret
from redoubt.sip.fields import WWW_AUTHENTICATE
from redoubt.sip.message import Response

from .calls import pair
from .client import Client, fresh
from .home import home


def shape(response: Response) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Status, headers and their lengths, without what differs from request to request."""
    challenge = response.first(WWW_AUTHENTICATE)
    sizes = tuple((name, len(value)) for name, value in challenge_parts(challenge)) if challenge else ()
    names = tuple((name, 0) for name, _ in response.headers)
    return response.status, (*names, *sizes)


def challenge_parts(challenge: object) -> list[tuple[str, str]]:
    return [(name, value) for name, value, _ in getattr(challenge, "params", ())]


async def test_known_and_unknown_users_are_answered_alike_to_each_guess() -> None:
    """Row 77: the same status, headers and lengths at each step, also when the guesser is slowed down."""
    async with home() as net:
        courses = []
        for name, host in (("alice", "127.0.0.3"), ("zelda", "127.0.0.4")):
            phone = await net.phone(name, host=host)
            course = []
            for _ in range(8):
                answer = await phone.challenged()
                course.append(shape(answer))
                if answer.status == 401:
                    course.append(shape(await phone.ask(phone.register(phone.answer(answer, Secret(b"guess"))))))
            courses.append(course)
        assert courses[0] == courses[1]


async def test_known_and_unknown_users_are_answered_alike_to_a_flood() -> None:
    """Row 77: the ceiling on unanswered challenges tells nobody who is a user."""
    async with home() as net:
        courses = []
        for name, host in (("alice", "127.0.0.3"), ("zelda", "127.0.0.4")):
            phone = await net.phone(name, host=host)
            asked = [await phone.challenged(contact=f"<sip:c{number}@{host}>") for number in range(12)]
            courses.append([shape(answer) for answer in asked])
        assert courses[0] == courses[1]


async def test_a_decoy_challenge_is_never_met() -> None:
    """Row 77: nothing registers a user that doesn't exist."""
    async with home() as net:
        phone = await net.phone("nobody")
        assert (await phone.registers()).status == 403
        assert any(check.seen == "USER_UNKNOWN" for check in net.failed("nobody")), "the operator is told"


async def test_strangers_learn_nothing_of_users_from_other_requests() -> None:
    """Row 77: without registration every identity is answered alike; a registered caller gets 404 and 480."""
    async with home() as net:
        stranger = await net.phone("mallory")
        known = await stranger.ask(stranger.make("OPTIONS", net.impu("alice")))
        unknown = await stranger.ask(stranger.make("OPTIONS", net.impu("nobody")))
        assert shape(known) == shape(unknown)
        bob = await net.registered("bob")
        assert (await bob.ask(bob.make("MESSAGE", net.impu("nobody")))).status == 404
        assert (await bob.ask(bob.make("MESSAGE", net.impu("alice")))).status == 480


TELLING = re.compile(rb"(?im)^(server|user-agent|warning|x-[a-z-]+|retry-info)\s*:|traceback|redoubt|\.py\b")


async def test_no_answer_names_software_or_inner_hosts() -> None:
    """Row 78: all answers to strangers, good input and bad, are searched."""
    async with home() as net:
        phone = await net.phone("alice")
        await phone.challenged()
        await phone.ask(phone.register(phone.answer(password=Secret(b"no"))))
        for method in ("OPTIONS", "INVITE", "MESSAGE", "PUBLISH", "SUBSCRIBE", "BYE", "FOO"):
            await phone.ask(phone.make(method, net.impu("bob")))
        for name, value in (
            ("Max-Forwards", "0"), ("Max-Forwards", "x"), ("Contact", "<"), ("Authorization", "Digest"), ("Via", "?"),
            ("Proxy-Require", "nothing"), ("Expires", "-1"),
        ):  # fmt: skip
            request = phone.register()
            if name == "Via":
                request.add(name, value)
            else:
                request.set(name, value)
            await phone.ask(request)
        assert len(phone.received) >= 14
        inside = [f"127.0.0.1:{net.address_of(name)[1]}".encode() for name in ("i-cscf", "s-cscf")]
        for message in phone.received:
            octets = message.to_bytes()
            assert not TELLING.search(octets), octets
            assert not any(address in octets for address in inside), octets
            assert not re.search(rb"[si]cscf\.", octets), octets


async def test_a_registered_phone_is_told_no_software_either() -> None:
    """Row 78: a Server or Warning of the called phone's network side stays inside."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make("MESSAGE", bob.card.impu)
        alice.send(request)
        bob.respond(await bob.request("MESSAGE"), 486, ("Warning", '399 host "text"'), ("Server", "Phone 1.0"))
        answer = await alice.final(request)
        assert not answer.has("Server") and not answer.has("Warning")


def asked(events: list[MessageSeen]) -> Counter[str]:
    """How often each Cx command was sent."""
    return Counter(event.text.split()[0] for event in events if event.transport == "cx" and event.receiver == "hss")


async def test_an_unauthenticated_register_costs_two_questions_to_the_hss() -> None:
    """Row 110: UAR and MAR; for random users UAR alone or both, never more."""
    async with home(tracing=True) as net:
        for number in range(20):
            phone = await net.phone("alice" if number == 0 else fresh("random"))
            await phone.challenged()
        commands = asked(net.events(MessageSeen))
        assert set(commands) <= {"UAR", "MAR"}
        assert commands["UAR"] <= 20 and commands["MAR"] <= 20


async def test_vectors_are_fetched_one_at_a_time_while_challenges_stand_open() -> None:
    """Row 110: an attack must not drain a user's vectors by the handful."""
    async with home({"s-cscf": {"vectors-per-request": 3}}, tracing=True) as net:
        for number in range(5):
            phone = await net.phone("alice")
            assert (await phone.challenged(contact=f"<sip:x{number}@127.0.0.1>")).status == 401
        requests = [event.text for event in net.events(MessageSeen) if event.text.startswith("MAR ")]
        assert [text.rpartition(" for ")[2].split()[0] for text in requests] == ["3", "1", "1"]


async def test_a_user_gets_so_many_unanswered_vectors_and_no_more() -> None:
    """Row 110: a flood in one user's name; the ceiling holds, another user registers."""
    async with home({"hss": {"max-pending-per-user": 7}}) as net:
        statuses = []
        for number in range(12):
            flooder = await net.phone("alice", host="127.0.0.3")
            statuses.append((await flooder.challenged(contact=f"<sip:x{number}@127.0.0.3>")).status)
        assert statuses.count(401) <= 7 and statuses[-1] == 503
        assert (await (await net.phone("bob")).registers()).status == 200


async def test_a_flood_in_a_registered_users_name_leaves_the_user_registered() -> None:
    """Rows 18 and 110: calls still arrive."""
    async with home({"hss": {"max-pending-per-user": 7}}) as net:
        alice, bob = await pair(net)
        for number in range(10):
            flooder = await net.phone("alice", host="127.0.0.3")
            await flooder.challenged(contact=f"<sip:x{number}@127.0.0.3>")
        await reached(bob, alice)


async def reached(sender: Client, receiver: Client) -> None:
    request = sender.make("MESSAGE", receiver.card.impu)
    sender.send(request)
    receiver.respond(await receiver.request("MESSAGE"), 200)
    assert (await sender.final(request)).status == 200


@pytest.mark.parametrize("method", ["FOO", "PUBLISH"])
async def test_a_method_that_nobody_serves_is_passed_to_the_called_phone(method: str) -> None:
    """RFC 3261 16: a proxy knows no methods; the phone answers."""
    async with home() as net:
        alice, bob = await pair(net)
        request = alice.make(method, bob.card.impu)
        alice.send(request)
        bob.respond(await bob.request(method), 405)
        assert (await alice.final(request)).status == 405
