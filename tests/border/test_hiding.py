"""Tokens of topology hiding (TS 33.203 6.4, requirement rows 79 to 81): nothing is read, changed or counted in them."""

import asyncio
import statistics
import time
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from redoubt.border.hiding import Hiding, Purpose, RingFile
from redoubt.border.hiding_keys import Ring, new_ring, read_ring, rotated, write_ring
from redoubt.config import ConfigError
from redoubt.events import EventStream, Notice
from redoubt.limits import HIDING_KEYS, HIDING_TOKEN_S
from redoubt.sip.errors import SipError
from redoubt.sip.service import Context
from redoubt.sources import Clock, SeededRandomness

EPOCH_S = 1_700_000_000.0
ENTRIES = ["<sip:scscf1.home1.net;lr>", "<sip:abcdefghijklmnopqrstuvwxyz012345@pcscf.home1.net;lr>"]
MODES = pytest.mark.parametrize("mode", ["gcm", "cbc"])


def one_key(seed: int = 7, at_s: float = EPOCH_S) -> Ring:
    return new_ring(SeededRandomness(seed), at_s)


def node(mode: str, ring: Ring, *, seed: int = 1, at_s: float = EPOCH_S, realm: str = "home1.net") -> Hiding:
    """A border node's hiding at that time."""
    clock = Clock(asyncio.get_running_loop(), at_s)
    context = Context("ibcf", EventStream(), clock, SeededRandomness(seed))
    return Hiding(context, "cbc" if mode == "cbc" else "gcm", realm, lambda: ring)


@MODES
async def test_a_token_opens_at_every_border_node_with_the_same_keys_and_no_other(mode: str) -> None:
    token = node(mode, one_key()).seal(Purpose.ROUTE, "two", ENTRIES)
    for other in ("gcm", "cbc"):
        assert node(other, one_key(), seed=2).open(Purpose.ROUTE, "two", token) == ENTRIES
    with pytest.raises(SipError):
        node(mode, one_key(seed=8)).open(Purpose.ROUTE, "two", token)
    with pytest.raises(SipError):
        node(mode, one_key(), realm="home2.net").open(Purpose.ROUTE, "two", token)


@MODES
async def test_two_tokens_of_one_host_share_nothing(mode: str) -> None:
    hiding = node(mode, one_key())
    first, second = [urlsafe_b64decode(hiding.seal(Purpose.ROUTE, "two", ENTRIES) + "==")[3:] for _ in range(2)]
    blocks = [{octets[at : at + 16] for at in range(len(octets) - 15)} for octets in (first, second)]
    assert not blocks[0] & blocks[1]


