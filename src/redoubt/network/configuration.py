"""Reads and writes redoubt.toml. Everything about an option comes from its declaration in `redoubt.config`."""

import ast
import difflib
import inspect
import ipaddress
import re
import textwrap
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from redoubt.config import Config, ConfigError, Section
from redoubt.config.protections import PROTECTIONS
from redoubt.limits import CHALLENGES_PER_MINUTE
from redoubt.ndm.gateway_policy import check as check_gateway
from redoubt.sip.errors import SipError
from redoubt.sip.uri import SipUri, parse_uri
from redoubt.transport.flow import Zone
from redoubt.transport.listen import Listen, is_loopback

S = TypeVar("S", bound=Section)

_DOMAIN = re.compile(r"(?!.{254})[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")


def load(path: Path) -> Config:
    """The configuration in `path`. Raises ConfigError naming the option and what to write instead."""
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; `redoubt init` writes one") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return _beside(path.absolute().parent, from_tree(tree, str(path)))


def _beside(folder: Path, config: Config) -> Config:
    """Certificates and keys are found from where the file is, whatever the working directory."""

    def found(section: S, *options: str) -> S:
        written = {option: getattr(section, option) for option in options}
        places = {option: str(folder / file) for option, file in written.items() if file}
        return msgspec.structs.replace(section, **places)

    return msgspec.structs.replace(
        config,
        network=found(config.network, "certificate", "key", "authority"),
        diameter=found(config.diameter, "certificate", "key", "authority"),
        hss=found(config.hss, "rest_certificate", "rest_key"),
        ibcf=found(config.ibcf, "certificate", "key", "authority", "revoked"),
        partners=tuple(found(one, "authority") for one in config.partners),
        gateways=tuple(
            found(one, "secret_file", "certificate", "key", "authority", "revoked") for one in config.gateways
        ),
        dns=found(config.dns, "authority", "tsig_file", "anchors"),
    )


def from_tree(tree: Mapping[str, Any], source: str = "the configuration") -> Config:
    """A configuration from plain tables, checked and with `{realm}` filled in."""
    _refuse_unknown_keys(tree, source)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_located(str(error))}") from None
    config = _with_realm(config)
    _refuse_unreadable(config, source)
    _refuse_unsafe(config, source)
    _refuse_telling(config, source)
    for gateway in config.gateways:
        check_gateway(gateway)
    return config


def _located(error: str) -> str:
    """What msgspec found, at the option's name in the file, with a value that would do."""
    found = re.fullmatch(r"(.*) - at `\$\.([\w-]+)(?:\[\.*\d*\])?\.([\w-]+)(.*)`", error, re.DOTALL)
    if found is None:
        return error
    wrong, section, option, within = found.groups()
    table = msgspec.to_builtins(Config()).get(section, {})
    if not isinstance(table, dict):
        return f"[[{section}]] {option}{within}: {wrong}"
    return f"[{section}] {option}{within}: {wrong}; write for example {option} = {_toml(table.get(option))}"


def _refuse_unknown_keys(tree: Mapping[str, Any], source: str) -> None:
    sections = {field.encode_name: field.type for field in msgspec.structs.fields(Config)}
    for name, table in tree.items():
        if name not in sections:
            raise ConfigError(f"{source}: there is no section [{name}]{_nearest(name, sections)}")
        known = {field.encode_name: field for field in msgspec.structs.fields(_one_of(sections[name]))}
        for each in table if isinstance(table, list | tuple) else (table,):
            for key in each if isinstance(each, Mapping) else ():
                if key not in known:
                    raise ConfigError(f"{source}: [{name}] has no option {key}{_nearest(key, known)}")


def _one_of(section: Any) -> type[Section]:
    """The section itself, or what a list of sections is made of ([[partners]])."""
    inner: type[Section] = typing.get_args(section)[0] if typing.get_args(section) else section
    return inner


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _with_realm(config: Config) -> Config:
    """`{realm}` in any text stands for the home network's domain name."""
    realm = config.network.realm
    tree = _filled(msgspec.to_builtins(config), realm)
    return msgspec.convert(tree, Config)


def _filled(value: Any, realm: str) -> Any:
    if isinstance(value, str):
        return value.replace("{realm}", realm)
    if isinstance(value, dict):
        return {key: _filled(item, realm) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, realm) for item in value]
    return value


def _refuse_unreadable(config: Config, source: str) -> None:
    """Texts whose form a type can't tell: names, addresses, URIs, each with its option and what to write instead."""
    network, example = config.network, "ims.mnc001.mcc001.3gppnetwork.org"
    if not _DOMAIN.fullmatch(network.realm):
        raise ConfigError(f"{source}: [network] realm: {network.realm!r} is no domain name; write one like {example}")
    for node in network.trusted_nodes:
        try:
            ipaddress.ip_address(node)
        except ValueError:
            raise ConfigError(
                f"{source}: [network] trusted-nodes: {node!r} is no IP address; write those of other core nodes"
            ) from None
    try:
        for listen in (*_sip_listening(config), *config.ibcf.listen):
            Listen.parse(listen, Zone.CORE)
        for to in network.routes.values():
            Listen.parse(to, Zone.CORE)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    if not network.certificate and any(listen.startswith("tls:") for listen in _sip_listening(config)):
        raise ConfigError(f"{source}: tls: needs a certificate; write [network] certificate and key")
    for section in ("p_cscf", "i_cscf", "s_cscf", "ibcf", "bgcf"):
        uri = getattr(config, section).uri
        _demand_sip_uri(source, f"[{section.replace('_', '-')}] uri", uri, network.realm)
    for server in config.i_cscf.servers:
        _demand_sip_uri(source, "[i-cscf] servers", server.uri, network.realm)
    if config.p_cscf.home_entry:
        _demand_sip_uri(source, "[p-cscf] home-entry", config.p_cscf.home_entry, network.realm)


