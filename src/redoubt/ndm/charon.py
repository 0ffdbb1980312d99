"""One charon that serves as our gateway: told its connections, asked to set them up, watched, and found again.

Its list of associations says what stands; it is read at each of its events and every second. Its log says why not.
"""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redoubt.config.base import ConfigError
from redoubt.limits import GATEWAY_ATTEMPTS_REMEMBERED
from redoubt.ndm.gateway_causes import ESP_ERRORS, Cause, cause_of
from redoubt.ndm.gateway_rendering import PREFIX, connection, credentials, files
from redoubt.ndm.tunnel import SETTLED_S, Tunnel
from redoubt.ndm.vici import Tree, Vici, ViciError
from redoubt.sip.service import Context

POLL_S = 1.0
RETRY_S = (1.0, 10.0)  # between attempts to set a tunnel up, at first and at most
AFTER_YOU_S = 1.5  # two ends that begin at once make two associations, of which one soon ends with what it carries
STRANGERS_TOLD_S = 1.0  # a flood of attempts from anywhere is one event a second
SAME_REFUSAL_S = 1.0
RECEIVED = re.compile(r"received packet: from ([0-9a-fA-F.:]{2,45})\[\d{1,5}\] to ")
UNNAMED = "(unnamed)"


@dataclass(slots=True)
class Attempt:
    """An association that someone sets up, or tries to."""

    source: str = ""
    refused_at: float = -1.0


