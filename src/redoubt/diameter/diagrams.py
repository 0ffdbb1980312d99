"""The state machines as Mermaid diagrams, drawn from their tables for docs/diameter.md."""

from redoubt.diameter import peer_table, watchdog


def peer_diagram() -> str:
    """RFC 6733 5.6."""
    lines = ["stateDiagram-v2", "    [*] --> CLOSED"]
    for (state, happening), row in peer_table.TABLE.items():
        done = ", ".join(action.name for action in row.actions)
        lines.append(f"    {state.name} --> {row.next.name}: {happening.name}{' / ' if done else ''}{done}")
    return "\n".join(lines)


def watchdog_diagram() -> str:
    """RFC 3539 3.4.1."""
    lines = ["stateDiagram-v2", "    [*] --> INITIAL"]
    for (health, sign), row in watchdog.TABLE.items():
        done = ", ".join(deed.name for deed in row.deeds)
        lines.append(f"    {health.name} --> {row.next.name}: {sign.name}{' / ' if done else ''}{done}")
    return "\n".join(lines)
