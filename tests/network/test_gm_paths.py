"""Which ways ESP has is the operator's choice and the machine's ability; what is missing is said at start."""

import pytest

from redoubt.config import ConfigError
from redoubt.events import EventStream, Notice
from redoubt.gm.agreement import Mode
from redoubt.network.configuration import from_tree
from redoubt.network.gm_paths import transport_addresses
from redoubt.network.run import Network
from redoubt.phone.profiles import IPHONE
from redoubt.transport.raw import lacks_raw
from redoubt.transport.xfrm import lacks_esp

from .handsets import field

HERE = "127.0.0.1"
without_esp = pytest.mark.skipif(not lacks_esp(HERE), reason="this kernel has ESP")


def addresses(*listen: str, address: str = "") -> list[str]:
    gm = {"path": "auto", "address": address}
    return transport_addresses(from_tree({"p-cscf": {"listen": list(listen)}, "gm": gm}))


def test_transport_mode_is_at_the_addresses_where_phones_register() -> None:
    assert addresses("udp:192.0.2.1:5060", "tcp:192.0.2.1:5060", "udp:[2001:db8::1]:5060") == [
        "192.0.2.1", "2001:db8::1"
    ]  # fmt: skip
    assert addresses("udp:127.0.0.1:5060", "udp:192.0.2.1:5060") == ["192.0.2.1"]
    assert addresses("udp:0.0.0.0:5060", address="192.0.2.1") == ["192.0.2.1"]


@pytest.mark.parametrize("listen", [["udp:192.0.2.1:5060", "udp:192.0.2.2:5060"], ["udp:0.0.0.0:5060"]])
def test_an_address_that_is_not_clear_has_to_be_written(listen: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"write it as \[gm\] address"):
        addresses(*listen)


@without_esp
async def test_a_kernel_without_esp_is_named_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"\[gm\] path = .kernel.: kernel: the kernel has no (ESP|IPsec).*modprobe"):
        await Network.temporary({"gm": {"path": "kernel"}})


@without_esp
@pytest.mark.skipif(bool(lacks_raw(HERE)), reason="needs CAP_NET_RAW")
async def test_auto_takes_raw_sockets_where_the_kernel_has_no_esp() -> None:
    network = await Network.temporary({"gm": {"path": "auto"}})
    assert network.gm is not None
    assert network.gm.described[-1] == f"ESP in transport mode at {HERE}, by this process"
    await network.close()


@without_esp
async def test_auto_without_a_way_serves_phones_by_esp_in_udp_and_says_what_is_missing() -> None:
    elsewhere = "203.0.113.7"  # no address of this machine: no raw socket, and no kernel
    events = EventStream()
    network = await Network.temporary({"gm": {"path": "auto", "address": elsewhere}}, events=events)
    assert network.gm is not None
    assert [way.partition(" at ")[0] for way in network.gm.described] == ["ESP in UDP"]
    [alarm] = [event for event in events.recent if isinstance(event, Notice) and event.level == "alarm"]
    assert "no transport mode here. kernel: " in alarm.what and "raw: " in alarm.what
    assert "494" in alarm.advice
    await network.close()


async def test_ipsec_without_any_way_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"write \[gm\] listen, or path = .auto."):
        await Network.temporary({"gm": {"listen": []}})


@without_esp
@pytest.mark.skipif(bool(lacks_raw(HERE)), reason="needs CAP_NET_RAW")
async def test_a_phone_on_the_p_cscfs_own_machine_has_no_wire_for_transport_mode_and_gets_esp_in_udp() -> None:
    """Whatever it offers first: what it sent would be the P-CSCF's own to the raw socket."""
    async with field({"path": "raw"}) as net:
        alice = await net.registered("alice", profile=IPHONE)
        assert [each.agreement.mode for each in net.sets()] == [Mode.UDP_TUNNEL]
        assert (await alice.deregister()).status == 200


@pytest.mark.parametrize(
    ("host", "tunnel", "warned"),
    [("0.0.0.0", "127.0.0.1", True), ("0.0.0.0", "0.0.0.0", False), ("127.0.0.1", "127.0.0.1", False)],
)
async def test_esp_in_udp_on_loopback_for_phones_elsewhere_is_warned_of(host: str, tunnel: str, warned: bool) -> None:
    events = EventStream()
    tree = {"p-cscf": {"listen": [f"udp:{host}:0"]}, "gm": {"listen": [f"udp:{tunnel}:0"]}}
    network = await Network.temporary(tree, events=events)
    await network.close()
    told = [event.advice for event in events.recent if isinstance(event, Notice) and event.level == "warning"]
    assert told == ([f'write [gm] listen = ["udp:{host}:4500"]'] if warned else [])
