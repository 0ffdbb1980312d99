"""Which peer a request goes to: its host, else its realm, else where an agent redirected it (RFC 6733 6.1)."""

from collections.abc import Callable, Iterable
from typing import Any

from redoubt import limits
from redoubt.diameter import dictionary as d
from redoubt.diameter.codec import DiameterMessage
from redoubt.diameter.peer import Peer
from redoubt.diameter.watchdog import Health

RANK = {Health.OKAY: 0, Health.REOPEN: 1, Health.SUSPECT: 2, Health.INITIAL: 3, Health.DOWN: 3}
Usage = d.RedirectHostUsage


class Routes:
    """The peers in their configured order, and what redirect agents said."""

    def __init__(self, peers: dict[str, Peer], now: Callable[[], float]) -> None:
        self._peers = peers
        self._now = now
        self._redirects: dict[tuple[Usage, Any], tuple[float, tuple[str, ...]]] = {}

    def candidates(self, message: DiameterMessage, host: str, realm: str) -> list[Peer]:
        """Open peers that may take the request, the best first; one that was redirected to goes before all."""
        application = message.application
        fit = [peer for peer in self._peers.values() if application in peer.applications and peer.is_open]
        if self._redirects and (named := self._redirected(message, host, realm)):
            redirected = [peer for name in named for peer in fit if peer.identity == name]
            if redirected:
                return redirected
        if host:
            found = [peer for peer in fit if peer.identity == host or host in peer.config.speaks_for]
            found += [peer for peer in fit if peer not in found and realm in peer.config.speaks_for]
        else:
            found = [peer for peer in fit if peer.realm == realm or realm in peer.config.speaks_for]
        if len(found) > 1:
            found.sort(key=lambda peer: RANK[peer.health])  # stable: the operator's order among equals
        return found

    def hurry(self, host: str, realm: str) -> None:
        """A request has nowhere to go: whoever might take it is dialled again."""
        for peer in self._peers.values():
            if peer.identity == host or peer.realm == realm or realm in peer.config.speaks_for:
                peer.hurry()

    def trying(self, host: str, realm: str) -> bool:
        """Whether a peer of that name or realm is connecting right now."""
        return any(
            peer.is_trying and (peer.identity == host or peer.realm == realm or realm in peer.config.speaks_for)
            for peer in self._peers.values()
        )

    def redirect(self, message: DiameterMessage, host: str, realm: str, answer: DiameterMessage) -> list[Peer]:
        """The open peers that an agent named in a redirect answer; remembered as long as it said (RFC 6733 6.13, 6.14).

        A host that is not configured is not asked. Raises DiameterError where the answer can't be read.
        """
        named = tuple(filter(None, map(host_of, answer.every(d.REDIRECT_HOST))))
        usage = answer.first(d.REDIRECT_HOST_USAGE) or Usage.DONT_CACHE
        kept_s = answer.first(d.REDIRECT_MAX_CACHE_TIME) or 0
        if usage is not Usage.DONT_CACHE and kept_s and named:
            key = (usage, _scope(usage, message, host, realm))
            self._redirects[key] = (self._now() + kept_s, named)
            if len(self._redirects) > limits.DIAMETER_REDIRECTS_KEPT:
                del self._redirects[next(iter(self._redirects))]
        return self._open(named, message.application)

    def _redirected(self, message: DiameterMessage, host: str, realm: str) -> tuple[str, ...]:
        """What was remembered, the narrowest first."""
        for usage in (Usage.ALL_SESSION, Usage.ALL_USER, Usage.ALL_HOST, Usage.REALM_AND_APPLICATION,
                      Usage.ALL_REALM, Usage.ALL_APPLICATION):  # fmt: skip
            key = (usage, _scope(usage, message, host, realm))
            found = self._redirects.get(key)
            if found is not None and found[0] > self._now():
                return found[1]
            if found is not None:
                del self._redirects[key]
        return ()

    def _open(self, named: Iterable[str], application: int) -> list[Peer]:
        known = (self._peers.get(name) for name in named)
        return [peer for peer in known if peer is not None and peer.is_open and application in peer.applications]


def host_of(uri: str) -> str:
    """The host of a DiameterURI, aaa://host:port;transport=tcp, in lower case; "" if it is none (RFC 6733 4.3.1)."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.lower() not in ("aaa", "aaas"):
        return ""
    return rest.partition(";")[0].partition(":")[0].lower()


def _scope(usage: Usage, message: DiameterMessage, host: str, realm: str) -> Any:
    match usage:
        case Usage.ALL_SESSION:
            return message.first(d.SESSION_ID)
        case Usage.ALL_USER:
            return message.first(d.USER_NAME)
        case Usage.ALL_HOST:
            return host
        case Usage.ALL_REALM:
            return realm
        case Usage.REALM_AND_APPLICATION:
            return (realm, message.application)
        case _:
            return message.application
