"""What is told to a partner and believed of it: identity, charging, privacy (TS 24.229 4.4, 5.10; RFC 3323, RFC 3325).

A partner of kind ims is inside the trust domain: identities go both ways, with the wish for privacy that its own edge
fulfils. A plain SIP network is outside: nothing that it says of identity or charging is believed, and nothing private
is told to it. Some headers never leave the network at all.
"""

from msgspec.structs import replace

from redoubt.cscf.trust import (
    ASSERTING_HEADERS,
    BILLING_HEADERS,
    IDENTITIES,
    is_network_provided,
    remove_all,
    strip_access_claims,
    wanted_privacy,
)
from redoubt.ndm.partners import Partner
from redoubt.sip.errors import SipError
from redoubt.sip.fields import P_ASSERTED_IDENTITY, P_CHARGING_VECTOR, P_VISITED_NETWORK_ID
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.headers.ims import ChargingVector
from redoubt.sip.message import Message, Request, Response
from redoubt.sip.service import Context
from redoubt.sip.uri import SipUri, TelUri, Uri

ANONYMOUS = "anonymous.invalid"
# Of one network only, whoever the partner is: charging nodes, the HSS, keys of profiles, the software of nodes.
HOME_HEADERS = (BILLING_HEADERS - {"P-Charging-Vector", "P-Visited-Network-ID"}) | {
    "Cellular-Network-Info", "Error-Info", "P-DCS-Billing-Info", "P-Media-Authorization", "P-Preferred-Identity",
    "P-Preferred-Service", "Policy-Contact", "Response-Key", "Server", "Service-Interact-Info", "User-Agent", "Warning",
    "Security-Client", "Security-Server", "Security-Verify",
}  # fmt: skip
# Of the trust domain (TS 24.229 4.4.2 to 4.4.18).
DOMAIN_HEADERS = BILLING_HEADERS | ASSERTING_HEADERS | IDENTITIES | {
    "Feature-Caps", "History-Info", "P-Access-Network-Info", "P-Answer-State", "P-Early-Media", "Priv-Answer-Mode",
    "Resource-Priority", "Resource-Share", "Additional-Identity",
}  # fmt: skip
TO_TRUSTED = HOME_HEADERS | {"P-Access-Network-Info", "P-Charging-Vector", "P-Visited-Network-ID"}
TO_OTHERS = HOME_HEADERS | DOMAIN_HEADERS | {"Privacy"}
# What a partner of the trust domain has no say in.
FROM_TRUSTED = BILLING_HEADERS | {"P-DCS-Billing-Info", "P-Preferred-Identity", "P-Preferred-Service"}
FROM_OTHERS = FROM_TRUSTED | DOMAIN_HEADERS | {"Path", "Service-Route"}
# What tells who somebody is who does not want it told (RFC 3323 5.1 to 5.3).
PERSONAL = frozenset(("Call-Info", "In-Reply-To", "Organization", "Reply-To", "Subject", "Referred-By", "Alert-Info"))
CALLER_KINDS = frozenset(("cpc", "oli"))  # a prison's telephone, a payphone (TS 24.229 4.4.12)
PRIVACY_VALUES = frozenset(("none", "id", "user", "header", "session", "history", "critical"))


class Wishes:
    """What privacy the sender of a message wants of this border, and that it can be had. Raises SipError 500."""

    __slots__ = ("header", "identity", "user")

    def __init__(self, message: Message, values: frozenset[str], possible: frozenset[str]) -> None:
        if isinstance(message, Request) and "critical" in values and (values - {"critical", "none"}) - possible:
            missing = ", ".join(sorted(values - {"critical", "none"} - possible))
            raise SipError(500, f"privacy that is wanted as critical can't be had here: {missing[:60]}", "RFC 3323 5")
        self.identity = "none" not in values  # may not be told: outside the trust domain only who says so is named
        self.user = "user" in values
        self.header = self.user or "header" in values


