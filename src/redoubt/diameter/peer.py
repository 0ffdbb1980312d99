"""One configured peer: its connection, kept up; its state, by the table of RFC 6733 5.6; its watchdog."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redoubt.config import DiameterPeer
from redoubt.diameter import capabilities
from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import Command
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.link import Asked, Link, LinkLost
from redoubt.diameter.local import Local
from redoubt.diameter.peer_table import TABLE, Action, Happening, State
from redoubt.diameter.results import Result
from redoubt.diameter.watchdog import Deed, Health, Watchdog
from redoubt.transport.flow import FlowFailed

EXCHANGE_S = 10.0  # for the capabilities exchange, connecting included
CLOSING_S = 2.0  # for the DPA, then for the other side to close
PROBE_S = 2.0
RETRY_S = (1.0, 30.0)  # the first and the longest wait before the next attempt; Tc of RFC 6733 12 is 30 s
ENDED = "the connection ended"
RETRY_AFTER_S = {d.DisconnectCause.BUSY: 60.0, d.DisconnectCause.DO_NOT_WANT_TO_TALK_TO_YOU: 300.0}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a peer needs of its node. `dial` makes a link or raises FlowFailed."""

    dial: Callable[["Peer"], Awaitable[Link]]
    request: Callable[["Peer", Link, DiameterMessage], None]
    stray_answer: Callable[[DiameterMessage], Asked | None]
    fail_over: Callable[["Peer"], None]
    changed: Callable[[], None]


