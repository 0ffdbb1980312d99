"""`redoubt dns`: serves this operator's zones in a lab, signed; and asks DNS as this network would."""

import asyncio
import contextlib
import signal
import ssl
import time
from pathlib import Path
from typing import Any

import click
import dns.zone

from redoubt.cli.dns_find import find
from redoubt.cli.output import (
    config_option,
    console,
    errors,
    json_option,
    opened,
    print_json,
    run,
    says_what_went_wrong,
    shown,
)
from redoubt.config import ConfigError
from redoubt.ndm.dns_servers import tsig_key
from redoubt.network.name_server import OperatorDns, OperatorZones
from redoubt.sources import Clock
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen

EXAMPLES = """\b
Examples:
  redoubt dns serve --listen udp:127.0.0.1:5300        the zones of redoubt.toml, over UDP and TCP
  redoubt dns serve --listen tls:192.0.2.53:853 --certificate dns.pem --key dns.key
  redoubt dns anchor >> ../partner/anchors             what the partner's [dns] anchors names
  redoubt dns show                                     the signed zones as text
  redoubt dns find sip:partner.example                 where a request goes, and whether DNS proves it
  redoubt dns find +4930123                            whose that number is (ENUM)
"""


@click.group(epilog=EXAMPLES)
def command() -> None:
    """A name server for labs, and a look at names as this network sees them.

    The zones are the realm (NAPTR, SRV and addresses of the border, or the I-CSCF without one, and of the P-CSCF) and
    the roots of [dns] enum-roots, with the numbers of this network's subscribers or of a file. They are signed with
    one key in the state directory (ECDSA P-256), which is made when it is first needed.
    """


def numbers_option(verb: Any) -> Any:
    return click.option(
        "--numbers", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help='Numbers and their URIs instead of the subscribers\': "+4930123 sip:alice@example.org" a line.',
    )(verb)  # fmt: skip


@command.command(epilog=EXAMPLES)
@click.option(
    "--listen", "listens", multiple=True, default=("udp:127.0.0.1:5300",), show_default=True,
    help="udp:HOST:PORT, which is TCP too, or tls:HOST:PORT; may be repeated.",
)  # fmt: skip
@click.option("--certificate", help="PEM file of the certificate for tls.")
@click.option("--key", help="PEM file of its private key.")
@click.option("--tsig", nargs=2, metavar="NAME FILE", help="A key that may sign questions (RFC 8945), base64.")
@click.option("--tsig-only", is_flag=True, help="Refuse questions without it.")
@numbers_option
@config_option
@json_option
@says_what_went_wrong
def serve(
    listens: tuple[str, ...], certificate: str | None, key: str | None, tsig: tuple[str, str] | None, tsig_only: bool,
    numbers: Path | None, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Serve the zones until Ctrl-C or SIGTERM. No recursion; ANY, transfers and foreign names are refused."""
    config, directory = opened(config_path)
    places = [_place(text) for text in listens]
    shared = tsig_key(tsig[0], Path(tsig[1])) if tsig else None
    if tsig_only and shared is None:
        raise ConfigError("--tsig-only needs --tsig NAME FILE: else nobody could ask")
    tls = _tls(certificate, key, any(place.transport == "tls" for place in places))

    async def work() -> None:
        zones = OperatorZones(config, directory, numbers)
        try:
            server = await OperatorDns.start(
                zones, Clock(asyncio.get_running_loop()), places, tls, shared, tsig_only, _warn
            )
        except OSError as error:
            if error.filename is not None:
                raise
            raise ConfigError(f"{' '.join(listens)}: {error.strerror or error}; another --listen may do") from error
        try:
            _announce(zones, server, as_json)
            await _told_to_stop()
        finally:
            server.close()

    run(work())


@command.command(epilog=EXAMPLES)
@numbers_option
@config_option
@json_option
@says_what_went_wrong
def show(numbers: Path | None, config_path: Path, as_json: bool) -> None:
    """Print the signed zones as zone files."""
    config, directory = opened(config_path)
    made = run(OperatorZones(config, directory, numbers).made(time.time(), ["127.0.0.1"]))
    if as_json:
        print_json({"zones": [{"name": str(zone.origin), "text": _text(zone)} for zone in made]})
        return
    for zone in made:
        click.echo(_text(zone), nl=False)


@command.command(epilog=EXAMPLES)
@config_option
@json_option
@says_what_went_wrong
def anchor(config_path: Path, as_json: bool) -> None:
    """Print the DS records by which partners, and resolvers, trust these zones."""
    config, directory = opened(config_path)
    anchors = OperatorZones(config, directory).anchors()
    if as_json:
        print_json({"anchors": anchors})
        return
    for line in anchors:
        click.echo(line)


command.add_command(find)


def _place(text: str) -> Listen:
    try:
        return Listen.parse(text, Zone.BORDER, ("udp", "tls"))
    except ValueError as error:
        raise ConfigError(f"--listen {error}") from None


def _tls(certificate: str | None, key: str | None, is_wanted: bool) -> ssl.SSLContext | None:
    if not is_wanted:
        return None
    if not certificate:
        raise ConfigError("tls: needs --certificate and --key; `redoubt pki issue` makes them")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError(f"{certificate} with {key or 'its key'}: {error}") from None
    return context


def _text(zone: dns.zone.Zone) -> str:
    text: str = zone.to_text(relativize=False)
    return text


def _announce(zones: OperatorZones, server: OperatorDns, as_json: bool) -> None:
    if as_json:
        listening = [f"{transport}:{host}:{port}" for transport, (host, port) in server.addresses]
        print_json({"zones": zones.names, "listening": listening, "anchors": zones.anchors()})
        return
    console.print(f"[bold]Redoubt[/] serves [cyan]{shown(' '.join(zones.names))}[/]")
    for transport, (host, port) in server.addresses:
        console.print(f"  {transport:<4} {host}:{port}")
    console.print("`redoubt dns anchor` prints what partners need to validate it; Ctrl-C stops it.")


def _warn(why: str) -> None:
    errors.print(f"warning: {shown(why)}; what was served before is served on", markup=True)


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


