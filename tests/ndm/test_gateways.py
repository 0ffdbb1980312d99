"""Tunnels between security gateways (TS 33.210 5): set up, counted, refused with the cause, fallen and come back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .gateway_certificates import Authority
from .hostile_wire import ENDS, INSIDE_6, UDP, Operators
from .tunnels import KEY, NETWORKS, Tunnels, tunnels, until

PORT = 7000
CERTIFICATE = {"authentication": "certificate", "secret_file": ""}


def exchange(hosts: Operators, count: int, ends: tuple[str, str] = (ENDS["a"][1], ENDS["b"][1])) -> int:
    """So many datagrams from inside network a to inside network b and back; how many made it."""
    text = b"in clear inside"
    with hosts.udp("a", (ends[0], PORT)) as ours, hosts.udp("b", (ends[1], PORT)) as theirs:
        came = 0
        for _ in range(count):
            ours.sendto(text, theirs.getsockname())
            try:
                theirs.sendto(*theirs.recvfrom(2000))
                came += ours.recv(2000) == text
            except TimeoutError:
                break
    return came


@pytest.mark.parametrize("ike", [2, 1])
async def test_two_gateways_carry_packets_that_nobody_between_can_read(
    hosts: Operators, tmp_path: Path, ike: int
) -> None:
    async with tunnels(hosts, tmp_path) as net:
        net.begin(ike=ike)
        await net.stand()
        assert exchange(hosts, 20) == 20
        await until(lambda: net.a.row.encaps == net.b.row.verify == 20, lambda: f"{net.a.row}")
        row = net.a.row
        assert (row.encrypt, row.digest, row.decaps, row.decrypt, row.verify) == (20, 20, 20, 20, 20)
        assert row.receive_errors == row.send_errors == 0
        assert row.ike.startswith(f"IKEv{ike} AES") and "ECP_384" in row.ike and row.esp.startswith("AES_GCM_16-256")
        assert 0 < row.renewed_in_s < row.left_s
        assert len(row.spi_in) == len(row.spi_out) == 8 and row.spi_in != row.spi_out
        assert not hosts.wire.clear() and not hosts.wire.contains(b"in clear")


async def test_a_tunnel_carries_ipv6_beside_ipv4(hosts: Operators, tmp_path: Path) -> None:
    both = {"a": (NETWORKS["a"], "fd01::/64"), "b": (NETWORKS["b"], "fd02::/64")}
    async with tunnels(hosts, tmp_path) as net:
        net.a.begin(local_networks=both["a"], remote_networks=both["b"])
        net.b.begin(local_networks=both["b"], remote_networks=both["a"])
        await net.stand()
        assert exchange(hosts, 3) == 3
        assert exchange(hosts, 3, (INSIDE_6["a"], INSIDE_6["b"])) == 3
        assert not hosts.wire.contains(b"in clear")


async def test_gateways_prove_themselves_by_certificates(hosts: Operators, tmp_path: Path) -> None:
    async with tunnels(hosts, tmp_path) as net:
        begin_with_certificates(net, tmp_path)
        await net.stand()
        assert exchange(hosts, 3) == 3


async def test_a_partner_that_is_revoked_later_has_to_prove_itself_again_and_cannot(
    hosts: Operators, tmp_path: Path
) -> None:
    ours, theirs = Authority("ours", tmp_path / "ca-a"), Authority("theirs", tmp_path / "ca-b")
    issued = theirs.issue(ENDS["b"][0])
    async with tunnels(hosts, tmp_path) as net:
        lists = theirs.list_revoked()
        mine = ours.issue(ENDS["a"][0]).options()
        net.a.begin(**CERTIFICATE, **mine, authority=str(theirs.file), revoked=str(lists))
        net.b.begin(**CERTIFICATE, **issued.options(), authority=str(ours.file))
        await net.stand()
        theirs.list_revoked(number=2)  # a new list that does not name it
        await until(lambda: any("loaded again" in str(event) for event in net.a.events), net.why)
        await asyncio.sleep(0.5)
        assert net.a.stands and net.b.stands and exchange(hosts, 3) == 3
        theirs.list_revoked(issued, number=3)
        await until(lambda: not net.a.stands and not net.b.stands, net.why)
        assert any("is revoked" in why for why in net.a.refusals()), net.why()
        lists.write_text("no list at all")
        await until(lambda: any("go on with what was loaded" in alarm for alarm in net.a.alarms()), net.why)


async def test_packets_that_were_changed_or_repeated_on_the_way_are_dropped_and_counted(
    hosts: Operators, tmp_path: Path
) -> None:
    async with tunnels(hosts, tmp_path) as net:
        net.begin()
        await net.stand()
        hosts.wire.alter = lambda side, frame: (
            [flipped(frame), frame, frame] if side == "a" and is_esp(frame) else [frame]
        )
        assert exchange(hosts, 5) == 5
        await until(lambda: net.b.row.verify == 5 and net.b.row.receive_errors == 10, lambda: f"{net.b.row}")
        assert net.b.row.decaps == 15


def flipped(frame: bytes) -> bytes:
    """Another last bit, and no UDP checksum, which would give it away to the kernel."""
    return frame[:40] + bytes(2) + frame[42:-1] + bytes([frame[-1] ^ 1])


def is_esp(frame: bytes) -> bool:
    """ESP in UDP (RFC 3948): port 4500, and no zeros where IKE has a marker."""
    return frame[36:38] == (4500).to_bytes(2) and frame[23] == UDP and frame[42:46] != bytes(4) and len(frame) > 60


async def test_weak_proposals_are_agreed_on_only_explicitly_and_said_so(hosts: Operators, tmp_path: Path) -> None:
    """What seed 001 shows: 3DES, MD5 and group 2 under IKEv1."""
    weak = {"ike": 1, "ike_proposals": ("3des-md5-modp1024",), "esp_proposals": ("3des-md5-modp1024",)}
    async with tunnels(hosts, tmp_path) as net:
        net.begin(legacy=True, **weak)
        await net.stand()
        assert net.a.row.esp == "3DES_CBC/HMAC_MD5_96/MODP_1024"
        assert any("3DES has blocks of 64 bit" in str(event) for event in net.a.events)


def begin_with_certificates(net: Tunnels, folder: Path, **b: Any) -> tuple[Authority, Authority]:
    """Each operator has an authority of its own, whom the other believes; side b may differ."""
    ours, theirs = Authority("ours", folder / "ca-a"), Authority("theirs", folder / "ca-b")
    mine = ours.issue(ENDS["a"][0]).options()
    lists = {"revoked": str(theirs.list_revoked())}
    net.a.begin(**CERTIFICATE, **mine, **{"authority": str(theirs.file), **lists, **b.pop("at_a", {})})
    options = {**theirs.issue(ENDS["b"][0]).options(), "authority": str(ours.file), **b}
    net.b.begin(**CERTIFICATE, **options)
    return ours, theirs


@pytest.mark.parametrize("ike", [2, 1])
async def test_a_wrong_key_is_refused_with_its_cause(hosts: Operators, tmp_path: Path, ike: int) -> None:
    (tmp_path / "b.psk").write_text(KEY[::-1])
    async with tunnels(hosts, tmp_path) as net:
        net.begin(ike=ike)
        await until(lambda: any("pre-shared keys differ" in why for why in net.a.refusals()), net.why)
        assert not net.a.stands and not net.b.stands
        assert exchange(hosts, 1) == 0 and not hosts.wire.clear()


WRONG = {
    "of another authority": "signed by someone else",
    "expired": "has expired",
    "not yet valid": "not valid yet",
    "revoked": "is revoked",
    "of another name": "proves the partner's identity",
    "with an expired list": "no valid revocation list",
    "without a list": "no valid revocation list",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_certificate_is_refused_with_its_cause(hosts: Operators, tmp_path: Path, wrong: str) -> None:
    ours, theirs, other = (Authority(name, tmp_path / name) for name in ("ours", "theirs", "other"))
    name = ENDS["b"][0]
    issued = theirs.issue(name)
    lists = theirs.list_revoked()
    match wrong:
        case "of another authority":
            issued = other.issue(name)
        case "expired":
            issued = theirs.issue(name, days=(-3, -1))
        case "not yet valid":
            issued = theirs.issue(name, days=(1, 3))
        case "revoked":
            lists = theirs.list_revoked(issued)
        case "of another name":
            issued = theirs.issue("198.51.100.7")
        case "with an expired list":
            lists = theirs.list_revoked(days=(-3, -1))
        case "without a list":
            lists = other.list_revoked()
    async with tunnels(hosts, tmp_path) as net:
        net.a.begin(**CERTIFICATE, **ours.issue(ENDS["a"][0]).options(), authority=str(theirs.file), revoked=str(lists))
        net.b.begin(**CERTIFICATE, **issued.options(), authority=str(ours.file))
        await until(lambda: any(WRONG[wrong] in why for why in net.a.refusals()), net.why)
        assert not net.a.stands and not net.b.stands


async def test_one_partners_authority_proves_no_other_partners_name(hosts: Operators, tmp_path: Path) -> None:
    """Both authorities are loaded in one charon; the connection says whose certificate counts."""
    ours, theirs, other = (Authority(name, tmp_path / name) for name in ("ours", "theirs", "other"))
    async with tunnels(hosts, tmp_path) as net:
        mine = ours.issue(ENDS["a"][0]).options()
        net.a.begin(**CERTIFICATE, **mine, authority=str(theirs.file))
        beside = net.a.config(
            name="elsewhere", remote="198.51.100.9", remote_networks=("10.9.0.0/16",), authority=str(other.file),
            **CERTIFICATE, **mine,
        )  # fmt: skip
        await net.a.end()
        net.a.begin_all(net.a.config(**CERTIFICATE, **mine, authority=str(theirs.file)), beside)
        net.b.begin(**CERTIFICATE, **other.issue(ENDS["b"][0]).options(), authority=str(ours.file))
        await until(lambda: any("another partner's authority" in why for why in net.a.refusals()), net.why)
        assert not net.a.stands and not net.b.stands
