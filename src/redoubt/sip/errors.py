"""The faults of a peer (RFC 3261 clause 21): an exception that carries the response owed to it."""


class SipError(Exception):
    """The peer broke a rule: `status` is owed to it, `why` is for operators and is never sent."""

    def __init__(
        self, status: int, why: str, clause: str = "", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.clause = clause
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status} {self.why}" + (f" [{self.clause}]" if self.clause else "")
