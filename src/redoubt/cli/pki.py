"""`redoubt pki`: an operator's own authority, for the certificates that its border shows and believes (TS 33.310)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from redoubt.cli.output import (
    config_option,
    console,
    fail,
    json_option,
    print_json,
    print_rows,
    says_what_went_wrong,
    shown,
)
from redoubt.config import Config
from redoubt.ndm.pki import Names
from redoubt.ndm.pki_folder import CROSS_LIFE, Issued, PkiError, PkiFolder
from redoubt.network.configuration import load
from redoubt.network.run import host_of

EXAMPLES = """\b
Examples:
  redoubt pki init                                        authority, the border's certificate, revocation list
  redoubt pki cross home2 home2-ca.pem --domain home2.net believe a partner's authority, for its own names only
  redoubt pki crl home2.crl                               our new revocation list, and the partner's
  redoubt pki renew border                                a new key and certificate, taken up under running calls
  redoubt pki revoke border && redoubt pki crl && redoubt pki issue border      its key was lost
\b
Partners get ca.pem once, and own.crl whenever it is new: by a way that you trust, since all else rests on it.
"""
ISSUING = """\b
Examples:
  redoubt pki issue border2 --dns ibcf2.home1.net --days 30
  redoubt pki issue gateway --no-domain --ip 192.0.2.1
  redoubt pki issue hss --no-domain --dns hss.home1.net
"""
LIST_DAYS = 30

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), help="Where all is kept.  [default: pki, beside the configuration]"
)
days_option = click.option("--days", default=90, show_default=True, help="How long it counts.")


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Certificates for the border: init, issue, renew, revoke, crl, cross, show. Keys stay in files of mode 0600."""


@command.command(epilog="Example: redoubt pki init --operator 'Home One' && redoubt pki show")
@click.option("--operator", default="", help="The operator's name in certificates.  [default: the realm]")
@days_option
@folder_option
@config_option
@json_option
@says_what_went_wrong
def init(operator: str, days: int, folder: Path | None, config_path: Path, as_json: bool) -> None:
    """Make an authority, the border's certificate for the realm of redoubt.toml, and a revocation list.

    An authority that exists is never overwritten.
    """
    config, kept = _opened(config_path, folder, as_json)

    def work() -> Issued:
        kept.create(operator or config.network.realm, _now())
        names = Names((config.network.realm,), (host_of(config.ibcf.uri),))
        issued = kept.issue("border", names, _now(), timedelta(days=days))
        kept.write_revocations(_now(), timedelta(days=LIST_DAYS), [])
        return issued

    issued = _done(work, as_json)
    options = {"certificate": "border.pem", "key": "border.key", "authority": "authority.pem", "revoked": "revoked.pem"}
    written = {name: _beside(kept.path / file, config_path) for name, file in options.items()}
    if as_json:
        told = {"folder": str(kept.path), "fingerprint": kept.fingerprint(kept.path / "ca.pem"), "ibcf": written}
        print_json({**told, "issued": msgspec.to_builtins(issued)})
        return
    console.print(f"made [cyan]{kept.path}[/] with the authority, and a certificate of {_names(issued)}")
    console.print("write into redoubt.toml:\n\n\\[ibcf]")
    for name, file in written.items():
        console.print(f'{name} = "{file}"', markup=False)
    console.print(f"\ngive partners [cyan]{kept.path / 'ca.pem'}[/] and [cyan]{kept.path / 'own.crl'}[/];")
    console.print(f"fingerprint {kept.fingerprint(kept.path / 'ca.pem')}")
    console.print("theirs make `redoubt pki cross NAME CA.pem --domain DOMAIN` and `redoubt pki crl LIST.crl`")


