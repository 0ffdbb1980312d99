"""A phone that forgot everything comes back from the ports that it had: reboot, flight mode (TS 33.203 7.4.1, 7.5)."""

import pytest
from msgspec.structs import replace

from redoubt.gm.admission import Attempt
from redoubt.gm.agreement import Mode, choose, client_list, written
from redoubt.gm.association_set import AssociationSet, EndsTaken
from redoubt.gm.states import State
from redoubt.sip.errors import SipError
from redoubt.transport.flow import Flow

from .sets import ALICE, BOB, IMPU, POLICY, Ducts, Node, after, virtually


def again(node: Node, old: AssociationSet, *, same_spis: bool = False) -> Attempt:
    """An unprotected attempt from the ports of a living set."""
    fresh, had = node.ends(), old.agreement.phone
    ends = had if same_spis else replace(had, spi_c=fresh.spi_c, spi_s=fresh.spi_s)
    client = client_list(POLICY, ends)
    return replace(node.attempt(), client=written(client), offer=choose(POLICY, Mode.TRANSPORT, client))


@pytest.mark.parametrize("same_spis", [False, True])
def test_it_is_challenged_and_wins_when_it_proves_itself_and_not_before(same_spis: bool) -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        new = node.admission.prepare(again(node, old, same_spis=same_spis))
        assert (old.state, new.state) == (State.IN_USE, State.TEMPORARY)
        assert node.associations.outgoing(ALICE) is old
        node.associations.received(new)
        assert node.associations.outgoing(ALICE) is old
        assert node.associations.registered(new, IMPU, 3600)
        assert (old.state, new.state) == (State.ENDED, State.IN_USE)

    virtually(story)


class OnePlace(Ducts):
    """A path that tells sets apart by the phone's SPIs, as a kernel does."""

    def install(self, association_set: AssociationSet) -> Flow:
        spi = association_set.agreement.phone.spi_s
        if any(each.agreement.phone.spi_s == spi for each in self.installed.values()):
            raise EndsTaken("the SPI is in use")
        return super().install(association_set)


def test_where_its_old_spis_can_not_be_told_from_new_ones_it_is_asked_for_others_at_once() -> None:
    async def story(node: Node) -> None:
        node.associations._path = node.ducts = OnePlace()
        old = node.authenticate()
        with pytest.raises(SipError) as refused:
            node.admission.prepare(again(node, old, same_spis=True))
        assert (refused.value.status, "Security-Server" in dict(refused.value.headers)) == (494, True)
        assert list(node.associations.sets.values()) == [old]
        assert node.allocator.spis_in_use == 2
        node.admission.prepare(again(node, old))

    virtually(story)


def test_a_second_challenge_that_can_not_be_told_from_the_first_ends_the_attempt() -> None:
    async def story(node: Node) -> None:
        node.associations._path = node.ducts = OnePlace()
        first = node.challenge()
        node.associations.received(first)
        with pytest.raises(SipError) as refused:  # its answer repeats the list of the first, and so the SPIs
            node.admission.prepare(replace(again(node, first, same_spis=True), over=first))
        assert (refused.value.status, refused.value.headers) == (403, ())
        assert node.allocator.spis_in_use == 2

    virtually(story)


def test_no_two_sets_have_the_same_ports_at_both_ends() -> None:
    async def story(node: Node) -> None:
        sets = [node.authenticate()]
        sets.append(node.admission.prepare(again(node, sets[0])))
        assert len({(each.agreement.phone.port_c, each.agreement.network.port_s) for each in sets}) == 2
        assert len({(each.agreement.phone.port_s, each.agreement.network.port_c) for each in sets}) == 2

    virtually(story)


def test_an_impostor_from_the_phones_ports_disturbs_nothing() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        for _ in range(20):
            node.admission.prepare(again(node, old))
        renewed = node.authenticate(over=old)
        assert renewed.agreement.network.port_s == old.agreement.network.port_s
        await after(241)
        assert set(node.associations.sets.values()) == {old, renewed}

    virtually(story)


def test_a_phone_that_reboots_every_minute_is_never_refused() -> None:
    async def story(node: Node) -> None:
        living = node.authenticate()
        for _ in range(100):
            await after(60)
            back = node.admission.prepare(again(node, living))
            node.associations.received(back)
            assert node.associations.registered(back, IMPU, 3600)
            living = back
        assert list(node.associations.sets.values()) == [living]
        node.authenticate(BOB, port_s=31003)

    virtually(story)


def test_a_phone_that_never_saw_the_200_of_its_newest_set_is_reached_on_the_next() -> None:
    """It repeats SM7, which puts the new set into use here, gives up, and begins again on the set that it still has."""

    async def story(node: Node) -> None:
        old = node.authenticate()
        unseen = node.authenticate(over=old)
        node.associations.received(unseen)  # SM7 once more
        assert (old.state, unseen.state) == (State.OLD, State.IN_USE)
        await after(40)
        new = node.authenticate(over=old)
        assert (unseen.state, new.state) == (State.OLD, State.IN_USE)
        assert node.associations.outgoing(ALICE) is new

    virtually(story)


def test_an_unseen_set_that_was_not_taken_into_use_leaves_what_protects_the_phone_alone() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        unseen = node.authenticate(over=old)
        new = node.authenticate(over=old)
        assert (old.state, unseen.state, new.state) == (State.IN_USE, State.OLD, State.ESTABLISHED)
        node.associations.received(new)
        assert (old.state, new.state) == (State.OLD, State.IN_USE)

    virtually(story)


def test_a_second_challenge_counts_as_begun_where_the_first_did() -> None:
    async def story(node: Node) -> None:
        old = node.authenticate()
        first = node.challenge(over=old)
        node.associations.received(first)
        again = node.challenge(over=first)
        node.associations.failed(first)
        node.associations.received(again)
        assert node.associations.registered(again, IMPU, 3600)
        assert (old.state, again.state) == (State.IN_USE, State.ESTABLISHED)

    virtually(story)
