"""Gm at the P-CSCF: the security agreement of each REGISTER, its keys, and whose a protected flow is.

TS 24.229 5.2.2, TS 33.203 6.1, 7 and Annexes H and M, RFC 3329. What a set is and when it ends is redoubt.gm's; when
things happen to it is decided here and in registration.py.
"""

from collections.abc import Hashable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from redoubt.cscf.registering import NO_CREDENTIALS, private_identity
from redoubt.gm.admission import Admission, Attempt
from redoubt.gm.agreement import (
    AgreementPolicy,
    Mode,
    Offer,
    asks_for_agreement,
    check_repeated,
    check_verify,
    choose,
    demanded,
    mechanisms_of,
    server_list,
    strip_agreement,
)
from redoubt.gm.association_set import AssociationSet, PhoneKey
from redoubt.gm.associations import Associations
from redoubt.gm.ledger import Keepsakes
from redoubt.gm.reports import Agreed
from redoubt.gm.spoofing import check_private_identity, check_sender
from redoubt.gm.states import State
from redoubt.secret import Secret
from redoubt.sip.errors import SipError
from redoubt.sip.fields import AUTHORIZATION, CONTACT, SECURITY_CLIENT, VIA, WWW_AUTHENTICATE
from redoubt.sip.headers.addresses import NameAddr
from redoubt.sip.message import Request, Response
from redoubt.sip.service import Context, Exchange
from redoubt.sip.uri import SipUri, is_ip_address
from redoubt.transport.flow import EspAssociation, Flow

AGREEMENT_HEADERS = frozenset(("Security-Client", "Security-Verify", "Require", "Proxy-Require"))
KEY_OCTETS = 16
OPEN = (State.TEMPORARY, State.ANSWERED)


class Asked(Struct, frozen=True, gc=False):
    """What a REGISTER says of protection. `carrier` is the set that it came on, `offer` what a new one would be."""

    carrier: AssociationSet | None
    indication: str
    phone: PhoneKey
    address: str
    inner: str
    call_id: str
    client: str = ""
    offer: Offer | None = None


class Keys(Struct, frozen=True, gc=False):
    """What a challenge held for the P-CSCF (TS 24.229 7.2A.1)."""

    nonce: str
    ck: Secret
    ik: Secret