@command.command(epilog=ISSUING)
@click.argument("name")
@click.option(
    "--domain", "domains", multiple=True,
    help="A SIP domain that it proves.  [default: the realm, or all that NAME proved before]",
)  # fmt: skip
@click.option("--dns", multiple=True, help="A further DNS name, such as the host of a second border node.")
@click.option("--ip", "addresses", multiple=True, help="An IP address, as identity of a security gateway.")
@click.option("--no-domain", is_flag=True, help="No SIP domain: for a security gateway or a Diameter node.")
@days_option
@folder_option
@config_option
@json_option
@says_what_went_wrong
def issue(
    name: str, domains: tuple[str, ...], dns: tuple[str, ...], addresses: tuple[str, ...], no_domain: bool, days: int,
    folder: Path | None, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Make a key and certificate, NAME.key and NAME.pem, for a node of ours (both ends of TLS, or of IKE)."""
    config, kept = _opened(config_path, folder, as_json)
    before = None if domains or dns or addresses or no_domain else _done(lambda: kept.found(name), as_json)
    names = before.names if before else Names(() if no_domain else domains or (config.network.realm,), dns, addresses)
    issued = _done(lambda: kept.issue(name, names, _now(), timedelta(days=days)), as_json)
    _tell(issued, kept, as_json)


@command.command(epilog="Example: redoubt pki renew border --days 30   (from cron, each week)")
@click.argument("name", default="border")
@days_option
@folder_option
@config_option
@json_option
@says_what_went_wrong
def renew(name: str, days: int, folder: Path | None, config_path: Path, as_json: bool) -> None:
    """Make a new key and certificate with the same names. A running border takes it up within seconds; calls go on.

    The one before is left to expire; `redoubt pki revoke` with its serial number ends it.
    """
    _config, kept = _opened(config_path, folder, as_json)
    _tell(_done(lambda: kept.renew(name, _now(), timedelta(days=days)), as_json), kept, as_json)


@command.command(epilog="Example: redoubt pki revoke border && redoubt pki crl")
@click.argument("name")
@folder_option
@config_option
@json_option
@says_what_went_wrong
def revoke(name: str, folder: Path | None, config_path: Path, as_json: bool) -> None:
    """End what was issued under NAME, or the certificate with that serial number, or a partner's cross-certificate.

    Others learn of it by the next revocation list: run `redoubt pki crl` and give own.crl to the partners. What was
    revoked by mistake or replaced is made again by `redoubt pki issue NAME`.
    """
    _config, kept = _opened(config_path, folder, as_json)
    met = _done(lambda: kept.revoke(name, _now()), as_json)
    if as_json:
        print_json({"revoked": msgspec.to_builtins(met)})
        return
    console.print(f"revoked {len(met)} of {name}; next: `redoubt pki crl`, and own.crl to the partners")
    if any(one.name == name and one.kind == "node" for one in met):
        console.print(f"then `redoubt pki issue {shown(name)}`, unless nobody shall have that name any more")


@command.command(epilog="Example: redoubt pki crl home2.crl home3.crl --days 7")
@click.argument("lists", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--days", default=LIST_DAYS, show_default=True, help="Until when it must be made again.")
@folder_option
@config_option
@json_option
@says_what_went_wrong
def crl(lists: tuple[Path, ...], days: int, folder: Path | None, config_path: Path, as_json: bool) -> None:
    """Write our revocation list (own.crl), and revoked.pem: ours with those of partners, of which LISTS are newer.

    A border that has revoked.pem believes nobody whose authority has no list in force there.
    """
    _config, kept = _opened(config_path, folder, as_json)
    written = _done(lambda: kept.write_revocations(_now(), timedelta(days=days), list(lists)), as_json)
    if as_json:
        print_json({"own": str(kept.path / "own.crl"), "revoked": str(written)})
        return
    console.print(f"wrote [cyan]{kept.path / 'own.crl'}[/] for partners, and [cyan]{written}[/] for our nodes")


@command.command(epilog="Example: redoubt pki cross home2 home2-ca.pem --domain home2.net")
@click.argument("name")
@click.argument("authority", type=click.Path(exists=True, path_type=Path))
@click.option("--domain", "domains", multiple=True, required=True, help="A domain of the partner, and no other's.")
@click.option("--days", default=CROSS_LIFE.days, show_default=True, help="How long it counts.")
@folder_option
@config_option
@json_option
@says_what_went_wrong
def cross(
    name: str, authority: Path, domains: tuple[str, ...], days: int, folder: Path | None, config_path: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Cross-certify the AUTHORITY (a ca.pem) of the partner NAME: what it signs for its domains is believed.

    Compare the fingerprint that this prints with the partner by another way, before the agreement is written.
    """
    _config, kept = _opened(config_path, folder, as_json)
    issued = _done(lambda: kept.cross(name, authority, list(domains), _now(), timedelta(days=days)), as_json)
    file = kept.path / f"cross-{name}.pem"
    if as_json:
        told = {"file": str(file), "fingerprint": kept.fingerprint(authority)}
        print_json({**told, "authority": str(kept.path / "authority.pem"), **msgspec.to_builtins(issued)})
        return
    console.print(f"fingerprint {kept.fingerprint(authority)}: compare it with {name} by another way")
    console.print(f"made [cyan]{file}[/]; authority.pem holds it, and a running border believes it within seconds")
    console.print(f'write authority = "{_beside(file, config_path)}" into its \\[\\[partners]] entry', highlight=False)


@command.command(epilog="Example: redoubt pki show --json | jq '.issued[] | select(.state != \"valid\")'")
@folder_option
@config_option
@json_option
@says_what_went_wrong
def show(folder: Path | None, config_path: Path, as_json: bool) -> None:
    """List what was issued: names, serial number, until when, and whether it was revoked."""
    _config, kept = _opened(config_path, folder, as_json)
    index = _done(kept.index, as_json)
    if as_json:
        print_json({"issued": [{**msgspec.to_builtins(one), "state": _state(one)} for one in index.issued]})
        return
    rows = [[one.name, one.kind, _names(one), one.serial, _day(one.until), _state(one)] for one in index.issued]
    print_rows(["name", "kind", "names", "serial", "until", "state"], rows)


def _opened(config_path: Path, folder: Path | None, as_json: bool) -> tuple[Config, PkiFolder]:
    config = load(config_path)
    return config, PkiFolder(folder or config_path.parent / "pki")


def _done(work: Any, as_json: bool) -> Any:
    """What the folder can't do is said as a sentence."""
    try:
        return work()
    except PkiError as error:
        fail(str(error), as_json)


def _tell(issued: Issued, kept: PkiFolder, as_json: bool) -> None:
    file = kept.path / f"{issued.name}.pem"
    if as_json:
        print_json({"certificate": str(file), "key": str(file.with_suffix(".key")), **msgspec.to_builtins(issued)})
        return
    console.print(f"made [cyan]{file}[/] and its key for {_names(issued)}, until {_day(issued.until)}")


def _names(issued: Issued) -> str:
    domains = [f"sip:{domain}" if issued.kind == "node" else domain for domain in issued.domains]
    return ", ".join(domains + issued.dns + issued.addresses)


def _state(issued: Issued) -> str:
    if issued.revoked:
        return "revoked"
    return "expired" if issued.until < _now().timestamp() else "valid"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _beside(file: Path, config_path: Path) -> str:
    """As redoubt.toml has it: relative paths begin where it is."""
    folder, target = config_path.absolute().parent, file.absolute()
    return str(target.relative_to(folder) if target.is_relative_to(folder) else target)


def _now() -> datetime:
    return datetime.now(UTC)
