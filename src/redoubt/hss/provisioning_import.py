"""The import of a whole file: everything is read and checked first, then sealed and stored, and nothing is half done.

It runs beside the calls of a running HSS: in slices of a few milliseconds, on a store that locks as briefly. Memory is
bounded by eight octets for each identity of the file.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import TypeVar

from redoubt.hss.administration import Administration
from redoubt.hss.provisioning_files import CardFile, ImportRefused, Row, identities, rows
from redoubt.hss.store import Conflict
from redoubt.hss.subscriber import ProvisioningError, checked
from redoubt.limits import HSS_IMPORT_BATCH, HSS_IMPORT_SUBSCRIBERS

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with "reading" (octets), "sealing" or "storing" (subscribers): how many are done, of how many."""

BUCKETS = 256  # the hashes are sorted in so many parts, so that none takes long
SLICE = 32  # rows between two looks at the loop: some 2 ms


async def import_file(administration: Administration, file: CardFile, progress: Progress | None = None) -> int:
    """Adds all subscribers of the file or none; returns how many. Raises ImportRefused, ProvisioningError."""
    tell = progress or (lambda stage, done, total: None)
    count = await _check(administration, file, tell)
    done = 0
    async with administration.bulk() as bulk:
        async for batch in _batches(rows(file)):
            sealed = []
            async for row in _sliced(iter(batch), SLICE):
                sealed.append(bulk.sealed(row.subscriber))
            tell("sealing", done + len(batch), count)
            try:
                await bulk.add(sealed)
            except Conflict:
                raise await _taken(administration, file, batch) from None
            done += len(batch)
            tell("storing", done, count)
        if done != count:
            raise ProvisioningError("file", f"{file.name} changed while it was read")
    return done


async def _check(administration: Administration, file: CardFile, tell: Progress) -> int:
    """Reads the file to its end: every row is right and nothing stands there twice."""
    known = [array("q") for _ in range(BUCKETS)]
    count = wildcards = 0
    async for row in _sliced(rows(file), SLICE):
        try:
            checked(row.subscriber)
        except ProvisioningError as fault:
            raise row.refused(file.name, fault) from None
        for _field, identity in identities(row.subscriber):
            number = hash(identity)
            known[number % BUCKETS].append(number)
        wildcards += sum(1 for one in row.subscriber.sets for identity in one.identities if identity.wildcard)
        count += 1
        if count > HSS_IMPORT_SUBSCRIBERS:
            raise ProvisioningError("file", f"more than {HSS_IMPORT_SUBSCRIBERS} subscribers; split it")
        if count % HSS_IMPORT_BATCH == 0:
            tell("reading", row.position, file.octets)
    tell("reading", file.octets, file.octets)
    await administration.check_room(wildcards)
    repeated: set[int] = set()
    async for bucket in _sliced(iter(known), 1):
        repeated.update(one for one, other in pairwise(sorted(bucket)) if one == other)
    if repeated:
        await _refuse_repeated(file, repeated)
    return count


async def _refuse_repeated(file: CardFile, repeated: set[int]) -> None:
    """Looks again at the identities whose hash occurs twice, for the line of the first."""
    seen: dict[str, int] = {}
    async for row in _sliced(rows(file), SLICE):
        for field, identity in identities(row.subscriber):
            if hash(identity) not in repeated:
                continue
            if identity in seen:
                fault = ProvisioningError(field, f"{identity} is on line {seen[identity]} already")
                raise row.refused(file.name, fault)
            seen[identity] = row.line


async def _taken(administration: Administration, file: CardFile, batch: list[Row]) -> ImportRefused:
    """The row of the batch that the store already has."""
    for row in batch:
        for field, identity in identities(row.subscriber):
            if await administration.knows(identity):
                why = f"{identity} is provisioned already; remove it first, or take this row out"
                return row.refused(file.name, ProvisioningError(field, why))
    return batch[0].refused(file.name, ProvisioningError("impi", "is in use since a moment ago; try again"))


async def _batches(found: Iterator[Row]) -> AsyncIterator[list[Row]]:
    batch: list[Row] = []
    async for row in _sliced(found, SLICE):
        batch.append(row)
        if len(batch) == HSS_IMPORT_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _sliced(items: Iterator[T], slice_length: int) -> AsyncIterator[T]:
    """The same, letting others run after every slice."""
    for number, item in enumerate(items, 1):
        yield item
        if number % slice_length == 0:
            await asyncio.sleep(0)