class Gm:
    """One P-CSCF's access security."""

    def __init__(
        self,
        context: Context,
        policy: AgreementPolicy,
        associations: Associations,
        admission: Admission,
        keepsakes: Keepsakes | None = None,
    ) -> None:
        """`keepsakes` hold what is to outlive this process, beside the associations."""
        self._context = context
        self._policy = policy
        self._admission = admission
        self.associations = associations
        self.keepsakes = keepsakes
        self.agreed = Agreed()
        associations.listeners.append(self.agreed.changed)

    def close(self) -> None:
        """The process stops: associations that another one can go on with are left to it."""
        if self.keepsakes is not None:
            self.associations.leave()
        else:
            self.associations.close()

    # ---- whose, and which way

    def sender(self, flow: Flow) -> PhoneKey | None:
        """The phone whose association this is. None: the association has ended."""
        carrier = self.associations.of(flow)
        return carrier.phone.key if carrier is not None else None

    def way_to(self, phone: PhoneKey) -> Flow | None:
        """On what requests to a phone leave (TS 33.203 7.4). None means unreachable, never unprotected."""
        carrier = self.associations.outgoing(phone)
        return carrier.flow if carrier is not None else None

    def admit(self, request: Request, flow: Flow) -> None:
        """A request other than REGISTER: its set must serve requests, its sender must be who the set says. Who demands
        an agreement and has none is told how to get it: by REGISTER (RFC 3329 2.3.1).
        """
        if not isinstance(flow.security, EspAssociation):
            if asks_for_agreement(request):
                listed = (("Security-Server", server_list(self._policy, self._policy.modes[0])),)
                raise SipError(494, "an agreement is demanded where none was made", "RFC 3329 2.3.1", listed)
            return
        carrier = self._carrier(flow)
        if carrier.state in OPEN:
            raise SipError(403, "until its 200, an association serves REGISTER alone", "TS 33.203 7.2")
        self._check_sender(carrier, request)
        found = request.present(AGREEMENT_HEADERS)
        if "Security-Verify" in found and self._context.enforces("gm-verify"):
            check_verify(carrier.agreement.server, request)
        if found:
            strip_agreement(request)

    # ---- REGISTER

    def asked(self, request: Request, exchange: Exchange) -> Asked:
        """Reads and judges SM1 or SM7, before home is asked. Raises 403, 421, 494."""
        flow = exchange.flow
        credentials = request.first(AUTHORIZATION) or NO_CREDENTIALS
        impi = private_identity(credentials, request.to.uri.aor)
        nonce = credentials.param("nonce") or ""
        if isinstance(flow.security, EspAssociation):
            asked = self._protected(request, exchange, impi, nonce)
        else:
            asked = self._unprotected(request, flow, impi)
        strip_agreement(request)
        return asked

    def challenged(self, asked: Asked, keys: Keys | None, response: Response, exchange: Exchange) -> None:
        """SM6: the set is ready before the 401 leaves, and no 401 leaves without one where policy demands it."""
        if asked.carrier is not None and asked.carrier.state in OPEN:  # home knows nothing of what it answered
            self._fail_once_sent(asked.carrier, exchange)
            mode = asked.carrier.agreement.mode
            asked = replace(asked, offer=choose(self._policy, mode, mechanisms_of(asked.client)))
        if asked.offer is None:
            return
        if keys is None:
            raise SipError(502, "the challenge from home holds no CK and IK", "TS 24.229 5.2.2.2")
        attempt = Attempt(
            asked.phone, asked.address, asked.inner, asked.call_id, keys.nonce, asked.client, asked.offer,
            keys.ck, keys.ik, asked.carrier,
        )  # fmt: skip
        made = self._admission.prepare(attempt)
        response.set("Security-Server", made.agreement.server)

    def accepted(self, asked: Asked, impu: str, expires_s: float) -> None:
        """SM11: a registration was made or prolonged. Raises where the phone is not protected as it has to be."""
        carrier = asked.carrier
        if carrier is None:
            if self._policy.required:
                raise SipError(502, "home accepted a REGISTER that nothing protected", "TS 24.229 5.2.2.2")
        elif not self.associations.registered(carrier, impu, expires_s):
            raise SipError(403, "the association ended before its 200", "TS 24.229 5.2.2.2")

    def ended(self, asked: Asked, response: Response, exchange: Exchange) -> None:
        """The attempt is over and made no registration: refused, or it ended one. Its set goes once that has left."""
        carrier = asked.carrier
        if carrier is None and response.status == 403:  # SM7 without keys (TS 24.229 5.1.1.5.3): AUTN was refused
            pending = self.associations.pending(asked.phone, asked.call_id)
            carrier = pending if pending is not None and pending.address == asked.address else None
        if carrier is not None and carrier.state in OPEN:
            if response.is_success:
                exchange.after_sent(partial(self._conclude, carrier))
            else:
                self._fail_once_sent(carrier, exchange)

    def deregistered(self, phone: PhoneKey, impu: str) -> None:
        """The last binding of an identity at a phone has ended."""
        self.associations.deregistered(phone, impu)

    def shortened(self, phone: PhoneKey, within_s: float) -> None:
        """The network wants the phone to authenticate within that time (TS 33.203 6.1.4)."""
        self.associations.shortened(phone, within_s)

    # ---- inside

    def _carrier(self, flow: Flow) -> AssociationSet:
        carrier = self.associations.of(flow)
        if carrier is None or not carrier.carries_requests:
            raise SipError(403, "the association serves no requests any more", "TS 33.203 7.4")
        return carrier

    def _check_sender(self, carrier: AssociationSet, request: Request) -> None:
        if self._context.enforces("gm-sender"):
            check_sender(carrier, request)

    def _protected(self, request: Request, exchange: Exchange, impi: str, nonce: str) -> Asked:
        """SM7, or a REGISTER of who is registered: TS 24.229 5.2.2.2, 5.2.2.3."""
        carrier = self._carrier(exchange.flow)
        self._check_sender(carrier, request)
        if self._context.enforces("gm-sender"):
            check_private_identity(carrier, impi)
        counts = self.associations.counts_as_protected(exchange.flow, nonce)
        client, offer = carrier.agreement.client, None
        if carrier.state in OPEN:
            self._check_repeated(carrier, request, exchange)
        else:
            if self._context.enforces("gm-verify"):
                check_verify(carrier.agreement.server, request)
            client, offer = self._chosen(request, carrier.agreement.mode)
        return Asked(
            carrier, "yes" if counts else "no", carrier.phone.key, carrier.address, carrier.inner, request.call_id,
            client, offer,
        )  # fmt: skip

    def _check_repeated(self, carrier: AssociationSet, request: Request, exchange: Exchange) -> None:
        """Somebody edited a list in SM1 or SM6 if these differ: the attempt ends (TS 33.203 7.2)."""
        try:
            if self._context.enforces("gm-verify"):
                check_repeated(carrier.agreement, request)
        except SipError:
            self._fail_once_sent(carrier, exchange)
            raise

    def _unprotected(self, request: Request, flow: Flow, impi: str) -> Asked:
        """SM1 of who has no association, or has lost it (TS 24.229 5.2.2.2)."""
        contact = next((each for each in request.every(CONTACT) if isinstance(each, NameAddr)), None)
        inner = _own_address(request, contact, flow.remote[0])
        client, offer = "", None
        if self._policy.required or asks_for_agreement(request):
            is_here = flow.remote[0] == flow.local[0]  # a phone on this machine: no wire for the kernel's or raw ESP
            mode = self._policy.mode_for(is_here or inner != flow.remote[0])
            if mode is None:
                why = "the phone is behind a NAT, or on this machine, where transport mode can't go"
                raise SipError(403, why, "TS 33.203 M.2")
            client, offer = self._chosen(request, mode)
        return Asked(None, "no", _phone(impi, contact), flow.remote[0], inner, request.call_id, client, offer)

    def _chosen(self, request: Request, mode: Mode) -> tuple[str, Offer]:
        """Security-Client, and what of it is best (TS 33.203 7.2). Raises 421 and 494."""
        offers = demanded(request, self._policy, mode)
        return ", ".join(request.all(SECURITY_CLIENT.name)), choose(self._policy, mode, offers)

    async def _conclude(self, carrier: AssociationSet) -> None:
        self.associations.concluded(carrier)

    def _fail_once_sent(self, carrier: AssociationSet, exchange: Exchange) -> None:
        async def fail() -> None:
            self.associations.failed(carrier)

        exchange.after_sent(fail)


