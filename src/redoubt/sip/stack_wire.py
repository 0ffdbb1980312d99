"""The last step of every SIP message of a node: onto its flow, and in front of whoever watches."""

from redoubt.events import MessageSeen
from redoubt.sip.neighbours import Neighbours
from redoubt.sip.service import Context
from redoubt.transport.flow import Address, EspAssociation, Flow, FlowFailed, TlsPeer, Zone

HIDDEN = ('ck="', 'ik="')  # TS 24.229 7.2A.1: keys that the S-CSCF gives to the P-CSCF in a challenge


class Wire:
    """Sends octets on flows; shows messages while `events.tracing` is on and costs nothing else otherwise."""

    def __init__(self, context: Context, neighbours: Neighbours | None = None) -> None:
        self._context = context
        self._neighbours = neighbours
        self._events = context.events

    def send(self, flow: Flow, data: bytes) -> None:
        """Raises FlowFailed; also when a partner's tunnel fell after the transaction began: what is repeated, and what
        is answered, would leave in clear (TS 33.210 5).
        """
        if flow.zone is Zone.BORDER and self._neighbours is not None and not isinstance(flow.security, TlsPeer):
            stranger = self._neighbours.stranger(flow)
            if stranger:
                raise FlowFailed(stranger)
        flow.send(data)
        if self._events.tracing:
            self._show(flow.local, flow.remote, _carrier(flow), data)

    def received(self, flow: Flow, data: bytes) -> None:
        """Shows a message that came in. Ask for it only while tracing."""
        self._show(flow.remote, flow.local, _carrier(flow), data)

    def _show(self, sender: Address, receiver: Address, transport: str, data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        self._events.emit(
            MessageSeen(
                at=self._context.clock.now(),
                node=self._context.node,
                sender=named(sender),
                receiver=named(receiver),
                transport=transport,
                text=redacted(text),
                call_id=_call_id(text),
            )
        )


def _carrier(flow: Flow) -> str:
    return "esp" if isinstance(flow.security, EspAssociation) else flow.transport


def named(address: Address) -> str:
    """`ip:port`, as events name a party that they know no better name of."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def redacted(text: str) -> str:
    """The message without key material, for eyes."""
    for name in HIDDEN:
        start = text.lower().find(name)
        while start >= 0:
            value = start + len(name)
            end = text.find('"', value)
            text = text[:value] + "hidden" + (text[end:] if end >= 0 else "")
            start = text.lower().find(name, value)
    return text


def _call_id(text: str) -> str:
    for line in text.split("\r\n\r\n", 1)[0].split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() in ("call-id", "i"):
            return value.strip()
    return ""
