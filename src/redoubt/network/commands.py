"""What the control socket offers: status, explain, and changes to subscribers of the running HSS."""

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec

from redoubt.network.associations import association_rows
from redoubt.network.control import Command
from redoubt.network.partners import partner_rows
from redoubt.network.run import Network
from redoubt.network.subscriber_commands import subscriber_commands
from redoubt.network.tracing import trace
from redoubt.network.verdict import attempts
from redoubt.network.weaknesses import weak_choices


def commands(network: Network) -> dict[str, Command]:
    """The commands by name, for a ControlServer."""
    began = asyncio.get_running_loop().time()

    async def status(asked: dict[str, Any]) -> dict[str, Any]:
        recent = list(network.context.events.recent)[-int(asked.get("events", 0)) :] if asked.get("events") else []
        return {
            "realm": network.config.network.realm,
            "functions": sorted(network.only),
            "listening": network.names,
            "access_policy": network.config.access.policy,
            "protections_off": list(network.config.test.protections_off),
            "weak_choices": msgspec.to_builtins(list(weak_choices(network))),
            "up_s": asyncio.get_running_loop().time() - began,
            "tables": network.table_sizes(),
            "diameter": [asdict(peer) for node in network.diameter.nodes.values() for peer in node.peer_states()],
            "events": [msgspec.to_builtins(event) for event in recent],
        }

    async def explain(asked: dict[str, Any]) -> list[dict[str, Any]]:
        about, last = str(asked.get("about", "")), int(asked.get("last", 5))
        found: list[dict[str, Any]] = msgspec.to_builtins(attempts(network.context.events.recent, about, last))
        return found

    async def associations(asked: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = msgspec.to_builtins(list(association_rows(network, str(asked.get("about", "")))))
        return found

    async def gateways(_asked: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = msgspec.to_builtins(network.gateways.rows())
        return found

    async def partners(asked: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = msgspec.to_builtins(list(partner_rows(network, str(asked.get("about", "")))))
        return found

    return {
        "status": status,
        "partners": partners,
        "gateways": gateways,
        "associations": associations,
        "explain": explain,
        "trace": partial(trace, network),
        **subscriber_commands(network),
    }