def keys_of(response: Response) -> Keys | None:
    """CK and IK of the first challenge. None when they can't be read."""
    try:
        for challenge in response.every(WWW_AUTHENTICATE):
            nonce, ck, ik = (challenge.param(name) or "" for name in ("nonce", "ck", "ik"))
            keys = bytes.fromhex(ck), bytes.fromhex(ik)
            if nonce and len(keys[0]) == len(keys[1]) == KEY_OCTETS:
                return Keys(nonce, Secret(keys[0]), Secret(keys[1]))
    except (SipError, ValueError):
        return None
    return None


def sender_of(flow: Flow) -> Hashable:
    """What tells one unprotected flow from another; a UDP flow is made anew for each datagram."""
    return flow.transport, flow.remote, flow.local


def _phone(impi: str, contact: NameAddr | None) -> PhoneKey:
    """A phone is told from others of its private identity by its instance, else by where it is reached."""
    if contact is None:
        return PhoneKey(impi, "")
    uri = contact.uri
    where = f"{uri.host}:{uri.port}" if isinstance(uri, SipUri) else str(uri)
    return PhoneKey(impi, contact.param("+sip.instance") or where)


def _own_address(request: Request, contact: NameAddr | None, source: str) -> str:
    """What the phone calls itself, which is another address than it comes from when a NAT stands between."""
    if contact is not None and isinstance(contact.uri, SipUri):
        host = contact.uri.address
        if host == source or is_ip_address(host):  # the former nearly always, and at once
            return host
    return request.need(VIA).address
