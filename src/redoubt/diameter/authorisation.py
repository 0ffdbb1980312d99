"""What a peer may ask for: its applications, its commands, its users; in its own name only (RFC 6733 13, lesson 28).

That a node is connected gives it nothing: each request is checked against what the operator wrote for that peer.
"""

from redoubt.diameter import dictionary as d
from redoubt.diameter.applications import Application
from redoubt.diameter.avp import DiameterError
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.local import Local
from redoubt.diameter.peer import Peer
from redoubt.diameter.results import Result


def check(local: Local, peer: Peer, application: Application, message: DiameterMessage) -> None:
    """Raises DiameterError with what is owed to the peer; what was refused is reported."""
    check_origin(local, peer, application, message)
    if local.enforces("diameter-authorisation"):
        check_command(local, peer, application, message)
        if peer.config.subscriber_realms:
            check_subscriber(local, peer, application, message)
    check_destination(local, message)


def check_origin(local: Local, peer: Peer, application: Application, message: DiameterMessage) -> None:
    """Origin-Host and Origin-Realm are the peer's own, or of nodes that it is configured to speak for (row 104)."""
    host, realm = message.need(d.ORIGIN_HOST), message.need(d.ORIGIN_REALM)
    if host == peer.identity and realm == peer.realm:
        return
    relayed = peer.config.speaks_for
    if (host in relayed or realm in relayed) and host != local.identity:
        return
    if not local.enforces("diameter-origin"):
        return
    local.violated(
        application.command_name(message.command),
        "Origin-Host and Origin-Realm belong to the peer that sends the request",
        expected=" or ".join((f"{peer.identity} of {peer.realm}", *relayed)),
        seen=f"{host} of {realm}",
        clause="RFC 6733 13",
        advice=f"if {peer.identity} is an agent that passes on its requests, add {host} to its speaks-for",
        session=_session(message),
    )
    raise DiameterError(Result.AUTHORIZATION_REJECTED, f"{peer.identity} speaks as {host}", "RFC 6733 13")


def check_command(local: Local, peer: Peer, application: Application, message: DiameterMessage) -> None:
    """The application was agreed on in the capabilities exchange, the command is one that the operator allows."""
    name = application.command_name(message.command)
    if application.number in peer.applications and (not peer.config.commands or name in peer.config.commands):
        return
    local.violated(
        name,
        "the peer is allowed this command of this application",
        expected=", ".join(peer.config.commands or peer.config.applications),
        seen=f"{name} of {application.name}",
        clause="RFC 6733 13",
        advice=f"if {peer.identity} needs it, add {name} to commands (and {application.name} to applications)"
        f" of its [[diameter.peers]]",
        session=_session(message),
    )
    raise DiameterError(Result.AUTHORIZATION_REJECTED, f"{peer.identity} may not send {name}", "RFC 6733 13")


def check_subscriber(local: Local, peer: Peer, application: Application, message: DiameterMessage) -> None:
    """The users that are asked about are of the realms that the peer has to do with."""
    allowed = [realm.lower() for realm in peer.config.subscriber_realms]
    identities = [*message.every(d.USER_NAME), *message.every(d.PUBLIC_IDENTITY)]
    for group in message.every(d.USER_IDENTITY):
        identities += group.every(d.PUBLIC_IDENTITY)
    foreign = next((each for each in identities if realm_of(each) not in allowed), None)
    if identities and foreign is None:
        return
    local.violated(
        application.command_name(message.command),
        "the peer is allowed to ask about users of this realm",
        expected=", ".join(allowed),
        seen=foreign or "no user",
        clause="RFC 6733 13",
        advice=f"if {peer.identity} serves them, add the realm to its subscriber-realms",
        session=_session(message),
        impi=message.first(d.USER_NAME) or "",
    )
    raise DiameterError(
        Result.AUTHORIZATION_REJECTED, f"{peer.identity} may not ask about {foreign or 'nobody'}", "RFC 6733 13"
    )


def check_destination(local: Local, message: DiameterMessage) -> None:
    """This node relays nothing: a request is for it, or for nobody here (RFC 6733 6.1.4 to 6.1.6)."""
    realm = message.need(d.DESTINATION_REALM)
    if realm != local.realm:
        raise DiameterError(Result.REALM_NOT_SERVED, f"a request for realm {realm}", "RFC 6733 6.1.6")
    host = message.first(d.DESTINATION_HOST)
    if host is not None and host != local.identity:
        raise DiameterError(Result.UNABLE_TO_DELIVER, f"a request for {host}", "RFC 6733 6.1.5")
    if local.identity in message.every(d.ROUTE_RECORD):
        raise DiameterError(Result.LOOP_DETECTED, "a request that has been here before", "RFC 6733 6.1.3")


def realm_of(identity: str) -> str:
    """The domain of a private or public identity, in lower case; "" where there is none, as in a tel URI."""
    domain = identity.rpartition("@")[2] if "@" in identity else ""
    return domain.partition(";")[0].partition("?")[0].partition(":")[0].rstrip(">").lower()


def _session(message: DiameterMessage) -> str:
    return message.first(d.SESSION_ID) or ""
