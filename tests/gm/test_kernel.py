"""Our ESP, and our use of the kernel's, against a Linux kernel booted for it as a process (user-mode Linux).

No privileges are used: the guest's root is this user.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redoubt.gm.algorithms import SOUND_SUITES

from .kernel_guest import TUNNELLED
from .kernel_path_guest import NETWORK_ENDS, PHONE_ENDS, SIZES

ROOT = Path(__file__).parents[2]
MODULES = Path("/usr/lib/uml/modules")
GUESTS = ("kernel_guest", "kernel_path_guest")
LINUX = shutil.which("linux.uml")
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
echo {work}/modprobe > /proc/sys/kernel/modprobe  # for the ciphers that the kernel loads by itself
for module in esp4 esp6 xfrm_user veth; do modprobe -d {work} $module; done
for guest in {guests}; do
  {python} {here}/$guest.py > {work}/$guest.result 2> {work}/$guest.errors
done
echo o > /proc/sysrq-trigger
sleep 10
"""

pytestmark = pytest.mark.skipif(
    LINUX is None or not MODULES.is_dir() or shutil.which("ip") is None or shutil.which("modprobe") is None,
    reason="no user-mode Linux: apt-get install user-mode-linux kmod iproute2",
)
Results = dict[str, tuple[list[dict[str, Any]], str]]


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each guest program found, and what it complained of."""
    work = tmp_path_factory.mktemp("uml")
    (work / "lib").mkdir()
    (work / "lib" / "modules").symlink_to(MODULES)
    loader = work / "modprobe"
    loader.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {work} "$@"\n')
    loader.chmod(0o755)
    init = work / "init"
    paths = f"{ROOT}:{ROOT / 'src'}"
    here = Path(__file__).parent
    init.write_text(INIT.format(paths=paths, work=work, python=sys.executable, here=here, guests=" ".join(GUESTS)))
    command = [
        str(LINUX), "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", "init=/bin/sh",
        "con=null", "con0=null,fd:1", "con1=null", "--", str(init),
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(work)}
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=180, env=environment)
    found: Results = {}
    for guest in GUESTS:
        lines = (work / f"{guest}.result").read_text().splitlines()
        found[guest] = [json.loads(line) for line in lines], (work / f"{guest}.errors").read_text()
    return found


def test_the_kernel_and_we_understand_each_other_in_every_suite(booted: Results) -> None:
    results, errors = booted["kernel_guest"]
    assert len(results) == len(SOUND_SUITES) + len(TUNNELLED), errors
    for each in results:
        assert each["answered"] == each["of"], each
        assert each["refused"], each


def rounds(booted: Results, kind: str) -> list[dict[str, Any]]:
    """What the rounds with phones of one kind found."""
    results, errors = booted["kernel_path_guest"]
    assert len(results) == 4, errors
    return [each for each in results if each["kind"] == kind]


def test_the_kernels_path_carries_messages_and_leaves_nothing_behind(booted: Results) -> None:
    for each in rounds(booted, "raw"):
        assert each["heard"] == each["answers"] == SIZES, each
        assert each["counters"][str(NETWORK_ENDS.spi_s)] == [len(SIZES), True], each
        assert each["counters"][str(PHONE_ENDS.spi_s)] == [len(SIZES), True], each
        sent, _, received, _, replayed, bad_tags = each["usage"]
        assert (sent, received, replayed, bad_tags) == (len(SIZES), len(SIZES), 0, 0), each
    for each in rounds(booted, "raw") + rounds(booted, "kernel"):
        assert each["state"] == "answered", each
        assert (each["collided"], each["survived"]) == (True, 4), each
        assert (each["left"], each["swept"], each["after"]) == (0, 8, 0), each


def test_clear_datagrams_to_a_protected_port_reach_nobody(booted: Results) -> None:
    """The kernel drops those that pretend to be a phone's, the path those of anybody else (requirement row 33)."""
    for each in rounds(booted, "raw"):
        assert each["heard"] == SIZES, each
        assert each["stray"] == 1, each


def test_tcp_and_udp_share_the_associations_and_nothing_passes_beside_them(booted: Results) -> None:
    """Over the set, from another port of the phone, and from a protected port when the phone's set is gone."""
    for each in rounds(booted, "kernel"):
        *datagrams, over, beside, after = each["answers"]
        assert datagrams == each["heard"] == SIZES, each
        assert over == 10_000, each
        assert beside <= 0, each  # closed at once, which TCP may tell as a reset
        assert after == -1, each
        assert each["stray"] == 1, each
        for spi in (NETWORK_ENDS.spi_s, PHONE_ENDS.spi_s, PHONE_ENDS.spi_c):
            assert each["counters"][str(spi)][0] >= len(SIZES), each
