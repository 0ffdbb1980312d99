"""The type of keys: a value that can't be printed, logged, serialised or compared with `==`."""

import hmac
from typing import NoReturn


class Secret:
    """Key material. `reveal()` is the one way to the octets, `matches()` the one way to compare."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """The octets themselves, for a cryptographic primitive or the wire of a protected peer."""
        return self._octets

    def matches(self, other: "Secret | bytes") -> bool:
        """Equality in constant time."""
        octets = other._octets if isinstance(other, Secret) else other
        return hmac.compare_digest(self._octets, octets)

    def __len__(self) -> int:
        return len(self._octets)

    def __bool__(self) -> bool:
        return bool(self._octets)

    def __repr__(self) -> str:
        return f"Secret({len(self._octets)} octets)"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are compared with matches(), in constant time")

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret is not a key of a table")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")
