"""SPIs and ports (TS 33.203 7.1): never reserved, never shared, all given back."""

import pytest

from redoubt.gm.agreement import Ends
from redoubt.gm.allocation import Allocator, NothingLeft, Taken
from redoubt.sources import SeededRandomness

HERE = "10.0.0.1"


def allocator(server: range = range(6001, 6003), client: range = range(6101, 6105)) -> Allocator:
    return Allocator(SeededRandomness(1), server, client)


def phone(number: int) -> Ends:
    return Ends(1000 + 2 * number, 1001 + 2 * number, 30000 + 2 * number, 30001 + 2 * number)


class Script:
    """Randomness that says what the test wants."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def octets(self, count: int) -> bytes:
        return self._numbers.pop(0).to_bytes(count, "big")


def test_reserved_and_used_spis_and_those_of_the_phone_are_passed_over() -> None:
    script = Script(0, 255, 1000, 1001, 300, 300, 2**32 - 1, 300, 2**32 - 1, 500, 600)
    given = Allocator(script, [6001], range(6101, 6105))
    first = given.allocate("a", HERE, phone(0))
    assert (first.spi_c, first.spi_s) == (300, 2**32 - 1)
    second = given.allocate("a", HERE, phone(1))
    assert (second.spi_c, second.spi_s) == (500, 600)


def test_sets_of_one_phone_share_the_server_port_and_no_client_port() -> None:
    given = allocator()
    sets = [given.allocate("a", HERE, phone(n)) for n in range(4)]
    assert len({each.port_s for each in sets}) == 1
    assert len({each.port_c for each in sets}) == 4


def test_phones_at_one_address_are_spread_over_the_server_ports() -> None:
    given = allocator()
    assert given.allocate("a", HERE, phone(0)).port_s != given.allocate("b", HERE, phone(1)).port_s


def test_a_server_port_that_phones_have_left_is_the_next_ones() -> None:
    given = allocator()
    first, second = (given.allocate(name, HERE, phone(n)) for n, name in enumerate("ab"))
    third = given.allocate("c", HERE, phone(2))
    given.release("a", HERE, first, phone(0))
    given.release("c", HERE, third, phone(2))
    assert given.allocate("d", HERE, phone(3)).port_s == first.port_s != second.port_s


@pytest.mark.parametrize("again", [Ends(300, 701, 6103, 6001), Ends(700, 301, 6103, 6001), Ends(700, 701, 6102, 6001)])
def test_what_a_former_process_is_said_to_have_given_twice_is_taken_over_once(again: Ends) -> None:
    given = allocator()
    given.adopt("a", HERE, Ends(300, 301, 6102, 6001), phone(0))
    with pytest.raises(Taken):
        given.adopt("b", HERE, again, phone(1))
    assert given.spis_in_use == 2


def test_a_phone_keeps_its_server_port_until_its_last_set_is_gone() -> None:
    given = allocator()
    first = given.allocate("a", HERE, phone(0))
    given.allocate("b", HERE, phone(1))
    given.allocate("c", HERE, phone(2))
    second = given.allocate("a", HERE, phone(3))
    given.release("a", HERE, first, phone(0))
    assert given.allocate("a", HERE, phone(4)).port_s == second.port_s


@pytest.mark.parametrize(
    "theirs",
    [Ends(5000, 5001, 30000, 40000), Ends(5000, 5001, 40000, 30001), Ends(1000, 5001, 40000, 40001)],
    ids=["client port", "server port", "SPI"],
)
def test_nobody_takes_the_ports_or_spis_of_another_phone_at_the_same_address(theirs: Ends) -> None:
    given = allocator()
    given.allocate("a", HERE, phone(0))
    with pytest.raises(Taken):
        given.allocate("b", HERE, theirs)
    given.allocate("b", "10.0.0.2", theirs)
    given.allocate("a", HERE, theirs)  # its own: a phone that came back from flight mode


def test_when_the_client_ports_are_used_up_an_attempt_fails_and_leaves_nothing() -> None:
    given = allocator()
    sets = [given.allocate(n, HERE, phone(n)) for n in range(4)]
    with pytest.raises(NothingLeft):
        given.allocate(9, HERE, phone(9))
    given.release(0, HERE, sets[0], phone(0))
    assert given.allocate(9, HERE, phone(9)).port_c == sets[0].port_c


def test_a_client_port_given_back_rests_while_others_are_free() -> None:
    given = allocator()
    first = given.allocate("a", HERE, phone(0))
    given.allocate("a", HERE, phone(1))
    given.release("a", HERE, first, phone(0))
    assert given.allocate("a", HERE, phone(2)).port_c not in {first.port_c}


def test_all_that_was_given_comes_back() -> None:
    given = allocator()
    sets = [given.allocate(n % 2, HERE, phone(n)) for n in range(4)]
    for n, ours in enumerate(sets):
        given.release(n % 2, HERE, ours, phone(n))
    assert (given.spis_in_use, given.addresses_in_use) == (0, 0)


def test_unprotected_ports_are_none_for_protection() -> None:
    with pytest.raises(ValueError, match="5060"):
        allocator(range(5060, 5061))
    with pytest.raises(ValueError, match="separate"):
        allocator(range(6101, 6103))


def test_a_phone_that_forgot_its_set_and_comes_back_from_the_same_port_gets_another_server_port() -> None:
    given = allocator()
    old = given.allocate("a", HERE, phone(0))
    again = phone(7)
    back = Ends(again.spi_c, again.spi_s, phone(0).port_c, phone(0).port_s)
    new = given.allocate("a", HERE, back)
    assert new.port_s != old.port_s
    assert new.port_c != old.port_c
    assert given.allocate("a", HERE, phone(3), keep=old.port_s).port_s == old.port_s  # who did not forget keeps his
    given.release("a", HERE, old, phone(0))
    assert given.allocate("a", HERE, phone(4), keep=new.port_s).port_s == new.port_s


def test_without_another_server_port_the_phone_is_still_served() -> None:
    given = allocator(range(6001, 6002))
    sets = [given.allocate("a", HERE, phone(0)) for _ in range(3)]
    assert {each.port_s for each in sets} == {6001}
    for ours in sets:
        given.release("a", HERE, ours, phone(0))
    assert (given.spis_in_use, given.addresses_in_use, given._pairs) == (0, 0, {})


def test_phones_of_one_inner_address_behind_different_nats_have_no_pair_of_ports_in_common() -> None:
    given = allocator()
    pairs = set()
    for number, outer in enumerate(("203.0.113.1", "203.0.113.2")):
        ours = given.allocate(number, outer, phone(0), "192.168.1.2")
        pairs |= {(phone(0).port_c, ours.port_s), (phone(0).port_s, ours.port_c)}
    assert len(pairs) == 4
