"""Every bound, with its reason. Beyond a bound a thing is refused, never truncated."""

EVENTS_KEPT = 20_000  # the last few minutes of a busy node, about 10 MB at worst
BACKGROUND_TASKS = 20_000  # NOTIFYs and clean-up after an outage of a full node, about 60 MB at worst
