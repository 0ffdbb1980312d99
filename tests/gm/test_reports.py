"""Gm in events: each change of a set, and bad packets without a flood."""

import asyncio

from redoubt.events import EventStream
from redoubt.gm.esp import Drop
from redoubt.gm.reports import AssociationChanged, AssociationEventRefused, PacketsRefused, Reports
from redoubt.gm.states import Event
from redoubt.limits import REFUSING_SOURCES
from redoubt.sources import Clock

from .sets import HERE, Node, virtually


def reports() -> tuple[Reports, EventStream]:
    events = EventStream()
    return Reports("p-cscf", events, Clock(asyncio.get_running_loop(), 1000.0)), events


def test_each_change_of_a_set_is_told_with_its_clause() -> None:
    async def story(node: Node) -> None:
        told, events = reports()
        node.associations.listeners.append(told.changed)
        made = node.authenticate()
        node.associations.received(made)
        changes = [each for each in events.recent if isinstance(each, AssociationChanged)]
        assert [(each.before, each.after) for each in changes] == [
            ("temporary", "answered"), ("answered", "established"), ("established", "in use"),
        ]  # fmt: skip
        assert all(each.clause and each.impi == "alice@ims.test" and each.source == HERE for each in changes)
        node.associations.ended(made, Event.EVICTED)
        assert isinstance(events.recent[-1], AssociationEventRefused)

    virtually(story)


def test_a_flood_of_bad_packets_is_told_in_powers_of_ten() -> None:
    async def story(_node: Node) -> None:
        told, events = reports()
        for _ in range(1234):
            told.refused(Drop.BAD_TAG, 4711, ("203.0.113.66", 4500))
        told.refused(Drop.REPLAYED, 4711, ("203.0.113.66", 4500))
        assert [(each.reason, each.count) for each in events.recent if isinstance(each, PacketsRefused)] == [
            ("bad tag", 1), ("bad tag", 10), ("bad tag", 100), ("bad tag", 1000), ("replayed", 1),
        ]  # fmt: skip
        assert told.refused_packets == 1235

    virtually(story)


def test_a_million_sources_of_bad_packets_cost_bounded_memory() -> None:
    async def story(_node: Node) -> None:
        told, _ = reports()
        for number in range(3 * REFUSING_SOURCES):
            told.refused(Drop.UNKNOWN_SPI, 1, (f"203.0.113.{number}", 1))
        assert len(told._counts) == REFUSING_SOURCES

    virtually(story)
