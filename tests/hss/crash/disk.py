"""The file layer that loses what was not synced: dropping.c, preloaded into a campaign, and its folders.

The process works in FOLDER, as in the page cache; the layer copies to DISK what fsync promises. `power_returns` makes
FOLDER what DISK is, as after a power cut.
"""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("dropping.c")
LIVE, DISK = "CRASH_LIVE", "CRASH_DISK"


def compiled(folder: Path) -> Path | None:
    """The shared object, or None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "dropping.so"
    options = ["-shared", "-fPIC", "-O1", "-o", str(library)]
    subprocess.run([compiler, *options, str(SOURCE), "-ldl", "-lpthread"], check=True)
    return library


def environment(library: Path, live: Path, disk: Path) -> dict[str, str]:
    """What preloads the layer into a process that works in `live`."""
    for part in (live, disk / "names", disk / "contents"):
        part.mkdir(parents=True)
    return {"LD_PRELOAD": str(library), LIVE: str(live), DISK: str(disk)}


def power_returns(folder: Path) -> None:
    """Nothing without the layer: a killed process loses no page of the system's cache."""
    if DISK not in os.environ:
        return
    disk = Path(os.environ[DISK])
    for file in folder.iterdir():
        file.unlink()
    for file in sorted((disk / "contents").iterdir()):
        file.unlink()
    for file in sorted((disk / "names").iterdir()):
        # The copy in FOLDER and the content on DISK are tied by the former's inode number: see dropping.c.
        copy = folder / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o600)
        os.link(file, disk / "contents" / str(copy.stat().st_ino))
