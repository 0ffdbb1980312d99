"""What `redoubt subscriber add|show|list|import|remove` needs: fields and files in, subscribers out, and back.

    subscriber = subscriber_of({"impi": "alice@example", "k": "...", "opc": "...", "impus": "sip:alice@example"})
    subscribers = read_file(Path("cards.csv"))                # or .jsonl; all of it is right, or ProvisioningError
    async with offline(state, config.hss, realm) as provisioning:   # the store's file; a running Hss sees it in 1 s
        await provisioning.add(subscribers)
    await hss.administration.add(subscribers)                 # in a running Hss

Fields of both file kinds: impi, k, opc or op, and optionally algorithm, amf, sqn, impus (default sip:IMPI), barred,
visited-networks, capabilities, optional-capabilities. JSON lines may have lists for the plural ones, and also
`wildcards`, `sets` (lists of IMPUs that register together), `criteria` and `private` (more private identities).
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from redoubt.config import HssConfig
from redoubt.diameter.cx import InitialFilterCriterion, PublicIdentity, ServerCapabilities, ServiceProfile
from redoubt.events import EventStream
from redoubt.hss.administration import Administration
from redoubt.hss.hss import Hss
from redoubt.hss.records import ImplicitSet, Subscription
from redoubt.hss.subscriber import (
    DEFAULT_AMF,
    PrivateIdentity,
    ProvisioningError,
    Subscriber,
    canonical_impu,
    checked,
)
from redoubt.limits import HSS_IMPORT_LINE_OCTETS, HSS_IMPORT_SUBSCRIBERS
from redoubt.secret import Secret
from redoubt.sip.service import Context
from redoubt.sources import Clock, SystemRandomness

KEY_FIELDS = ("impi", "k", "opc", "op", "algorithm", "amf", "sqn")
SUBSCRIBER_FIELDS = (
    *("impus", "barred", "wildcards", "sets", "criteria", "private"),
    *("visited-networks", "capabilities", "optional-capabilities"),
)


class ImportRefused(ProvisioningError):
    """An import file's fault, by line and column (of CSV: the field's number; of JSON: 1); nothing was imported."""

    def __init__(self, file: str, line: int, column: int, fault: ProvisioningError) -> None:
        super().__init__(fault.field, fault.why)
        self.line, self.column = line, column
        self.args = (f"{file}, line {line}, column {column}: {fault.field}: {fault.why}",)


@asynccontextmanager
async def offline(state: Path, config: HssConfig, realm: str) -> AsyncIterator[Administration]:
    """Provisioning on the store's file, whether or not a network runs on it. No S-CSCF is told of anything."""
    clock = Clock(asyncio.get_running_loop())
    context = Context("hss", EventStream(), clock, SystemRandomness())
    hss = await Hss.open(context, config, realm, state)
    try:
        yield hss.administration
    finally:
        await hss.close()


def read_file(path: Path) -> list[Subscriber]:
    """All subscribers of a .csv file (first line: field names) or of JSON lines. Raises ImportRefused."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ProvisioningError("file", f"{path} can't be read as UTF-8 text: {fault}") from None
    rows = _csv_rows(text, path.name) if path.suffix.lower() == ".csv" else _json_rows(text, path.name)
    subscribers: list[Subscriber] = []
    seen: dict[str, int] = {}
    for line, columns, fields in rows:
        try:
            subscriber = subscriber_of(fields)
            checked(subscriber)
            for name, identity in _identities(subscriber):
                if identity in seen:
                    raise ProvisioningError(name, f"{identity} is on line {seen[identity]} already")
                seen[identity] = line
        except ProvisioningError as fault:
            raise ImportRefused(path.name, line, columns.get(fault.field, 1), fault) from None
        subscribers.append(subscriber)
        if len(subscribers) > HSS_IMPORT_SUBSCRIBERS:
            raise ProvisioningError("file", f"more than {HSS_IMPORT_SUBSCRIBERS} subscribers; split it")
    return subscribers


def subscriber_of(fields: Mapping[str, Any]) -> Subscriber:
    """A subscriber from named fields, text or (JSON) lists. Raises ProvisioningError."""
    for name in fields:
        if name not in KEY_FIELDS and name not in SUBSCRIBER_FIELDS:
            raise ProvisioningError(str(name), f"no such field; there are {', '.join(KEY_FIELDS + SUBSCRIBER_FIELDS)}")
    more = fields.get("private") or []
    if not isinstance(more, list) or not all(isinstance(one, dict) for one in more):
        raise ProvisioningError("private", "must be a list of objects with impi, k and opc")
    privates = (_private(fields), *(_private(one) for one in more))
    return Subscriber(
        privates,
        _sets(fields, privates[0].impi),
        tuple(_words(fields, "visited-networks")),
        ServerCapabilities(_numbers(fields, "capabilities"), _numbers(fields, "optional-capabilities")),
    )


def described(subscription: Subscription) -> dict[str, Any]:
    """What `subscriber show` tells: everything but keys."""
    assignment, provisioned = subscription.assignment, subscription.provisioned
    return {
        "private": [
            {"impi": one.impi, "algorithm": one.algorithm, "amf": one.amf.hex(), "reserved-seq": one.reserved_seq}
            for one in subscription.privates
        ],
        "sets": [
            {
                "impus": [identity.impu for identity in one.identities],
                "barred": [identity.impu for identity in one.identities if identity.barred],
                "state": registration.state.name.lower(),
                "registered": list(registration.impis),
                "criteria": sum(len(profile.criteria) for profile in one.service_profiles),
            }
            for one, registration in zip(provisioned.sets, assignment.sets, strict=True)
        ],
        "s-cscf": assignment.server_name,
        "visited-networks": list(provisioned.visited_networks),
        "capabilities": list(provisioned.capabilities.mandatory),
        "optional-capabilities": list(provisioned.capabilities.optional),
    }


def _private(fields: Mapping[str, Any]) -> PrivateIdentity:
    impi = fields.get("impi")
    if not isinstance(impi, str) or not impi.strip():
        raise ProvisioningError("impi", "is missing; write user@domain")
    k = _secret(fields, "k")
    if k is None:
        raise ProvisioningError("k", "is missing; write the card's K as 32 hexadecimal digits")
    amf = _secret(fields, "amf")
    return PrivateIdentity(
        impi.strip(),
        k,
        _secret(fields, "opc"),
        _secret(fields, "op"),
        str(fields.get("algorithm") or "milenage").lower(),
        DEFAULT_AMF if amf is None else amf.reveal(),
        _sqn(fields.get("sqn")),
    )


def _secret(fields: Mapping[str, Any], name: str) -> Secret | None:
    """Hexadecimal digits; a fault never repeats them."""
    text = fields.get(name)
    if text is None or text == "":
        return None
    try:
        return Secret(bytes.fromhex(text))
    except (ValueError, TypeError):
        raise ProvisioningError(name, "must be hexadecimal digits") from None


def _sqn(value: Any) -> int:
    """Twelve hexadecimal digits, as cards' data sheets have it, or a JSON number."""
    if value is None or value == "":
        return 0
    if isinstance(value, int):
        return value
    try:
        return int(str(value), 16)
    except ValueError:
        raise ProvisioningError("sqn", "must be up to 12 hexadecimal digits") from None


