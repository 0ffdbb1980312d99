"""Diameter over SCTP: on this kernel, or where it has none on a user-mode Linux (Debian user-mode-linux, kmod)."""

import asyncio
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.diameter import dictionary as d
from redoubt.transport.sctp import IPPROTO_SCTP

from .nodes import HSS, SCSCF, closed, cscf, hss, lir

ROOT = Path(__file__).parents[2]
MODULES = Path("/usr/lib/uml/modules")
DONE = "spoke by SCTP"


async def spoken(where: str = "sctp:127.0.0.1:3868") -> None:
    """Two nodes, many requests at once, and the largest that Diameter of ours takes."""
    server, _ = await hss(SCSCF, where=where)
    client = await cscf((HSS, where), wait_s=20)
    answers = await asyncio.gather(*(client.node.request(lir(client), timeout_s=30) for _ in range(100)))
    assert {answer.first(d.RESULT_CODE) for answer in answers} == {2001}
    large = lir(client).add(d.USER_DATA, bytes(500_000))
    assert (await client.node.request(large, timeout_s=30)).first(d.RESULT_CODE) == 2001
    link = client.node.peers[HSS].link
    assert link is not None
    assert link.flow.transport == "sctp"
    await closed(client, server)


def kernel_has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not kernel_has_sctp(), reason="this kernel has no SCTP")
async def test_two_nodes_speak_by_sctp() -> None:
    await spoken()


@pytest.mark.skipif(kernel_has_sctp(), reason="this kernel has SCTP itself")
async def test_a_kernel_without_sctp_is_named() -> None:
    with pytest.raises(OSError, match="no SCTP"):
        await hss(SCSCF, where="sctp:127.0.0.1:3868")
    client = await cscf((HSS, "sctp:127.0.0.1:3868"), wait_s=0)
    await asyncio.sleep(0.05)
    assert any("no SCTP" in str(event) for event in client.events)
    await closed(client)


@pytest.mark.skipif(kernel_has_sctp(), reason="this kernel has SCTP itself")
@pytest.mark.skipif(not shutil.which("linux.uml") or not MODULES.is_dir(), reason="no user-mode-linux")
def test_two_nodes_speak_by_sctp_on_a_user_mode_linux(tmp_path: Path) -> None:
    """With both event loops in one guest, whose start is what takes long."""
    (version,) = [each.name for each in MODULES.iterdir()][:1]
    (tmp_path / "lib" / "modules").mkdir(parents=True)
    (tmp_path / "lib" / "modules" / version).symlink_to(MODULES / version)
    scene = (
        "import asyncio, uvloop; from tests.diameter.test_sctp import DONE, spoken;"
        "asyncio.run(spoken()); uvloop.run(spoken()); print(DONE)"
    )
    script = tmp_path / "init.sh"
    script.write_text(
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
        "mount -t proc proc /proc\n"
        "ip link set lo up\n"
        f"modprobe -d {tmp_path} sctp\n"
        f"cd {ROOT}\n"
        f"PYTHONPATH=src:. timeout 60 {sys.executable} -B -c '{scene}' 2>&1\n"
        "poweroff -f\n"
    )
    ran = subprocess.run(
        ["linux.uml", "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
         "init=/bin/sh", "--", str(script), "con=null", "con0=fd:0,fd:1", "con1=null"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert DONE in ran.stdout, ran.stdout + ran.stderr
