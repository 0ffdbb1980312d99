"""The export: what an import takes, so that an export with keys into an empty store gives the same subscribers.

`sqn` is the highest that may have been used: who imports it goes on above, and no number is used twice
(TS 33.102 C.1.1).
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from redoubt.aka.sequence import SequenceScheme
from redoubt.hss.administration import Administration
from redoubt.hss.keys import NotSealedHere
from redoubt.hss.provisioning_fields import KEY_FIELDS, LIST_FIELDS, profile_of
from redoubt.hss.provisioning_files import Kind, Rows
from redoubt.hss.records import PrivateRecord, Subscription
from redoubt.hss.subscriber import ProvisioningError

_SECRETS = ("k", "opc", "op")


async def exported(administration: Administration, kind: Kind, with_keys: bool) -> AsyncIterator[str]:
    """The file, a line for each subscriber. Raises ProvisioningError for keys that can't be opened."""
    names = tuple(name for name in (*KEY_FIELDS, *LIST_FIELDS, "private") if with_keys or name not in _SECRETS)
    rows = Rows(kind, tuple(name for name in names if name != "op"))  # of OP only OPc is stored
    if header := rows.header():
        yield header
    async for subscription in administration.subscriptions():
        yield rows.row(fields_of(administration, subscription, with_keys))


def fields_of(administration: Administration, subscription: Subscription, with_keys: bool) -> dict[str, Any]:
    """A subscription as named fields."""
    first, *more = subscription.privates
    fields = _card(administration, first, with_keys)
    fields |= msgspec.to_builtins(profile_of(subscription.provisioned, first.impi))
    if more:
        fields["private"] = [_card(administration, record, with_keys) for record in more]
    return fields


def _card(administration: Administration, record: PrivateRecord, with_keys: bool) -> dict[str, Any]:
    scheme = SequenceScheme()
    card: dict[str, Any] = {"impi": record.impi}
    if with_keys:
        try:
            k, opc = administration.keys(record)
        except NotSealedHere:
            raise ProvisioningError("k", f"the keys of {record.impi} can't be opened with this hss.key-file") from None
        card |= {"k": k.reveal().hex(), "opc": opc.reveal().hex()}
    sqn = scheme.join(record.reserved_seq, scheme.indices - 1) if record.reserved_seq else 0
    return card | {"algorithm": record.algorithm, "amf": record.amf.hex(), "sqn": f"{sqn:012x}"}
