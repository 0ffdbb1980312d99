"""The border's certificates under running calls: read again when their files are others, and looked at for their end.

A connection that stands is not shaken hands on again: it ends when its partner's certificate has expired or stands on
a new revocation list, or when the list of its authority has expired (TS 33.310 6.1.3, RFC 5280 6.3).
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from redoubt.config import ConfigError
from redoubt.config.interconnect import IbcfConfig
from redoubt.ndm.partners import Partners
from redoubt.ndm.pki import revocation_lists_in
from redoubt.sip.service import Context
from redoubt.transport.flow import Flow, TlsPeer
from redoubt.transport.tls import TlsSettings, mutual

LOOK_S = 5.0
WARN_S = 14 * 86_400.0
LIST_WARN_S = 3 * 86_400.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Files:
    """What stood in the files when they were read last."""

    settings: TlsSettings
    own: x509.Certificate
    lists: list[x509.CertificateRevocationList]
    revoked: frozenset[tuple[x509.Name, int]]


class Certificates:
    """What [ibcf] names. Raises ConfigError for what can't be used at the start; later faults keep what there was."""

    def __init__(self, context: Context, config: IbcfConfig) -> None:
        self._context = context
        self._config = config
        self._warned_at = -DAY_S
        self._seen = self._stamps()
        self._files = self._read()
        self.settings = self._files.settings

    async def watch(self, partners: Partners) -> None:
        """Looks at the files every few seconds, for as long as the network runs."""
        while True:
            self.look(partners)
            await asyncio.sleep(LOOK_S)

    def look(self, partners: Partners, *, again: bool = False) -> None:
        """Reads what has changed (all of it with `again`), and ends connections that would not be made now."""
        stamps = self._stamps()
        if again or stamps != self._seen:
            self._seen = stamps
            self._renew()
        for partner in partners:
            for flow in partner.flows:
                self._judge(flow, partners)
        self._warn()

    # ---- inside

    def _renew(self) -> None:
        try:
            self._files = self._read()
        except ConfigError as error:
            what = f"the border's certificates have changed and can't be used: {error}"
            self._context.notice("alarm", what, "the ones before stay in use; mend the files")
            return
        self.settings.adopt(self._files.settings)
        self._context.notice("info", "the border's certificates and revocation lists were read again; calls go on")

    def _judge(self, flow: Flow, partners: Partners) -> None:
        if not isinstance(flow.security, TlsPeer) or not flow.security.certificate:
            return
        certificate = x509.load_der_x509_certificate(flow.security.certificate)
        why = ""
        if (certificate.issuer, certificate.serial_number) in self._files.revoked:
            why = "its certificate has been revoked, its connection ends"
        elif certificate.not_valid_after_utc.timestamp() < self._context.clock.now():
            why = "its certificate has expired, its connection ends"
        elif self._config.revoked and not self._is_heard_of(certificate.issuer):
            why = "no revocation list of its authority is in force, its connection ends"
        if why:
            partners.failed(flow.security.names[0], why)
            self._context.refused(0, why, "RFC 5280 6.3", source="{}:{}".format(*flow.remote))
            flow.close()

    def _is_heard_of(self, authority: x509.Name) -> bool:
        """Whether one of the authority's lists is in force: without it no connection would be made (RFC 5280 6.3.3)."""
        now = self._context.clock.now()
        ends = [each.next_update_utc for each in self._files.lists if each.issuer == authority]
        return any(end is None or end.timestamp() >= now for end in ends)

    def _warn(self) -> None:
        """Once a day, when our own certificate is about to end, or a revocation list, without which nobody counts."""
        now = asyncio.get_running_loop().time()
        if now - self._warned_at < DAY_S:
            return
        self._warned_at = now
        left_s = self._files.own.not_valid_after_utc.timestamp() - self._context.clock.now()
        if left_s < WARN_S:
            days = max(0, round(left_s / DAY_S))
            what = f"{self._config.certificate} ends in {days} days; no partner is reached then"
            self._context.notice("alarm", what, "`redoubt pki renew` makes a new one, which is taken up at once")
        for each in self._files.lists:
            until = each.next_update_utc
            if until is not None and until.timestamp() - self._context.clock.now() < LIST_WARN_S:
                what = f"the revocation list of {each.issuer.rfc4514_string()} ends on {until:%d %b %H:%M}"
                self._context.notice("alarm", what, "nobody of that authority is believed then; `redoubt pki crl`")

    def _read(self) -> "_Files":
        config = self._config
        try:
            settings = mutual(config.certificate, config.key, config.authority, config.revoked)
            [own, *_] = x509.load_pem_x509_certificates(Path(config.certificate).read_bytes())
            lists = revocation_lists_in(Path(config.revoked).read_bytes()) if config.revoked else []
        except (ValueError, OSError) as error:
            raise ConfigError(f"[ibcf] certificate, key, authority, revoked: {error}") from error
        revoked = frozenset((each.issuer, entry.serial_number) for each in lists for entry in each)
        return _Files(settings, own, lists, revoked)

    def _stamps(self) -> list[tuple[int, int]]:
        """What changes when a file does."""
        config, found = self._config, []
        for path in (config.certificate, config.key, config.authority, config.revoked):
            try:
                status = Path(path).stat()
            except OSError:
                continue
            found.append((status.st_mtime_ns, status.st_ino))
        return found
