"""One life of an HSS: it checks what it finds against what was acknowledged before, then works until it is killed.

Every operation is announced before it begins and told when its await returned; both lines go straight to a pipe, so
that what the parent has read is what somebody was told.
"""

import asyncio
import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

from hss.conftest import REALM, open_hss, private
from hss.test_cx import sqn_of
from redoubt.config import HssConfig
from redoubt.diameter.cx import (
    RegisteredContact,
    RegistrationTermination,
    RestorationInfo,
    ResultCode,
    ServerAssignmentType,
    UserAuthorizationType,
    UserProfile,
)
from redoubt.hss.hss import Hss
from redoubt.hss.subscriber import Subscriber

from .model import S1, S2, User, after, interrupted, next_operation

CONFIG = HssConfig(max_pending_per_user=10**6, sequence_block=3)
BULK, BATCH, IMPORTS_EVERY = 30, 5, 3  # subscribers of an import and of its batches; in every third life


class Obliging:
    """An S-CSCF that does what it is told."""

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        return ResultCode.SUCCESS


class Life:
    def __init__(self, folder: Path, pipe: int, seed: int, synchronous: str) -> None:
        self._folder = folder
        self._pipe = pipe
        self._seed = seed
        self._synchronous = synchronous

    async def run(
        self, users: list[User], under_way: dict[str, str], imports: dict[int, bool], *, only_look: bool
    ) -> None:
        """Returns only if it shall not work; `users` are those acknowledged, `under_way` what never was.

        `imports` tells of each whether it was acknowledged.
        """
        hss = open_hss(self._folder, CONFIG, seed=self._seed)
        for connection in (hss.store._reader, hss.store._writer):  # type: ignore[attr-defined]
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._seed % 2:  # so that many die while the write-ahead log is being copied into the database
                connection.execute("PRAGMA wal_autocheckpoint = 10")
        for server in (S1, S2):
            hss.attach(server, Obliging())
        found = [await self._found(hss, user, under_way.get(user.name)) for user in users]
        imported = [number for number, whole in imports.items() if await self._imported(hss, number, whole)]
        self._inspect(sum(user.exists for user in found) + BULK * len(imported))
        self._say("checked")
        if only_look:
            await hss.close()
            return
        bulk = [self._import(hss, self._seed)] if self._seed % IMPORTS_EVERY == 0 else []
        await asyncio.gather(*(self._work(hss, user) for user in found), *bulk)

    async def _found(self, hss: Hss, user: User, open_operation: str | None) -> User:
        """The state that the user is in. Only an operation that was under way leaves a choice."""
        allowed = interrupted(user, open_operation) if open_operation else (user,)
        seen: list[tuple[str, ...]] = []
        for one in allowed:
            seen.append(await _seen(hss, one))
            if seen[-1] == one.seen:
                self._say("is", user.name, allowed.index(one))
                return one
        self._say("wrong", f"{user.impi} is {seen[0]}, was {user.seen}; under way: {open_operation or 'nothing'}")
        return user

    async def _imported(self, hss: Hss, number: int, whole: bool) -> bool:
        """Whether an import is there, by its first and its last subscriber; how many there are is counted."""
        there = [await hss.administration.knows(_bulk(number, one).privates[0].impi) for one in (0, BULK - 1)]
        if there[0] != there[1] or (whole and not there[0]):
            self._say("wrong", f"import {number}, {'' if whole else 'not '}acknowledged: first and last are {there}")
        self._say("imported", number, there[0])
        return there[0]

    def _inspect(self, existing: int) -> None:
        with sqlite3.connect(self._folder / "hss.sqlite") as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchall()
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("subscription", "private_identity", "public_identity", "incoming")
            ]
        connection.close()
        if verdict != [("ok",)] or orphans or counts != [*[existing] * 3, 0]:
            self._say("wrong", f"store: {verdict}, orphans {orphans}, {counts} rows for {existing} subscribers")

    async def _work(self, hss: Hss, user: User) -> None:
        choice = random.Random(f"{self._seed} {user.name}")
        while True:
            operation = next_operation(user, choice)
            self._say("begin", user.name, operation)
            spent = await _carry_out(hss, user, operation)
            self._say("done", user.name, operation, spent)
            user = after(user, operation)

    async def _import(self, hss: Hss, number: int) -> None:
        """In batches, as `redoubt subscriber import` does it."""
        self._say("import begun", number)
        async with hss.administration.bulk() as bulk:
            for first in range(0, BULK, BATCH):
                await bulk.add([bulk.sealed(_bulk(number, one)) for one in range(first, first + BATCH)])
        self._say("import done", number)

    def _say(self, *what: Any) -> None:
        os.write(self._pipe, json.dumps(what).encode() + b"\n")


def _bulk(number: int, one: int) -> Subscriber:
    name = f"bulk{number}.{one}@home.example"
    return Subscriber.simple(private(name), f"sip:{name}")


async def _seen(hss: Hss, user: User) -> tuple[str, ...]:
    authorized = await hss.user_authorization(user.impi, user.impu, REALM, UserAuthorizationType.REGISTRATION)
    located = await hss.location_info(user.impu)
    restored = ""
    if located.server_name:
        none = ServerAssignmentType.NO_ASSIGNMENT
        answer = await hss.server_assignment(user.impi, user.impu, located.server_name, none)
        restored = " ".join(contact.call_id for one in answer.restoration for contact in one.contacts)
    return authorized.result.name, authorized.server_name, located.result.name, located.server_name, restored


async def _carry_out(hss: Hss, user: User, operation: str) -> list[int]:
    """The sequence numbers that it gave out."""
    verb, server, contact = (*operation.split(), "", "")[:3]
    match verb:
        case "add":
            await hss.administration.add([Subscriber.simple(private(user.impi), user.impu)])
        case "remove":
            await hss.administration.remove(user.impi)
        case "bar" | "unbar":
            await hss.administration.bar(user.impu, verb == "bar")
        case "reassign":
            await hss.administration.reassign(user.impi)
        case "mar":
            answer = await hss.multimedia_auth(user.impi, user.impu, server, 1)
            assert answer.result is ResultCode.SUCCESS, answer.result
            return [sqn_of(vector) for vector in answer.vectors]
        case "sar":
            restoration = RestorationInfo(user.impi, (RegisteredContact("<sip:127.0.0.1>", (), contact, 1),))
            kind = ServerAssignmentType.REGISTRATION
            assigned = await hss.server_assignment(user.impi, user.impu, server, kind, restoration=restoration)
            assert assigned.result is ResultCode.SUCCESS, assigned.result
        case "leave":
            kind = ServerAssignmentType.USER_DEREGISTRATION
            assigned = await hss.server_assignment(user.impi, user.impu, user.server, kind)
            assert assigned.result is ResultCode.SUCCESS, assigned.result
    return []