def _sets(fields: Mapping[str, Any], impi: str) -> tuple[ImplicitSet, ...]:
    barred = {canonical_impu(impu, "barred") for impu in _words(fields, "barred")}
    criteria = _criteria(fields)
    groups = fields.get("sets") or [_words(fields, "impus") or [f"sip:{impi}"]]
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        raise ProvisioningError("sets", "must be a list of lists of public identities")
    wildcards = tuple(PublicIdentity("", wildcard=text) for text in _words(fields, "wildcards"))
    sets: list[ImplicitSet] = []
    for group in groups:
        impus = [canonical_impu(str(impu), "sets" if "sets" in fields else "impus") for impu in group]
        identities = tuple(PublicIdentity(impu, impu in barred) for impu in impus)
        sets.append(ImplicitSet((ServiceProfile(identities + (() if sets else wildcards), criteria),)))
    unknown = barred - {identity.impu for one in sets for identity in one.identities}
    if unknown:
        raise ProvisioningError("barred", f"{min(unknown)} is none of the subscriber's public identities")
    return tuple(sets)


def _criteria(fields: Mapping[str, Any]) -> tuple[InitialFilterCriterion, ...]:
    try:
        criteria = msgspec.convert(fields.get("criteria") or [], tuple[InitialFilterCriterion, ...])
    except msgspec.ValidationError as fault:
        raise ProvisioningError("criteria", str(fault)) from None
    return tuple(sorted(criteria, key=lambda one: one.priority))


def _words(fields: Mapping[str, Any], name: str) -> list[str]:
    """A JSON list, or text divided by blanks."""
    value = fields.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ProvisioningError(name, "must be text or a list of texts")
    return value


def _numbers(fields: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = fields.get(name)
    words = value.split() if isinstance(value, str) else value or []
    try:
        return tuple(int(word) for word in words)
    except (TypeError, ValueError):
        raise ProvisioningError(name, "must be numbers (TS 29.229 6.3.5)") from None


def _identities(subscriber: Subscriber) -> Iterator[tuple[str, str]]:
    for private in subscriber.privates:
        yield "impi", private.impi
    for one in subscriber.sets:
        for identity in one.identities:
            yield "impus", identity.impu or identity.wildcard


Row = tuple[int, dict[str, int], dict[str, Any]]
"""Line, the column of each field, the fields."""


def _csv_rows(text: str, file: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text), strict=True)
    names: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip().lower() for cell in cells]
                continue
            if len(cells) != len(names):
                fault = ProvisioningError("line", f"has {len(cells)} fields, the first line has {len(names)}")
                raise ImportRefused(file, line, min(len(cells), len(names)) + 1, fault)
            columns = {name: number for number, name in enumerate(names, 1)}
            yield line, columns, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    except csv.Error as fault:
        raise ImportRefused(file, reader.line_num, 1, ProvisioningError("line", str(fault))) from None


def _json_rows(text: str, file: str) -> Iterator[Row]:
    for line, row in enumerate(text.splitlines(), 1):
        if not row.strip():
            continue
        if len(row) > HSS_IMPORT_LINE_OCTETS:
            raise ImportRefused(file, line, 1, ProvisioningError("line", "is too long"))
        try:
            fields = msgspec.json.decode(row, type=dict[str, Any])
        except msgspec.DecodeError as fault:
            raise ImportRefused(file, line, 1, ProvisioningError("line", f"is no JSON object: {fault}")) from None
        yield line, {}, fields