class Trust:
    """Of one border. `own` is its host name, `realm` the network's domain and inter-operator identifier."""

    def __init__(self, context: Context, realm: str, own: str) -> None:
        self._context = context
        self._realm = realm
        self._own = own
        self._none = Wishes(Response(200), frozenset(), PRIVACY_VALUES)

    # ---- out

    def wishes(self, message: Message, partner: Partner, possible: frozenset[str] = PRIVACY_VALUES) -> Wishes:
        """What privacy this border must provide; towards the trust domain the far edge does. Raises SipError 500."""
        if partner.is_trusted or not self._context.enforces("border-privacy"):
            return self._none
        return Wishes(message, wanted_privacy(message), possible)

    def tell(self, message: Message, partner: Partner, wishes: Wishes) -> None:
        """Takes from a message what the partner is not told (TS 24.229 4.4)."""
        if not partner.is_trusted:
            self._tell_stranger(message, wishes)
            return
        found = message.present(TO_TRUSTED)
        for name in found:
            if name == "P-Charging-Vector":
                self._show_vector(message)
            elif name == "P-Access-Network-Info":
                if not self._is_visitor(message, partner):
                    message.remove(name)
            elif name != "P-Visited-Network-ID" or not partner.config.serves_visitors:
                message.remove(name)

    def _tell_stranger(self, message: Message, wishes: Wishes) -> None:
        found = message.present(TO_OTHERS)
        if not self._context.enforces("border-identity"):
            found -= DOMAIN_HEADERS
        remove_all(message, found if wishes.identity else found - {"P-Asserted-Identity"})
        if "P-Asserted-Identity" in found and not wishes.identity:
            _name_only(message)
        if wishes.user:
            remove_all(message, PERSONAL)

    def _is_visitor(self, message: Message, partner: Partner) -> bool:
        """Whether it is of one of the partner's users who is here, whose home is told where it is."""
        if not partner.config.serves_visitors or not isinstance(message, Request):
            return False
        asserted = message.get("P-Asserted-Identity") or message.get("From") or ""
        return any(f"@{domain}" in asserted.lower() for domain in partner.domains)

    def _show_vector(self, message: Message) -> None:
        """The charging identity goes along, the node that made it does not (TS 24.229 5.10.2, 7.2A.5)."""
        try:
            vector = message.need(P_CHARGING_VECTOR)
        except SipError:
            message.remove("P-Charging-Vector")
            return
        changes: dict[str, str | None] = {"icid_generated_at": self._own, "transit_ioi": None, "related_icid": None}
        if isinstance(message, Response):
            changes["term_ioi"] = vector.term_ioi or self._realm
        else:  # whoever called first, it is this network that asks the partner (TS 24.229 4.5.4, 5.4.3.3)
            changes["orig_ioi"] = self._realm
        message.put(P_CHARGING_VECTOR, vector.with_(**changes))

    # ---- in

    def believe(self, message: Message, partner: Partner) -> None:
        """Takes from a message what the partner has no say in. Raises SipError 403 for what is forged."""
        vector = message.first(P_CHARGING_VECTOR) if message.has("P-Charging-Vector") else None
        visited = message.get("P-Visited-Network-ID")
        if partner.is_trusted:
            if message.has("P-Access-Network-Info"):
                self._check_access(message, partner)
            remove_all(message, message.present(FROM_TRUSTED))
        elif self._context.enforces("border-identity"):
            remove_all(message, message.present(FROM_OTHERS))
        if isinstance(message, Request):
            self._charge(message, partner, vector if partner.is_trusted else None)
            if message.method == "REGISTER":
                self._check_visited(message, partner, visited)
        elif partner.is_trusted and vector is not None and self._is_of(vector.term_ioi, partner):
            message.put(P_CHARGING_VECTOR, vector)

    def disown(self, request: Request, partner: Partner, callers: frozenset[str]) -> None:
        """Users and nodes of this network speak from it: a partner that asserts one of them, but for the `callers` of a
        call that came from here and comes back, is not believed (RFC 3325 5 leaves to agreements whom a peer asserts).
        """
        if not partner.is_trusted or not self._context.enforces("border-own-users"):
            return
        asserted = request.every(P_ASSERTED_IDENTITY)
        kept = [one for one in asserted if not self._is_ours(one.uri) or one.uri.aor in callers]
        if len(kept) < len(asserted):
            why = f"{partner.name} asserts a user of this network in a call that began there: removed"
            self._context.refused(0, why, "RFC 3325 5", method=request.method, call_id=request.call_id)
            request.put(P_ASSERTED_IDENTITY, *kept)

    def _is_ours(self, uri: Uri) -> bool:
        host = uri.host.rstrip(".") if isinstance(uri, SipUri) else ""
        return host == self._realm or host.endswith(f".{self._realm}")

    def _charge(self, request: Request, partner: Partner, vector: ChargingVector | None) -> None:
        """Who pays whom follows from inter-operator identifiers: only the partner's own (TS 24.229 4.5.4, row 83)."""
        if vector is None and request.to.tag is not None:
            return
        if vector is None:
            vector = ChargingVector.make(self._context.tag(), _iois(partner)[0], generated_at=self._own)
        elif not self._is_of(vector.orig_ioi, partner):
            if request.to.tag is not None:
                return  # who pays for the call was settled when it began
            why = f"{partner.name} says that a request comes from {str(vector.orig_ioi)[:60]}"
            raise SipError(403, f"{why}; write that into its `iois` if it may", "TS 24.229 4.5.4")
        elif not vector.orig_ioi:
            vector = vector.with_(orig_ioi=_iois(partner)[0])
        request.put(P_CHARGING_VECTOR, vector)

    def _is_of(self, ioi: str | None, partner: Partner) -> bool:
        if not ioi or not self._context.enforces("border-roaming"):
            return True
        return ioi.lower() in _iois(partner)

    def _check_visited(self, request: Request, partner: Partner, written: str | None) -> None:
        """Our users register from networks of the agreement only, which the partner can't say it is not (row 83)."""
        if not self._context.enforces("border-roaming"):
            if written is not None:
                request.set("P-Visited-Network-ID", written)
            return
        if not partner.is_trusted or not partner.config.visited_networks:
            raise SipError(403, f"{partner.name} has no roaming agreement for our users", "TS 24.229 5.10.3.2")
        known = {network.lower() for network in partner.config.visited_networks}
        if written is not None:
            request.set("P-Visited-Network-ID", written)
        networks = [visited.network.lower() for visited in request.every(P_VISITED_NETWORK_ID)]
        if len(networks) != 1 or networks[0] not in known:
            seen = ", ".join(networks)[:80] or "no network"
            raise SipError(403, f"{partner.name} names {seen} as visited network", "TS 24.229 5.10.3.2")

    def _check_access(self, message: Message, partner: Partner) -> None:
        """A cell that a network vouches for is one of its own, where it roams at all (row 83)."""
        if not self._context.enforces("border-roaming"):
            return
        if not partner.config.visited_networks:
            strip_access_claims(message)
            return
        for line in message.all("P-Access-Network-Info"):
            if is_network_provided(line) and not _is_cell_of(line, partner):
                self._context.notice(
                    "warning", f"{partner.name} reports a cell of another network: removed",
                    "compare P-Access-Network-Info with the partner's mobile country and network code",
                )  # fmt: skip
                message.remove("P-Access-Network-Info")