@MODES
async def test_a_token_with_any_character_changed_dropped_or_added_is_400_with_the_same_words(mode: str) -> None:
    hiding = node(mode, one_key())
    token = hiding.seal(Purpose.ROUTE, "two", ENTRIES)
    told = set()
    others = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    others += [token[:at] + token[at + 1 :] for at in (0, 5, 100, len(token) - 1)]
    others += [token + "A", token + "=", token + "%41", f" {token}", f"{token[:9]}!{token[9:]}", "", "x", "ü"]
    others += [token.swapcase(), token[::-1], token[: len(token) // 4 * 4]]
    for other in others:
        if other == token:
            continue
        with pytest.raises(SipError) as refused:
            hiding.open(Purpose.ROUTE, "two", other)
        told.add((refused.value.status, refused.value.why, refused.value.clause))
    assert len(told) == 1 and next(iter(told))[0] == 400


@MODES
async def test_a_token_is_of_one_purpose_and_one_partner(mode: str) -> None:
    hiding = node(mode, one_key())
    token = hiding.seal(Purpose.ROUTE, "two", ENTRIES)
    for purpose, partner in ((Purpose.TARGET, "two"), (Purpose.VIA, "two"), (Purpose.ROUTE, "three")):
        with pytest.raises(SipError):
            hiding.open(purpose, partner, token)


@MODES
async def test_the_length_tells_neither_which_nor_how_many_entries_there_are(mode: str) -> None:
    hiding = node(mode, one_key())
    names = ["scscf1", "scscf-with-a-name-that-is-long", "s"]
    for count in range(5):
        lengths = {len(hiding.seal(Purpose.ROUTE, "two", [f"<sip:{name}.home1.net;lr>"] * count)) for name in names}
        assert lengths == {len(hiding.seal(Purpose.ROUTE, "two", []))}
    with pytest.raises(SipError) as refused:
        hiding.seal(Purpose.ROUTE, "two", ["<sip:a.home1.net;lr>"] * 128)
    assert refused.value.status == 500


async def test_wrong_filling_and_wrong_mac_take_the_same_time_in_cbc() -> None:
    """There is no filling that could be wrong: a token is whole blocks. And nothing is decrypted before the MAC."""
    hiding = node("cbc", one_key())
    token = hiding.seal(Purpose.ROUTE, "two", ENTRIES)
    last_block, mac, iv = token[:-50] + "AAAA" + token[-46:], token[:-4] + "AAAA", token[:10] + "AAAA" + token[14:]
    medians = []
    for changed in (last_block, mac, iv):
        times = []
        for _ in range(300):
            begun = time.perf_counter()
            with pytest.raises(SipError):
                hiding.open(Purpose.ROUTE, "two", changed)
            times.append(time.perf_counter() - begun)
        medians.append(statistics.median(times))
    assert max(medians) < 2 * min(medians)


@MODES
async def test_after_a_rotation_old_tokens_open_and_new_ones_are_of_the_new_key(mode: str) -> None:
    old = one_key()
    token = node(mode, old).seal(Purpose.ROUTE, "two", ENTRIES)
    later_s = EPOCH_S + 86_400
    both = rotated(old, SeededRandomness(9), later_s, after_s=600)
    waiting = node(mode, both, at_s=later_s + 1)
    assert waiting.open(Purpose.ROUTE, "two", token) == ENTRIES
    of_the_old = waiting.seal(Purpose.ROUTE, "two", ENTRIES)
    assert node(mode, old, at_s=later_s).open(Purpose.ROUTE, "two", of_the_old) == ENTRIES
    sealing = node(mode, both, at_s=later_s + 601)
    fresh = sealing.seal(Purpose.ROUTE, "two", ENTRIES)
    assert sealing.open(Purpose.ROUTE, "two", token) == sealing.open(Purpose.ROUTE, "two", fresh) == ENTRIES
    with pytest.raises(SipError):
        node(mode, old, at_s=later_s).open(Purpose.ROUTE, "two", fresh)


async def test_a_token_is_taken_for_as_long_as_a_registration_lasts_and_no_longer() -> None:
    token = node("gcm", one_key()).seal(Purpose.ROUTE, "two", ENTRIES)
    assert node("gcm", one_key(), at_s=EPOCH_S + 600_000).open(Purpose.ROUTE, "two", token) == ENTRIES
    with pytest.raises(SipError):
        node("gcm", one_key(), at_s=EPOCH_S + HIDING_TOKEN_S + 1).open(Purpose.ROUTE, "two", token)


async def test_keys_go_when_no_token_of_theirs_is_taken_any_more_and_the_ring_is_bounded() -> None:
    ring, at_s = one_key(), EPOCH_S
    for _ in range(20):
        at_s += 86_400
        ring = rotated(ring, SeededRandomness(int(at_s)), at_s)
    assert len(ring) == HIDING_TOKEN_S // 86_400 + 2
    with pytest.raises(ConfigError, match="less often"):
        for _ in range(HIDING_KEYS):
            ring = rotated(ring, SeededRandomness(1), at_s)


async def test_a_running_node_takes_a_rotated_file_and_keeps_its_keys_when_the_file_is_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "hiding.keys"
    write_ring(path, one_key())
    loop = asyncio.get_running_loop()
    context = Context("ibcf", EventStream(), Clock(loop, EPOCH_S), SeededRandomness(1))
    hiding = Hiding(context, "gcm", "home1.net", RingFile(path))
    old = hiding.seal(Purpose.ROUTE, "two", ENTRIES)
    write_ring(path, rotated(read_ring(path), SeededRandomness(5), EPOCH_S), replace=True)
    hiding._looks_at = 0.0  # a second later
    fresh = hiding.seal(Purpose.ROUTE, "two", ENTRIES)
    assert urlsafe_b64decode(old + "==")[:3] != urlsafe_b64decode(fresh + "==")[:3]
    path.write_text("1 nonsense 0\n")
    hiding._looks_at = 0.0
    assert hiding.open(Purpose.ROUTE, "two", old) == hiding.open(Purpose.ROUTE, "two", fresh) == ENTRIES
    assert any(isinstance(event, Notice) and "serve on" in event.advice for event in context.events.recent)


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("", 0o600, "needs a key"), ("1 zz 0\n", 0o600, "is no number"), (f"1 {'00' * 31} 0\n", 0o600, "is no number"),
        (f"0 {'00' * 32} 0\n", 0o600, "is no number"), (f"1 {'00' * 32} 0\n" * 2, 0o600, "each number once"),
        (f"1 {'00' * 32} 0\n", 0o644, "chmod 600"),
    ],
)  # fmt: skip
def test_a_key_file_that_cannot_be_used_is_refused_with_what_to_do(
    tmp_path: Path, text: str, mode: int, told: str
) -> None:
    path = tmp_path / "hiding.keys"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=told):
        read_ring(path)


def test_the_key_file_is_its_owners_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "hiding.keys"
    write_ring(path, one_key())
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="exists"):
        write_ring(path, one_key(seed=8))
    assert read_ring(path)[0].secret.matches(one_key()[0].secret)
