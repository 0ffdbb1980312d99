"""What every section of redoubt.toml is made of."""

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[int, Meta(ge=1, description="seconds")]
ListenOn = Annotated[
    str, Meta(pattern=r"^(udp|tcp|tls):.+:\d+$", description="TRANSPORT:HOST:PORT, port 0 lets the system choose")
]


Port = Annotated[int, Meta(ge=1, le=65_535)]


class Section(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, rename="kebab"):
    """One table of redoubt.toml."""


class ConfigError(Exception):
    """The operator's fault: names the option, what is wrong, what to write instead."""
