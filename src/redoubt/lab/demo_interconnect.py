"""`redoubt demo interconnect`: operators that roam and peer, over the bare Internet, by TLS, by a hub, by gateways.

Each act is played on networks of its own, with everything on each wire kept; what somebody learns there is shown, and
stands in the verdict.
"""

import asyncio
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from redoubt.events import Refused
from redoubt.lab.demo_interconnect_gateways import by_gateways, lacks_gateways
from redoubt.lab.demo_interconnect_hosts import Here, may_make_networks
from redoubt.lab.demo_interconnect_scenes import SETTLE_S, Stage, call, read_at, roam_and_call
from redoubt.lab.demo_interconnect_show import Outcome, Show
from redoubt.lab.demo_interconnect_sites import Site, routes_to
from redoubt.ndm.pki_folder import PkiFolder
from redoubt.sources import Randomness, SystemRandomness

LIMIT_S = 60.0
ROAMING = {"serves-visitors": True}
CLEAR, TLS, HUB = "Over the bare Internet", "Borders and TLS", "By a hub"


async def demo_interconnect(
    console: Console | None = None, *, randomness: Randomness | None = None, namespaces: bool | None = None
) -> Outcome:
    """Plays all acts. With `namespaces` each operator is in one of its own (root); None: if this user may."""
    randomness = randomness or SystemRandomness()
    apart = may_make_networks() if namespaces is None else namespaces
    show = Show("each operator in a network namespace" if apart else "on loopback addresses", console)
    lacking = lacks_gateways() if apart else "security gateways need root"
    acts = (_bare, _protected, _by_hub) if lacking else (_bare, _protected, _by_hub, by_gateways)
    try:
        async with asyncio.timeout(LIMIT_S):
            for play in acts:
                with tempfile.TemporaryDirectory(prefix="redoubt-demo-") as folder:
                    stage = Stage(Path(folder), show, randomness, apart)
                    try:
                        await play(stage)
                    finally:
                        await stage.close()
    except TimeoutError:
        show.claim("all of it ends in time", False)
    return show.done(lacking)


# ---- the acts


async def _bare(stage: Stage) -> None:
    """Nodes of one network speak with those of the other, as they do inside."""
    stage.show.act(CLEAR)
    alpha, beta = stage.build("alpha", "beta")
    link = stage.link(alpha, beta)
    for here, there in ((alpha, beta), (beta, alpha)):
        routes = await routes_to(there, link, stage.relay(here, there))
        trusted = stage.relay(there, here) if link is not None else there.inside
        for host, to in routes.items():
            function = {"pcscf": "p-cscf", "scscf": "s-cscf"}.get(host.partition(".")[0], "i-cscf")
            stage.show.beyond(to.removeprefix("tcp:"), there, function)
        await here.start(here.joined_directly(routes, [trusted]), [beta.realm])
    await roam_and_call(stage, "cscf alpha", "cscf beta")
    for each in stage.links:
        found = stage.show.found(each)
        who = f"an eavesdropper on the wire {each.name} reads who registers and who calls whom"
        stage.show.claim(who, _knows_who(found.identities))
        stage.show.claim("and learns the names of both networks' nodes", len(found.nodes) > 3)
        stage.show.claim("and CK and IK: the IPsec of Alice's phone is open to it", found.keys >= 2)


async def _protected(stage: Stage) -> None:
    """Everything leaves and enters at borders, which prove who they are and hide what is behind them."""
    show = stage.show
    show.act(TLS)
    alpha, beta = stage.build("alpha", "beta")
    alpha.certify([])
    beta.certify([alpha])
    await stage.agree(alpha, beta, {"visited-networks": [beta.realm]}, ROAMING)
    for site in (alpha, beta):
        await site.start(site.bordered(), [beta.realm])
    at_beta = await roam_and_call(stage, "border alpha", "border beta")
    for each in stage.links:
        show.claim(f"nothing can be read on the wire {each.name}, no key either", show.found(each).is_silent)
    named = [name for name in ("scscf.alpha", "icscf.alpha", "pcscf.alpha", alpha.inside) if name in at_beta]
    show.claim("Beta itself learns no name and no address of Alpha's nodes", bool(at_beta) and not named)
    show.scene("A stranger from the Internet, with a certificate of its own making, asks Alpha")
    why = await _stranger(stage, alpha)
    show.claim(f"the stranger is refused, and Alpha's operator told why: {why[:90]}", bool(why))


async def _by_hub(stage: Stage) -> None:
    """Alpha and Beta know the hub only."""
    show = stage.show
    show.act(HUB)
    alpha, beta, hub = stage.build("alpha", "beta", "hub")
    alpha.certify([])
    beta.certify([])
    hub.certify([alpha, beta])
    await stage.agree(alpha, hub, {"transit-to": [beta.realm]}, {"transit-for": ["beta"]})
    await stage.agree(beta, hub, {"transit-to": [alpha.realm]}, {})
    seen = read_at(hub)
    for site in (alpha, beta, hub):
        await site.start(site.bordered())
    carol, bob = await stage.phone(alpha, alpha, "carol"), await stage.phone(beta, beta, "bob")
    for site, phone in ((alpha, carol), (beta, bob)):
        await site.place.do(phone.register())
    lanes = ("carol", "p-cscf alpha", "cscf alpha", "border alpha", "border hub", "border beta", "cscf beta",
             "p-cscf beta", "bob")  # fmt: skip
    show.scene("Carol of Alpha calls Bob of Beta; each has an agreement with the hub, and none with the other", *lanes)
    show.claim("Carol reaches Bob through the hub", await call(alpha, carol, bob))
    for each in stage.links:
        show.claim(f"nothing can be read on the wire {each.name}", show.found(each).is_silent)
    text = "".join(seen)
    show.claim("but the hub reads all signalling: who calls whom, and the media's addresses and keys",
               all(word in text for word in ("carol@alpha.example", "bob@beta.example", "m=audio")))  # fmt: skip
    show.claim("and no name of a node of either", not any(word in text for word in ("scscf.alpha", "scscf.beta")))
    show.scene("Bob calls Carol: the hub's agreement with Beta does not let it", *reversed(lanes))
    show.claim("Beta, which the hub does not serve, gets nothing through it",
               not await call(beta, bob, carol))  # fmt: skip


async def _stranger(stage: Stage, alpha: Site) -> str:
    """What Alpha's border says of it."""
    pki = PkiFolder(alpha.pki.path.with_name("mallory"))
    mallory = Site("beta", Here(), "", "", "", pki, alpha.randomness)  # it says that it is Beta
    mallory.certify([])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pki.path / "border.pem", pki.path / "border.key")
    refused: list[str] = []
    alpha.events.listen(lambda event: refused.append(event.why) if isinstance(event, Refused) else None)

    async def knock() -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(*alpha.at("ibcf"), ssl=context)
            writer.write(b"OPTIONS sip:alpha.example SIP/2.0\r\n\r\n")
            await reader.read()
        await asyncio.sleep(SETTLE_S)

    await alpha.place.do(knock())
    return refused[0] if refused else ""


def _knows_who(identities: tuple[str, ...]) -> bool:
    return {"alice@alpha.example", "carol@alpha.example", "bob@beta.example"} <= set(identities)
