"""What all verbs share: the options --config and --json, printing for people or machines, errors as sentences."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from redoubt.config import Config, ConfigError
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriber import ProvisioningError
from redoubt.network.configuration import load
from redoubt.network.control import ControlError, NotRunning, ask

T = TypeVar("T")
PIPE_WIDTH = 4096  # a pipe or a file has no width: nothing is folded there, so that it can be searched and cut


def _console(stderr: bool) -> Console:
    """`:AB:` is part of a fingerprint and no picture."""
    if (sys.stderr if stderr else sys.stdout).isatty():
        return Console(stderr=stderr, highlight=False, emoji=False)
    # a width alone loses to TERM=dumb
    return Console(stderr=stderr, highlight=False, emoji=False, width=PIPE_WIDTH, height=25)


console = _console(stderr=False)
errors = _console(stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), default=Path("redoubt.toml"), show_default=True,
    help="The network's configuration.",
)  # fmt: skip


def print_json(value: Any) -> None:
    """One JSON object on one line."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_rows(columns: list[str], rows: list[list[str]], title: str = "") -> None:
    """A table for people. What stands in a cell may have come from a stranger: it is text, never markup."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    console.print(table)


def print_tree(values: dict[str, Any], indent: int = 0) -> None:
    """Names and values for people; what consists of several things stands below its name."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        parts = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
        if parts and all(isinstance(part, dict) for part in parts):
            for part in parts:
                console.print(f"{' ' * indent}[bold]{shown(name)}[/]")
                print_tree(part, indent + 2)
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        console.print(f"{' ' * indent}[bold]{shown(name):<{width}}[/]  {shown(text) or '-'}")


def shown(text: str) -> str:
    """For a person: what a stranger wrote is neither markup nor a terminal's control sequence."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))


def fail(message: str, as_json: bool = False, status: int = 1) -> NoReturn:
    """Ends the command with a sentence on standard error (and an object with --json)."""
    if as_json:
        print_json({"error": message})
    else:
        errors.print(f"[bold red]error:[/] {shown(message)}", markup=True)
    raise SystemExit(status)


def says_what_went_wrong(command: Callable[..., T]) -> Callable[..., T]:
    """Turns the operator's faults into sentences; everything else is a bug and shows itself."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> T:
        try:
            return command(*args, **options)
        except (ConfigError, ControlError, ProvisioningError, StoreFailed) as error:
            fail(str(error), bool(options.get("as_json")))
        except OSError as error:
            if error.filename is None:  # of no file that the operator named: a closed pipe, or a bug
                raise
            fail(f"{error.filename}: {error.strerror}", bool(options.get("as_json")))
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return guarded


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on uvloop where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def opened(config_path: Path) -> tuple[Config, Path]:
    """The configuration and its state directory, which must exist."""
    config = load(config_path)
    directory = config_path.parent / config.network.state
    if not directory.is_dir():
        raise ConfigError(f"{directory} does not exist; `redoubt init` makes it with the network's keys")
    return config, directory


def control_socket(config_path: Path) -> Path:
    """Of the process with the HSS."""
    _config, directory = opened(config_path)
    return directory / "control.sock"


async def ask_everyone(config_path: Path, command: str, **arguments: Any) -> list[Any]:
    """The answer of each process of this network that runs here (`up --only`). Raises NotRunning if none does."""
    first = control_socket(config_path)
    answers = []
    for path in sorted(first.parent.glob("control*.sock")):
        with contextlib.suppress(NotRunning):  # a process that was killed leaves its socket behind
            answers.append(await ask(path, command, **arguments))
    return answers or [await ask(first, command, **arguments)]
