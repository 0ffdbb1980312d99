"""The act of `redoubt demo interconnect` with security gateways (TS 33.210 5): strongSwan at both operators, and an
ESP tunnel between. Needs root, network namespaces and strongSwan."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

from redoubt.config import Config
from redoubt.lab.demo_interconnect_hosts import Host
from redoubt.lab.demo_interconnect_scenes import Stage, call, roam_and_call
from redoubt.lab.demo_interconnect_sites import Site
from redoubt.ndm.gateway_settings import settings
from redoubt.network.firewall import ruleset

PROGRAM = "charon-systemd"
TUN = "/dev/net/tun"
NAME, PORT = "za", 5060
WORDS = "of both operators, by word of mouth, long enough"
STANDS_WITHIN_S, FALLS_WITHIN_S = 10.0, 10.0
IMPATIENT = ("retransmit_tries = 3", "retransmit_tries = 1")  # a silent gateway is given up after 2.5 s


def lacks_gateways() -> str:
    """What this machine has not; "" if nothing."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} of strongSwan is not installed"
    if shutil.which("nft") is None:
        return "nft of nftables is not installed"
    return "" if os.access(TUN, os.W_OK) else f"{TUN} is not there, or not for this user"


class Charon:
    """A strongSwan of one operator, on its host."""

    def __init__(self, namespace: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.vici = str(folder / "vici.sock")
        written = folder / "strongswan.conf"
        log = str(folder / "charon.log")
        written.write_text(settings(self.vici, user_space=True, log=log).replace(*IMPATIENT))
        command = ["ip", "netns", "exec", namespace, PROGRAM]
        environment = {**os.environ, "STRONGSWAN_CONF": str(written)}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)  # noqa: S603

    def kill(self) -> None:
        """It dies without a word."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


async def by_gateways(stage: Stage) -> None:
    """Borders speak in clear, and between the operators it is ESP alone."""
    show = stage.show
    show.act("Security gateways")
    alpha, beta = stage.build("alpha", "beta")
    gateways = {site.name: _gateway(site, stage.folder) for site in (alpha, beta)}
    try:
        for site, other in ((alpha, beta), (beta, alpha)):
            tunnel = _tunnel(site, other, gateways[site.name].vici)
            roaming = {"visited-networks": [beta.realm]} if site is alpha else {"serves-visitors": True}
            site.agrees(other, f"udp:{other.inside}:{PORT}", security="gateway", gateway=NAME,
                        addresses=[other.inside], **roaming)  # fmt: skip
            show.beyond(other.inside, other, "ibcf")
            border = {"listen": [f"udp:{site.inside}:{PORT}", f"tcp:{site.inside}:{PORT}"], "core": ["udp:127.0.0.1:0"]}
            await site.start({**site.bordered(), "ibcf": border, "gateways": [tunnel]}, [beta.realm])
            _filter(site)
        show.claim("the gateways agree on a tunnel", await _become(alpha, True) and await _become(beta, True))
        await roam_and_call(stage, "border alpha", "border beta")
        for link in stage.links:
            found = show.found(link)
            show.claim(f"nothing but IKE and ESP is on the wire {link.name}", _is_protected(found.packets))
            show.claim(f"and nothing can be read there, {link.name}", found.is_silent)
        await _falls(stage, gateways["beta"])
    finally:
        for gateway in gateways.values():
            gateway.kill()


async def _falls(stage: Stage, of_beta: Charon) -> None:
    """A gateway dies, and Carol calls."""
    show, alpha, beta = stage.show, stage.sites["alpha"], stage.sites["beta"]
    carol, bob = await stage.phone(alpha, alpha, "carol"), beta.phones[-1]
    show.aside()
    await alpha.place.do(carol.register())
    for link in stage.links:
        link.forget()
    of_beta.kill()
    show.claim("Alpha notices that Beta's gateway died", await _become(alpha, False))
    show.scene("Beta's gateway is dead: Carol calls Bob", "carol", "p-cscf alpha", "cscf alpha", "border alpha",
               "border beta")  # fmt: skip
    show.claim("the call is refused", not await call(alpha, carol, bob))
    show.aside()
    for link in stage.links:
        found = link.findings()
        held = _is_protected(found.packets) and not found.messages
        show.claim(f"and nothing goes out in the clear {link.name}", held)


def _gateway(site: Site, folder: Path) -> Charon:
    assert isinstance(site.place, Host)
    return Charon(site.place.namespace, folder / f"gateway-{site.name}")


def _filter(site: Site) -> None:
    """The rules that `redoubt check exposure --nftables` writes about the tunnel: a connection that stood in it when it
    fell would go on in the clear."""
    assert isinstance(site.place, Host) and site.network is not None
    command = ["ip", "netns", "exec", site.place.namespace, "nft", "-f", "-"]
    rules = ruleset(Config(gateways=site.network.config.gateways))
    subprocess.run(command, input=rules.encode(), check=True)  # noqa: S603


def _tunnel(site: Site, other: Site, vici: str) -> dict[str, object]:
    """An entry of [[gateways]]."""
    secret = Path(vici).with_name("secret")
    secret.write_text(WORDS)
    secret.chmod(0o600)
    return {
        "name": NAME, "local": site.border, "remote": other.border, "local-networks": [f"{site.inside}/32"],
        "remote-networks": [f"{other.inside}/32"], "vici": vici, "authentication": "psk", "secret-file": str(secret),
        "dpd": 1,
    }  # fmt: skip


async def _become(site: Site, stands: bool) -> bool:
    """Whether the operator's tunnel soon is as said."""
    assert site.network is not None
    for _ in range(int((STANDS_WITHIN_S if stands else FALLS_WITHIN_S) / 0.05)):
        if site.network.gateways.stands(NAME) is stands:
            return True
        await asyncio.sleep(0.05)
    return False


def _is_protected(packets: dict[str, int]) -> bool:
    return not packets.keys() - {"IKE", "ESP", "ICMP"}  # which says that a gateway is dead