class Peer:
    """Made by the node for each configured peer."""

    def __init__(self, local: Local, config: DiameterPeer, around: Surroundings) -> None:
        self.config = config
        self.identity = config.identity.lower()
        self.realm = config.realm.lower()
        self.state = State.CLOSED
        self.applications: frozenset[int] = frozenset()
        self.link: Link | None = None  # the open one
        self.in_work = 0  # its requests that this node is working on
        self._local = local
        self._around = around
        self._ours: Link | None = None  # the connection that we opened: I of RFC 6733 5.6
        self._theirs: Link | None = None  # the one that the peer opened: R
        self._cer: DiameterMessage | None = None  # what came on it
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_S[0]
        self._tried_at = 0.0
        self._told_off = False  # it asked to be left alone for a while
        self._mourned = False  # the operator was told of this outage
        self._why_down = ENDED
        self.watchdog = Watchdog(
            local.watchdog_s,
            local.context.randomness,
            {
                Deed.ASK: self._send_dwr,
                Deed.CLOSE: self._give_up,
                Deed.FAIL_OVER: lambda: around.fail_over(self),
                Deed.FAIL_BACK: around.changed,
            },
        )
        self._actions: dict[Action, Callable[[], None]] = {
            Action.I_SND_CONN_REQ: self._connect,
            Action.I_SND_CER: self._send_cer,
            Action.R_SND_CEA: self._send_cea,
            Action.ELECT: self._elect,
            Action.I_DISC: self._drop_ours,
            Action.R_DISC: self._drop_theirs,
            Action.R_REJECT: lambda: None,  # by whoever brought the CER: it has the link
            Action.PROBE: lambda: self.watchdog.probe(PROBE_S),
            Action.SND_DPR: self._send_dpr,
            Action.SND_DPA: lambda: None,  # with the request at hand, in `request`
            Action.ERROR: self._drop_both,
        }

    # ---- for the node

    @property
    def is_open(self) -> bool:
        return self.link is not None and self.state.is_open

    @property
    def is_trying(self) -> bool:
        """Whether a connection is being made right now."""
        return not self.state.is_open and self.state not in (State.CLOSED, State.CLOSING)

    @property
    def health(self) -> Health:
        return self.watchdog.health

    def start(self) -> None:
        """Connects now, if there is where to."""
        self._cancel_retry()
        if self.config.connect and not self._local.closing and self.state is State.CLOSED:
            self._happen(Happening.START)

    def hurry(self) -> None:
        """Somebody waits: the next attempt is made now, unless one was a second ago or the peer said when."""
        now = asyncio.get_running_loop().time()
        if self._retry is not None and not self._told_off and now - self._tried_at >= RETRY_S[0]:
            self.start()

    def stop(self) -> None:
        """Says good-bye (RFC 6733 5.4); `state` is CLOSED when that is done."""
        self._cancel_retry()
        self._happen(Happening.STOP)

    def arrives(self, link: Link, cer: DiameterMessage, applications: frozenset[int]) -> bool:
        """A good CER of this peer came on a connection that it opened. False: there is one already (row 104)."""
        if Action.R_REJECT in TABLE[self.state, Happening.R_CONN_CER].actions:
            self._happen(Happening.R_CONN_CER)
            return False
        link.receiver, link.name = self, self.identity
        self._theirs, self._cer, self.applications = link, cer, applications
        self._happen(Happening.R_CONN_CER)
        return True

    # ---- from a link (`link.Receiver`)

    def heard(self, link: Link) -> None:
        """Any message sets the watchdog anew (RFC 3539 3.4.1)."""
        if link is self.link:
            self.watchdog.heard_at = asyncio.get_running_loop().time()
            if self.watchdog.health is not Health.OKAY:
                self.watchdog.heard(answer=False)

    def request(self, link: Link, message: DiameterMessage) -> None:
        if link is self.link and message.application:
            self._around.request(self, link, message)
        elif message.command == Command.DEVICE_WATCHDOG and link is self.link:
            link.answer(message.answer().add(d.ORIGIN_STATE_ID, self._local.state_id))
        elif message.command == Command.DISCONNECT_PEER and link is self.link:
            self._said_goodbye(link, message)
        elif link is self.link:
            link.report(f"a second CER, or command {message.command} of the base protocol", "RFC 6733 5.6", 3001)
            link.answer(message.answer(Result.COMMAND_UNSUPPORTED))
        elif self.state is not State.CLOSING:
            link.report("a request before the capabilities exchange; the connection was closed", "RFC 6733 5.3")
            link.flow.close()

    def base_answer(self, link: Link, message: DiameterMessage) -> None:
        if message.command == Command.DEVICE_WATCHDOG and link is self.link:
            self.watchdog.heard(answer=True)
        elif message.command == Command.DISCONNECT_PEER:
            self._happen(Happening.RCV_DPA)
        elif message.command == Command.CAPABILITIES_EXCHANGE and link is self._ours:
            self._happen(Happening.I_RCV_CEA if self._accepts(message) else Happening.I_RCV_NON_CEA)

    def stray_answer(self, message: DiameterMessage) -> Asked | None:
        return self._around.stray_answer(message)

    def gone(self, link: Link) -> None:
        if link is self._ours:
            self._happen(Happening.I_PEER_DISC)
        elif link is self._theirs:
            self._happen(Happening.R_PEER_DISC)

    # ---- the table

    def _happen(self, happening: Happening) -> None:
        row = TABLE.get((self.state, happening))
        if row is None:
            return  # what came too late to matter: an answer or an end of what was given up
        before, self.state = self.state, row.next
        if before is not row.next:
            self._entered(row.next)
        for action in row.actions:
            self._actions[action]()
        if self.state is row.next and row.next is not before:
            self._settled(before)

    def _entered(self, state: State) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if state is State.CLOSING or not (state is State.CLOSED or state.is_open):
            wait_s = CLOSING_S if state is State.CLOSING else EXCHANGE_S
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._happen, Happening.TIMEOUT)

    def _settled(self, before: State) -> None:
        """The actions are done: opened, or closed."""
        if self.state.is_open:
            self.link = self._ours if self.state is State.I_OPEN else self._theirs
            assert self.link is not None
            self.link.flow.kept = True
            self._cancel_retry()
            self._retry_s, self._told_off = RETRY_S[0], False
            self.watchdog.up()
            self._tell("info", f"Diameter with {self.identity} is up", "")
            self._mourned = False
            self._around.changed()
        elif self.state is State.CLOSED:
            self.link, self._cer = None, None
            self.watchdog.lost()
            self._mourn(before)
            self._retry_later()
            self._around.changed()

    # ---- actions

    def _connect(self) -> None:
        self._tried_at = asyncio.get_running_loop().time()
        context = self._local.context
        self._dialling = asyncio.get_running_loop().create_task(context.guarded(self._dial()))

    async def _dial(self) -> None:
        try:
            link = await self._around.dial(self)
        except FlowFailed as failure:
            self._why_down = str(failure)
            self._happen(Happening.I_RCV_CONN_NACK)
            return
        if self.state not in (State.WAIT_CONN_ACK, State.WAIT_CONN_ACK_ELECT):
            link.flow.close()  # it took too long
            return
        self._ours, self._dialling = link, None
        self._happen(Happening.I_RCV_CONN_ACK)

    def _send_cer(self) -> None:
        assert self._ours is not None
        cer = self._local.base_request(Command.CAPABILITIES_EXCHANGE)
        self._tell_link(self._ours, capabilities.describe(self._local, cer, self._ours.flow))

    def _send_cea(self) -> None:
        assert self._theirs is not None
        assert self._cer is not None
        self._theirs.answer(capabilities.describe(self._local, self._cer.answer(), self._theirs.flow))

    def _elect(self) -> None:
        """The connection of the greater identity's owner stays (RFC 6733 5.6.4)."""
        if self._local.identity.encode() > self.identity.encode():
            self._happen(Happening.WIN_ELECTION)

    def _send_dwr(self) -> None:
        if self.link is not None:
            dwr = self._local.base_request(Command.DEVICE_WATCHDOG).add(d.ORIGIN_STATE_ID, self._local.state_id)
            self._tell_link(self.link, dwr)

    def _send_dpr(self) -> None:
        if self.link is not None:
            dpr = self._local.base_request(Command.DISCONNECT_PEER)
            self._tell_link(self.link, dpr.add(d.DISCONNECT_CAUSE, d.DisconnectCause.REBOOTING))

    def _drop_ours(self) -> None:
        link, self._ours = self._ours, None
        self._drop(link)

    def _drop_theirs(self) -> None:
        link, self._theirs = self._theirs, None
        self._drop(link)

    def _drop_both(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
        self._drop_ours()
        self._drop_theirs()

    def _drop(self, link: Link | None) -> None:
        if link is not None:
            link.give_back()
            link.flow.kept = False
            link.flow.close()

    # ---- inside

    def _tell_link(self, link: Link, message: DiameterMessage) -> None:
        try:
            link.tell(message)
        except LinkLost:
            link.flow.close()  # its end is told by `gone`

    def _accepts(self, cea: DiameterMessage) -> bool:
        assert self._ours is not None
        try:
            result = cea.need(d.RESULT_CODE)
            if result != Result.SUCCESS:
                raise DiameterError(Result.UNABLE_TO_COMPLY, f"it answered our CER with {result}", "RFC 6733 5.3.2")
            capabilities.check_peer(self._local, self.config, cea, self._ours.flow)
            self.applications = capabilities.common_applications(self._local, self.config, cea)
        except DiameterError as error:
            self._why_down = error.why
            self._ours.report(error.why, error.clause, error.result)
            return False
        return True

    def _said_goodbye(self, link: Link, dpr: DiameterMessage) -> None:
        cause = None
        try:
            cause = dpr.first(d.DISCONNECT_CAUSE)
        except DiameterError as error:
            link.report(error.why, error.clause, error.result)
        if cause in RETRY_AFTER_S:
            self._retry_s, self._told_off = RETRY_AFTER_S[cause], True
        self._why_down = f"it said good-bye ({cause.name if cause is not None else 'no cause'})"
        link.answer(dpr.answer())
        self._happen(Happening.RCV_DPR)

    def _give_up(self) -> None:
        """The watchdog has no more hope."""
        self._why_down = "it does not answer the watchdog"
        link = self.link
        if link is not None:
            link.flow.close()
            self.gone(link)

    def _retry_later(self) -> None:
        if not self.config.connect or self._local.closing or self._retry is not None:
            return
        draw = 0.75 + self._local.context.randomness.octets(1)[0] / 512  # so that nodes don't come back together
        self._retry = asyncio.get_running_loop().call_later(self._retry_s * draw, self.start)
        self._retry_s = min(self._retry_s * 2, max(RETRY_S[1], self._retry_s))

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _mourn(self, before: State) -> None:
        """Tells the operator once an outage."""
        if not self._mourned and not self._local.closing:
            self._mourned = True
            again = "it is tried again" if self.config.connect else "it is expected to connect again"
            where = self.config.connect or ", ".join(self.config.addresses) or self.realm
            advice = f"check that {self.identity} runs and reaches this host ({where}); {again}"
            verb = "is down" if before.is_open or before is State.CLOSING else "does not come up"
            self._tell("alarm", f"Diameter with {self.identity} {verb}: {self._why_down}", advice)
        self._why_down = ENDED

    def _tell(self, level: str, what: str, advice: str) -> None:
        self._local.context.notice(level, what, advice)
