"""`redoubt dns find`: what this network would learn from DNS, step by step, and how far it would believe it."""

import asyncio
from pathlib import Path
from typing import Any

import click

from redoubt.cli.output import (
    config_option,
    console,
    fail,
    json_option,
    print_json,
    print_rows,
    run,
    says_what_went_wrong,
    shown,
)
from redoubt.config import Config, ConfigError
from redoubt.cscf.numbers import called_number
from redoubt.events import EventStream
from redoubt.ndm.dns_servers import dns_of
from redoubt.ndm.enum import Enum, is_international
from redoubt.ndm.next_hops import PartnerHops
from redoubt.ndm.partners import Partners
from redoubt.network.configuration import load
from redoubt.sip.errors import SipError
from redoubt.sip.resolver import Candidate, Resolver
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri, TelUri, parse_uri
from redoubt.sources import Clock, SystemRandomness


@click.command(epilog="Examples: redoubt dns find partner.example; redoubt dns find tel:+4930123 --json")
@click.argument("target")
@click.option("--tls", is_flag=True, help="As for a partner whose agreement demands TLS.")
@config_option
@json_option
@says_what_went_wrong
def find(target: str, tls: bool, config_path: Path, as_json: bool) -> None:
    """Find a SIP URI or domain (RFC 3263), or a number (ENUM, RFC 6116), with the servers of [dns].

    Says where a request would go, in the order of trying, and whether DNS proves it: what is not proved leads to no
    partner while [dns] partners is "authentic". Where an agreement of [[partners]] has `connect`, that is the answer.
    """
    config = load(config_path)
    uri = _target(target)
    found = run(_found(config, uri, tls))
    if as_json:
        print_json(found)
    elif "error" in found:
        fail(str(found["error"]))
    else:
        _print(found)
    if "error" in found:
        raise SystemExit(1)


def _target(text: str) -> SipUri | TelUri:
    wanted = f"tel:{text}" if text[:1] == "+" else text if ":" in text else f"sip:{text}"
    try:
        uri = parse_uri(wanted)
    except SipError:
        uri = None
    if not isinstance(uri, SipUri | TelUri):
        raise ConfigError(f"{text} is none of a SIP URI, a domain or a number; write sip:example.org or +4930123")
    return uri


async def _found(config: Config, uri: SipUri | TelUri, tls: bool) -> dict[str, Any]:
    context = Context("dns", EventStream(), Clock(asyncio.get_running_loop()), SystemRandomness())
    dns = dns_of(context, config.dns)
    told: dict[str, Any] = {"asked": str(uri)}
    try:
        if isinstance(uri, TelUri):
            number = called_number(uri)
            if not is_international(number):
                return {**told, "error": f"{number} is no number in international form, such as +4930123"}
            authentic = config.dns.partners == "authentic"
            answer = await Enum(dns, config.dns.enum_roots, config.network.realm, authentic=authentic).find(number)
            if answer.uri is None:
                roots = ", ".join(config.dns.enum_roots)
                none = f"no record of {number} under {roots}" if roots else "no ENUM: [dns] enum-roots is empty"
                return {**told, "error": answer.why or none}
            told["enum"] = str(answer.uri)
            uri = answer.uri
        why: list[str] = []
        resolver = Resolver(context.randomness, config.network.routes, dns, why.append)
        if (agreed := _agreed(context, config, uri, resolver)) is not None:
            return {**told, **agreed}
        proved = await resolver.find(uri, authentic=True, tls=tls)
        candidates = proved or await resolver.find(uri, tls=tls)
    finally:
        dns.close()
    if not candidates:
        return {**told, "error": why[-1] if why else f"no next hop for {uri.host}"}
    return {**told, "authentic": bool(proved), "why": why[0] if why and not proved else "",
            "next_hops": [_row(each) for each in candidates]}  # fmt: skip


def _agreed(context: Context, config: Config, uri: SipUri, resolver: Resolver) -> dict[str, Any] | None:
    """The next hops that an agreement names: DNS is not asked then."""
    partners = Partners(context, config.partners, stands=lambda _gateway: True)
    partner = partners.to(uri.host)
    if partner is None or not partner.config.connect:
        return None
    hops = PartnerHops(partners, resolver).known(uri) or ()
    return {"agreement": partner.name, "next_hops": [_row(each) for each in hops]}


def _row(candidate: Candidate) -> dict[str, Any]:
    return {
        "transport": candidate.transport, "host": candidate.host, "port": candidate.port, "proves": candidate.name
    }  # fmt: skip


def _print(found: dict[str, Any]) -> None:
    if "enum" in found:
        console.print(f"ENUM: {shown(found['enum'])}")
    rows = [[each["transport"], each["host"], str(each["port"]), each["proves"]] for each in found["next_hops"]]
    print_rows(["transport", "address", "port", "certificate must prove"], rows)
    if "agreement" in found:
        console.print(f"by `connect` of the agreement with {shown(found['agreement'])}: DNS is not asked")
    elif found["authentic"]:
        console.print("[green]authentic[/]: DNS proves each step")
    else:
        console.print(f"[yellow]not authentic[/]: {shown(found['why']) or 'DNS proves none of it'}")