def _name_only(message: Message) -> None:
    """The asserted identity of who wants to be named, without what the trust domain knows of the caller besides."""
    try:
        asserted = message.every(P_ASSERTED_IDENTITY)
    except SipError:
        message.remove("P-Asserted-Identity")
        return
    names = [_without_kind(one) for one in asserted]
    if names != list(asserted):
        message.put(P_ASSERTED_IDENTITY, *names)


def _without_kind(identity: NameAddr) -> NameAddr:
    uri = identity.uri
    if isinstance(uri, TelUri):
        kept = tuple([pair for pair in uri.params if pair[0].lower() not in CALLER_KINDS])
        return replace(identity, uri=replace(uri, params=kept))
    if isinstance(uri, SipUri) and uri.user is not None and ";" in uri.user:  # a number in a SIP URI (RFC 3261 19.1.6)
        pieces = [piece for piece in uri.user.split(";") if piece.partition("=")[0].lower() not in CALLER_KINDS]
        return replace(identity, uri=replace(uri, user=";".join(pieces)))
    return identity


def _iois(partner: Partner) -> tuple[str, ...]:
    return tuple([ioi.lower() for ioi in partner.config.iois]) or partner.domains


def _is_cell_of(line: str, partner: Partner) -> bool:
    """Cells begin with the codes that a domain of TS 23.003 13.2 has; other domains say nothing of cells."""
    codes = tuple([code for domain in partner.domains for code in _plmn(domain)])
    if not codes:
        return True
    for name in ("utran-cell-id-3gpp=", "cgi-3gpp="):
        _, found, value = line.lower().partition(name)
        if found and not value.lstrip(' "').startswith(codes):
            return False
    return True


def _plmn(domain: str) -> tuple[str, ...]:
    """MCC and MNC of ims.mncXXX.mccYYY.3gppnetwork.org as cells have them: an MNC of two digits is filled with 0."""
    labels = domain.split(".")
    mnc = next((label[3:] for label in labels if label.startswith("mnc")), "")
    mcc = next((label[3:] for label in labels if label.startswith("mcc")), "")
    if len(mcc) != 3 or len(mnc) != 3:
        return ()
    return (mcc + mnc, mcc + mnc[1:]) if mnc[0] == "0" else (mcc + mnc,)
