"""A Linux kernel that has ESP, booted as a process of this user (user-mode Linux): the guest's root is this user."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = Path("/usr/lib/uml/modules")
LINUX = shutil.which("linux.uml")
LACKING = LINUX is None or not MODULES.is_dir() or shutil.which("ip") is None or shutil.which("modprobe") is None
WHY = "no user-mode Linux: apt-get install user-mode-linux kmod iproute2"
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1 {variables}
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm
echo {work}/modprobe > /proc/sys/kernel/modprobe  # for the ciphers that the kernel loads by itself
for module in esp4 esp6 xfrm_user veth tun; do modprobe -d {work} $module; done
cd {root}
{python} {program} > {work}/result 2> {work}/errors
echo o > /proc/sysrq-trigger
sleep 10
"""


def boot(work: Path, program: str, patience_s: float, variables: str = "") -> None:
    """Runs a Python program, given as the interpreter's arguments, to its end; what it said is in `work`."""
    (work / "lib").mkdir()
    (work / "lib" / "modules").symlink_to(MODULES)
    loader = work / "modprobe"
    loader.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {work} "$@"\n')
    loader.chmod(0o755)
    init = work / "init"
    paths = f"{ROOT}:{ROOT / 'src'}"
    told = {"work": work, "root": ROOT, "python": sys.executable, "program": program, "variables": variables}
    init.write_text(INIT.format(paths=paths, **told))
    command = [
        str(LINUX), "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", "init=/bin/sh",
        "con=null", "con0=null,fd:1", "con1=null", "--", str(init),
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(work)}
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, env=environment)
    finally:
        (work / "done").touch()
