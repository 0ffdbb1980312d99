"""`redoubt subscriber import|export`: many subscribers, by file."""

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from redoubt.cli.output import (
    config_option,
    console,
    control_socket,
    errors,
    fail,
    json_option,
    opened,
    print_json,
    run,
    says_what_went_wrong,
)
from redoubt.hss.provisioning import offline
from redoubt.hss.provisioning_export import exported
from redoubt.hss.provisioning_files import CardFile, Kind, kind_of
from redoubt.hss.provisioning_import import import_file

IMPORT_EXAMPLES = """\b
The file is CSV (first line: field names) or JSON lines, by its suffix. Fields: impi, k, opc or op, and if wanted
algorithm, amf, sqn, impus, barred, visited-networks, capabilities, optional-capabilities, server-names, wildcards;
as JSON (in a cell of CSV too) sets, criteria, private. A network that runs goes on meanwhile and serves the new
subscribers once all are in. Ctrl-C leaves nothing behind.
\b
Examples:
  redoubt subscriber import cards.csv
  redoubt subscriber import cards.jsonl --json
"""
EXPORT_EXAMPLES = """\b
An export with keys can be imported into another store. Its SQN is the highest that may have been used; while a
network runs more are used, so stop it first when the export is to replace it.
\b
Examples:
  redoubt subscriber export                             all but keys, as JSON lines
  redoubt subscriber export --with-keys backup.csv      mode 0600; it holds every K: keep it as you keep hss.key
  redoubt subscriber export --with-keys | age -r KEY > backup.jsonl.age
"""


@click.command("import", epilog=IMPORT_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
@says_what_went_wrong
def import_(file: Path, config_path: Path, as_json: bool) -> None:
    """Add all subscribers of FILE, or none.

    A bad row is named by line and column.
    """
    config, directory = opened(config_path)

    async def work() -> int:
        async with offline(directory, config.hss, config.network.realm) as administration:
            with _bars(as_json) as progress:
                return await import_file(administration, CardFile.at(file), _Bars(progress))

    try:
        count = run(work())
    except asyncio.CancelledError:  # Ctrl-C, on uvloop
        raise KeyboardInterrupt from None
    if as_json:
        print_json({"imported": count})
    else:
        console.print(f"imported {count} subscribers")


class _Bars:
    """A bar for each stage; reading counts octets, the others subscribers."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks = {stage: progress.add_task(stage, total=None) for stage in ("reading", "sealing", "storing")}

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._progress.update(self._tasks[stage], completed=done, total=total)


def _bars(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=errors, disable=quiet or not errors.is_terminal)


@click.command(epilog=EXPORT_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--with-keys", is_flag=True, help="Also K and OPc, in clear; needs the HSS's key file.")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), help="Default: by FILE's suffix, else jsonl.")
@click.option("--anyway", is_flag=True, help="Write keys even to a terminal or to a file that others can read.")
@config_option
@json_option
@says_what_went_wrong
def export(
    file: Path | None, with_keys: bool, kind: Kind | None, anyway: bool, config_path: Path, as_json: bool
) -> None:
    """Write all subscribers, as an import takes them.

    To FILE, or to standard output. Keys only if asked for.
    """
    config, directory = opened(config_path)
    chosen = kind or (kind_of(file) if file is not None else "jsonl")
    if with_keys:
        if not anyway:
            _refuse_readable(file, as_json)
        errors.print("[yellow]this export holds the keys of every subscriber: whoever has it can clone their cards[/]")
        if control_socket(config_path).exists():
            errors.print("[yellow]a network runs on this store: it goes on using sequence numbers after this export[/]")

    async def work() -> int:
        count = 0
        with _output(file) as output:
            async with offline(directory, config.hss, config.network.realm) as administration:
                async for line in exported(administration, chosen, with_keys):
                    output.write(line)
                    count += 1
        return count - (chosen == "csv")  # its first line has the names

    count = run(work())
    if file is None:
        return
    if as_json:
        print_json({"exported": count, "file": str(file), "keys": with_keys})
    else:
        console.print(f"exported {count} subscribers to [cyan]{file}[/]" + (" with keys" if with_keys else ""))


def _refuse_readable(file: Path | None, as_json: bool) -> None:
    """Keys go into a pipe, or into a file that its owner alone can read."""
    if file is not None:
        if file.exists() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            fail(f"others may read {file}; run chmod 600 on it, or name a file that does not exist", as_json)
        return
    status = os.fstat(sys.stdout.fileno())
    if os.isatty(sys.stdout.fileno()):
        fail("standard output is a terminal, and what it shows stays in its scrollback; name a FILE", as_json)
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        fail("others may read the file that standard output goes to; name a FILE instead of redirecting", as_json)


@contextlib.contextmanager
def _output(file: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file of mode 0600 that takes its name once it is whole."""
    if file is None:
        yield sys.stdout
        return
    part = file.with_name(file.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        fail(f"{part} can't be made: {fault.strerror}")
    whole = False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(file)
        whole = True
    finally:
        if not whole:
            part.unlink(missing_ok=True)