class Charon:
    """Holds the tunnels of one control socket. `hold` is the work; it ends when it is cancelled."""

    def __init__(self, context: Context, path: str, tunnels: Sequence[Tunnel]) -> None:
        self._context = context
        self._path = path
        self._tunnels = {tunnel.connection: tunnel for tunnel in tunnels}
        self._wake = asyncio.Event()
        self._next_at: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()  # by charon's number
        self._loaded: list[tuple[int, int]] = []
        self._strangers_told_at = 0.0
        self._strangers_untold = 0

    async def hold(self) -> None:
        """Until cancelled. When charon goes away everything it held has fallen; when it is back, it is told anew."""
        while True:
            try:
                await self._conversation()
            except ConfigError as error:
                self._lost(str(error), "correct the file; it is read again at once")
            except FileNotFoundError:
                self._lost(f"no charon is at {self._path}", "start strongSwan, or write its socket in `vici`")
            except PermissionError:
                why = f"this user may not open {self._path}"
                self._lost(why, "run `redoubt up` as root, or give its group the socket")
            except (OSError, ViciError) as error:
                self._lost(f"charon at {self._path}: {error}", "look at strongSwan's log; it is tried again at once")
            await asyncio.sleep(POLL_S)

    def _lost(self, why: str, advice: str) -> None:
        for tunnel in self._tunnels.values():
            tunnel.lost(Cause(why, "TS 33.210 5", advice))

    async def _conversation(self) -> None:
        opened: list[Vici] = []
        watching: asyncio.Task[None] | None = None
        try:
            for _ in range(2):
                opened.append(await Vici.open(self._path))
            control, events = opened
            watching = asyncio.get_running_loop().create_task(self._watch(events))
            watching.add_done_callback(lambda _: self._wake.set())
            await self._load(control)
            while not watching.done():
                self._wake.clear()
                await self._renew(control)
                await self._look(control)
                await self._set_up(control)
                pause_s = SETTLED_S if any(tunnel.is_settling for tunnel in self._tunnels.values()) else POLL_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
            await watching
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            for connected in opened:
                connected.close()

    async def _load(self, control: Vici) -> None:
        """Our connections as the configuration has them; those of an older one end."""
        self._loaded = self._versions()
        wanted = {name: connection(tunnel.config) for name, tunnel in self._tunnels.items()}
        known = (await control.request("get-conns")).get("conns", [])
        for name in known:
            if name.startswith(PREFIX) and name not in wanted:
                await control.request("unload-conn", {"name": name})
                await _terminate(control, name)
        for name in (await control.request("get-shared")).get("keys", []):
            if name.startswith(PREFIX) and name not in wanted:
                await control.request("unload-shared", {"id": name})
        for name, tunnel in self._tunnels.items():
            for command, message in credentials(tunnel.config):
                await control.request(command, message)
            await control.request("load-conn", wanted[name])
        # An older revocation list that it has used would be found before a newer one.
        await control.request("flush-certs", {"type": "X509_CRL"})

    async def _renew(self, control: Vici) -> None:
        """Certificates, keys and revocation lists are loaded again when their files are others; tunnels go on."""
        if self._versions() == self._loaded:
            return
        try:
            await self._load(control)
        except ConfigError as error:
            self._context.notice("alarm", f"{error}; the tunnels go on with what was loaded before", "correct the file")
        else:
            self._context.notice("info", "files of [[gateways]] changed and were loaded again")
            for name, tunnel in self._tunnels.items():
                if tunnel.stands and tunnel.config.revoked:  # who is revoked now has to prove itself again
                    await control.request("rekey", {"ike": name, "reauth": "yes"})

    def _versions(self) -> list[tuple[int, int]]:
        named = [file for tunnel in self._tunnels.values() for file in files(tunnel.config)]
        found = [file.stat() if file.exists() else None for file in named]
        return [(one.st_mtime_ns, one.st_size) if one is not None else (0, 0) for one in found]

    async def _look(self, control: Vici) -> None:
        listed = await control.streamed("list-sas", "list-sa")
        for name, tunnel in self._tunnels.items():
            tunnel.listed([one[name] for one in listed if name in one])
            if tunnel.stands:
                self._pause_s.pop(name, None)
                self._next_at.pop(name, None)

    async def _set_up(self, control: Vici) -> None:
        now = asyncio.get_running_loop().time()
        for name, tunnel in self._tunnels.items():
            if tunnel.stands or tunnel.is_being_set_up:
                continue
            if now < self._next_at.setdefault(name, now + (0.0 if tunnel.is_first else AFTER_YOU_S)):
                continue
            pause_s = self._pause_s.get(name, RETRY_S[0])
            self._pause_s[name] = min(2 * pause_s, RETRY_S[1])
            self._next_at[name] = now + pause_s * (1 + self._context.randomness.octets(1)[0] / 256)
            await control.request("initiate", {"ike": name, "child": name, "timeout": -1})

    async def _watch(self, events: Vici) -> None:
        async for name, tree in events.events("log", "ike-updown", "child-updown", "child-rekey"):
            if name == "log":
                self._said(tree)
            else:
                self._wake.set()

    def _said(self, line: Tree) -> None:
        """A line of charon's log: who speaks, and why something was refused."""
        sentence, name = line.get("msg", ""), line.get("ikesa-name", UNNAMED)
        attempt = self._attempt(line.get("ikesa-uniqueid", ""))
        if found := RECEIVED.match(sentence):
            attempt.source = found[1]
        elif line.get("group") == "ESP":
            self._dropped(sentence)
        elif cause := cause_of(sentence):
            self._refused(cause, name, attempt)
            self._wake.set()

    def _refused(self, cause: Cause, name: str, attempt: Attempt) -> None:
        """The first sentence is the most exact one; what follows from it is not said again."""
        now = asyncio.get_running_loop().time()
        if cause.ends and 0 <= now - attempt.refused_at < SAME_REFUSAL_S:
            return
        attempt.refused_at = now if cause.ends else attempt.refused_at
        tunnel = self._tunnels.get(name) or self._at(attempt.source)
        if tunnel is not None:
            tunnel.failed(cause, attempt.source)
        elif name == UNNAMED:
            self._stranger(cause, attempt.source)

    def _attempt(self, number: str) -> Attempt:
        attempt = self._attempts.get(number)
        if attempt is None:
            attempt = self._attempts[number] = Attempt()
            if len(self._attempts) > GATEWAY_ATTEMPTS_REMEMBERED:
                self._attempts.popitem(last=False)
        return attempt

    def _at(self, source: str) -> Tunnel | None:
        return next((tunnel for tunnel in self._tunnels.values() if tunnel.config.remote == source), None)

    def _stranger(self, cause: Cause, source: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._strangers_told_at < STRANGERS_TOLD_S:
            self._strangers_untold += 1
            return
        more = f"; {self._strangers_untold} more since the last one said" if self._strangers_untold else ""
        self._strangers_told_at, self._strangers_untold = now, 0
        self._context.refused(
            0, f"no partner's gateway: {cause.why}; {cause.advice}{more}", cause.clause, method="IKE", source=source
        )

    def _dropped(self, sentence: str) -> None:
        """User-space ESP dropped a packet; it does not say of which tunnel unless there is one only."""
        if any(word in sentence for word in ESP_ERRORS):
            for tunnel in self._tunnels.values():
                if "outbound" in sentence:
                    tunnel.send_errors += 1
                else:
                    tunnel.receive_errors += 1


async def _terminate(control: Vici, name: str) -> Any:
    try:
        return await control.streamed("terminate", "control-log", {"ike": name, "timeout": -1})
    except ViciError:  # it had no association
        return None
