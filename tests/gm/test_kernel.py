"""Our ESP against that of a Linux kernel, booted for it as a process (user-mode Linux; no privileges are used)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.gm.algorithms import SOUND_SUITES

from .kernel_guest import TUNNELLED

ROOT = Path(__file__).parents[2]
MODULES = Path("/usr/lib/uml/modules")
NEEDED = ("esp4", "xfrm_user", "veth")
LINUX = shutil.which("linux.uml")
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
echo {work}/modprobe > /proc/sys/kernel/modprobe  # for the ciphers that the kernel loads by itself
for module in {needed}; do modprobe -d {work} $module; done
{python} {guest} > {work}/result 2> {work}/errors
echo o > /proc/sysrq-trigger
sleep 10
"""


@pytest.mark.skipif(
    LINUX is None or not MODULES.is_dir() or shutil.which("ip") is None or shutil.which("modprobe") is None,
    reason="no user-mode Linux: apt-get install user-mode-linux kmod iproute2",
)
def test_the_kernel_and_we_understand_each_other_in_every_suite(tmp_path: Path) -> None:
    assert LINUX is not None
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "modules").symlink_to(MODULES)
    loader = tmp_path / "modprobe"
    loader.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {tmp_path} "$@"\n')
    loader.chmod(0o755)
    guest = Path(__file__).with_name("kernel_guest.py")
    paths = f"{ROOT}:{ROOT / 'src'}"
    init = tmp_path / "init"
    init.write_text(
        INIT.format(paths=paths, needed=" ".join(NEEDED), work=tmp_path, python=sys.executable, guest=guest)
    )
    command = [
        LINUX, "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", "init=/bin/sh",
        "con=null", "con0=null,fd:1", "con1=null", "--", str(init),
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    try:
        booted = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, env=environment)
        said = booted.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        said = f"still running: {late.stdout!r}"
    results = [json.loads(line) for line in (tmp_path / "result").read_text().splitlines()]
    errors = (tmp_path / "errors").read_text()
    assert len(results) == len(SOUND_SUITES) + len(TUNNELLED), (errors, said)
    for each in results:
        assert each["answered"] == each["of"], each
        assert each["refused"], each
