"""Why a simulated run ended badly, each with the sentence that somebody who replays it needs."""


class SimError(Exception):
    """A simulated run did not end as it should."""


class SimDeadlock(SimError):
    """Every task waits, and nothing is scheduled that could ever wake one."""


class SimTimeLimit(SimError):
    """Virtual time reached its limit; whoever should have finished is still waiting."""


class SimLivelock(SimError):
    """Callbacks schedule each other for ever while virtual time stands still."""


class SimLeak(SimError):
    """The main coroutine ended and left tasks running that nobody allowed."""


class SimUnhandled(SimError):
    """A callback raised, or a task failed and nobody asked for its result."""
