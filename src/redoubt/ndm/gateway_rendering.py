"""What charon is told of a tunnel: [[gateways]] as a connection in VICI's words, with keys and certificates.

TS 33.210 5: ESP in tunnel mode, never in clear; TS 33.310 6: whom a gateway's certificate may be signed by is said for
each connection, so that one partner's authority proves nobody else's name.
"""

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from redoubt.config.base import ConfigError
from redoubt.config.interconnect import GatewayConfig
from redoubt.ndm.gateway_policy import ANY_ADDRESS, SECRET_CHARACTERS
from redoubt.ndm.proposals import ike_proposals
from redoubt.secret import Secret

PREFIX = "redoubt-"  # of our connections in a charon that others may use too
REAUTHENTICATED_S = 24 * 3600  # a certificate that has expired or was revoked since ends a tunnel within a day
IKE_LIVES = 4  # lives of a tunnel's keys for one of IKE's


def connection_name(gateway: GatewayConfig) -> str:
    return PREFIX + gateway.name


def connection(gateway: GatewayConfig) -> dict[str, Any]:
    """The argument of load-conn. Raises ConfigError for files that can't be used."""
    name = connection_name(gateway)
    return {
        name: {
            "version": gateway.ike,
            "local_addrs": [gateway.local],
            "remote_addrs": [gateway.remote],
            "proposals": list(ike_proposals(gateway)),
            "aggressive": "no",  # IKEv1 would show a hash of the pre-shared key to anyone
            "mobike": "no",  # a gateway does not move
            "dpd_delay": gateway.dpd,
            "rekey_time": gateway.rekey * IKE_LIVES,
            "reauth_time": REAUTHENTICATED_S,
            "over_time": gateway.rekey,
            "keyingtries": 1,  # we ask again ourselves, and say why it failed
            "local": _local(gateway),
            "remote": _remote(gateway),
            "children": {name: _child(gateway)},
        }
    }


def _child(gateway: GatewayConfig) -> dict[str, Any]:
    return {
        "mode": "tunnel",
        "local_ts": list(gateway.local_networks),
        "remote_ts": list(gateway.remote_networks),
        "esp_proposals": list(gateway.esp_proposals),
        "rekey_time": gateway.rekey,
        "life_time": gateway.rekey + max(30, gateway.rekey // 10),  # long enough that no rekeying comes too late
        "rand_time": gateway.rekey // 10,
        # A trap: what the policy matches goes through the tunnel or nowhere (TS 33.210 5.1).
        "start_action": "trap",
        "dpd_action": "trap",
        "close_action": "trap",
    }


def _local(gateway: GatewayConfig) -> dict[str, Any]:
    own = _own_identity(gateway)
    identity = {"id": own} if own else {}
    if gateway.authentication == "psk":
        return {"auth": "psk", **identity}
    return {"auth": "pubkey", "certs": [_der(one) for one in certificates(gateway.certificate)], **identity}


def _remote(gateway: GatewayConfig) -> dict[str, Any]:
    identity = gateway.remote_identity or gateway.remote
    if gateway.authentication == "psk":
        return {"auth": "psk", "id": identity}
    authorities = [_der(one) for one in certificates(gateway.authority)]
    revocation = "strict" if gateway.revoked else "ifuri"
    return {"auth": "pubkey", "id": identity, "cacerts": authorities, "revocation": revocation}


def _own_identity(gateway: GatewayConfig) -> str:
    """Ours; empty when the first packet's way says which address that is."""
    return gateway.local_identity or gateway.local.replace(ANY_ADDRESS, "")


def files(gateway: GatewayConfig) -> list[Path]:
    """What the connection is made of, and may be renewed while it stands."""
    named = (gateway.secret_file, gateway.certificate, gateway.key, gateway.authority, gateway.revoked)
    return [Path(file) for file in named if file]


def credentials(gateway: GatewayConfig) -> list[tuple[str, dict[str, Any]]]:
    """Commands that give charon what the connection needs, in order. Raises ConfigError."""
    if gateway.authentication == "psk":
        owners = [each for each in (gateway.remote_identity or gateway.remote, _own_identity(gateway)) if each]
        data = shared_secret(gateway).reveal()
        return [("load-shared", {"id": connection_name(gateway), "type": "IKE", "data": data, "owners": owners})]
    commands: list[tuple[str, dict[str, Any]]] = [
        ("load-cert", {"type": "X509", "flag": "CA", "data": _der(one)}) for one in certificates(gateway.authority)
    ]
    commands.append(("load-key", {"type": "any", "data": _read(gateway, "key", gateway.key)}))
    if gateway.revoked:
        commands += [("load-cert", {"type": "X509_CRL", "data": _der(one)}) for one in revocation_lists(gateway)]
    return commands


def shared_secret(gateway: GatewayConfig) -> Secret:
    """The pre-shared key. Raises ConfigError for one that could be guessed."""
    data = _read(gateway, "secret-file", gateway.secret_file).strip()
    if len(data) < SECRET_CHARACTERS:
        raise ConfigError(
            f"[[gateways]] {gateway.name}: {gateway.secret_file} has {len(data)} characters, and a pre-shared key needs"
            f" {SECRET_CHARACTERS}; write one with `openssl rand -base64 48`"
        )
    return Secret(data)


def certificates(path: str) -> list[x509.Certificate]:
    """The certificates of a PEM file. Raises ConfigError."""
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"[[gateways]] {path}: {error}; write a PEM file of certificates") from None


def revocation_lists(gateway: GatewayConfig) -> list[x509.CertificateRevocationList]:
    """The lists of `revoked`, one after the other in a PEM file. Raises ConfigError."""
    end = b"-----END X509 CRL-----"
    parts = _read(gateway, "revoked", gateway.revoked).split(end)[:-1]
    where = f"[[gateways]] {gateway.name}: revoked: {gateway.revoked}"
    if not parts:
        raise ConfigError(f"{where} has no revocation list; write PEM, and empty the option if no list is wanted")
    try:
        return [x509.load_pem_x509_crl(part.strip() + b"\n" + end + b"\n") for part in parts]
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _read(gateway: GatewayConfig, option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"[[gateways]] {gateway.name}: {option}: {path}: {error.strerror}") from None


def _der(one: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return one.public_bytes(Encoding.DER)