def _demand_sip_uri(source: str, option: str, text: str, realm: str) -> None:
    try:
        uri = parse_uri(text)
    except SipError:
        uri = None
    if not isinstance(uri, SipUri):
        raise ConfigError(f"{source}: {option}: {text!r} is no SIP URI; write sip:NAME.{realm}")


def _sip_listening(config: Config) -> Iterator[str]:
    yield from config.p_cscf.listen
    yield from config.p_cscf.core
    yield from config.i_cscf.listen
    yield from config.s_cscf.listen
    yield from config.bgcf.listen
    yield from config.ibcf.core


def _refuse_unsafe(config: Config, source: str) -> None:
    """A network with a protection off serves loopback only (architecture, security decision 8)."""
    off = config.test.protections_off
    for name in off:
        if name not in PROTECTIONS:
            raise ConfigError(f"{source}: [test] protections-off: {name} is no protection{_nearest(name, PROTECTIONS)}")
    if off:
        media = [f"media:{host}:0" for host in (*config.media.inside, *config.media.outside)]
        for listen in (*listening(config), *media):
            host = listen.split(":", 1)[1].rsplit(":", 1)[0].strip("[]")
            if not is_loopback(host):
                raise ConfigError(
                    f"{source}: [test] protections-off is set, so every address must be loopback, and {listen} is not;"
                    " remove protections-off or listen on 127.0.0.1"
                )


def _refuse_telling(config: Config, source: str) -> None:
    """The HSS's ceiling holds for users that exist, the S-CSCF's for all: were the HSS's met first, it would tell."""
    most = config.hss.max_pending_per_user
    if most < CHALLENGES_PER_MINUTE:
        raise ConfigError(
            f"{source}: [hss] max-pending-per-user is {most}, less than the {CHALLENGES_PER_MINUTE} challenges that"
            " an S-CSCF leaves unanswered: strangers could tell by it who is a user;"
            f" write {CHALLENGES_PER_MINUTE} or more"
        )


def listening(config: Config) -> Iterator[str]:
    """All addresses that the network opens."""
    yield from _sip_listening(config)
    yield from config.ibcf.listen
    yield from config.hss.diameter
    if config.hss.rest:
        yield config.hss.rest
    yield from config.gm.listen


def addresses_inside(config: Config) -> frozenset[str]:
    """Hosts of this network's nodes and gateways: what is sent to any other leaves the network. A route of the BGCF
    that leads to a partner, by its domain or by an address of `connect`, leaves it like all else.
    """
    own = {text.split(":", 1)[1].rsplit(":", 1)[0].strip("[]") for text in listening(config)}
    gateways = {uri.address for route in config.bgcf.routes if isinstance(uri := parse_uri(route.to), SipUri)}
    theirs = {Listen.parse(to, Zone.BORDER).host for partner in config.partners for to in partner.connect}
    domains = [f".{domain.lower()}" for one in config.partners for domain in (*one.domains, *one.transit_to)]
    theirs |= {host for host in gateways if f".{host}".endswith(tuple(domains))}
    return frozenset(own) | frozenset(config.network.trusted_nodes) | (gateways - theirs)


def _help(section: type[Section]) -> dict[str, str]:
    """The docstring that follows each option in its declaration."""
    (declaration,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(declaration, ast.ClassDef)
    texts: dict[str, str] = {}
    for option, following in zip(declaration.body, declaration.body[1:], strict=False):
        if (
            isinstance(option, ast.AnnAssign)
            and isinstance(option.target, ast.Name)
            and isinstance(following, ast.Expr)
        ):
            texts[option.target.id] = str(ast.literal_eval(following.value))
    return texts


def rendered(config: Config) -> str:
    """The configuration as a commented redoubt.toml, each option with its help."""
    parts = ["# Redoubt: an IMS network. Every option with its default; `redoubt up` runs it.\n"]
    for section in msgspec.structs.fields(Config):
        table, kind = getattr(config, section.name), _one_of(section.type)
        parts += ["\n", *[f"# {line}\n" for line in textwrap.wrap(" ".join((kind.__doc__ or "").split()), 110)]]
        if isinstance(table, tuple):
            parts += [f"[[{section.encode_name}]]\n{_rendered_options(one)}\n" for one in table]
            parts += [] if table else [_described(section.encode_name, kind)]
        else:
            parts.append(f"[{section.encode_name}]\n{_rendered_options(table)}")
    return "".join(parts)


def _rendered_options(table: Section) -> str:
    parts = []
    help_of = _help(type(table))
    for option in msgspec.structs.fields(type(table)):
        parts += [f"# {line}\n" for line in textwrap.wrap(" ".join(help_of.get(option.name, "").split()), 110)]
        parts.append(f"{option.encode_name} = {_toml(msgspec.to_builtins(getattr(table, option.name)))}\n")
    return "".join(parts)


def _described(name: str, kind: type[Section]) -> str:
    """What one entry of an empty list would hold, as a comment."""
    parts = [f"# [[{name}]]\n"]
    help_of = _help(kind)
    for option in msgspec.structs.fields(kind):
        parts += [f"#   # {line}\n" for line in textwrap.wrap(" ".join(help_of.get(option.name, "").split()), 106)]
        default = "" if option.default is msgspec.NODEFAULT else _toml(msgspec.to_builtins(option.default))
        parts.append(f"#   {option.encode_name} = {default or '...'}\n")
    return "".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else msgspec.json.encode(name).decode()
