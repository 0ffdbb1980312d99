"""Association sets over a day: none leaks, none is missing. `make soak` plays it with 10,000 phones."""

import json
import os
import resource
import time

from redoubt.network.run import tune_memory
from redoubt.sim import Network
from redoubt.sim.loop import SimLoop

from .soak import day

PHONES = int(os.environ.get("REDOUBT_SOAK_PHONES", "25"))
HOURS = int(os.environ.get("REDOUBT_SOAK_HOURS", "24"))


def test_phones_that_re_register_all_day_leak_no_association_and_lack_none() -> None:
    loop, uncaught = SimLoop(Network(1), limit_s=(HOURS + 3) * 3600.0), []
    loop.set_exception_handler(lambda _, context: uncaught.append(context))
    if PHONES > 1000:
        tune_memory()  # as a P-CSCF of that size does
    began = time.process_time()
    found = loop.run_until_complete(day(PHONES, HOURS))
    loop.close()
    assert not uncaught
    cpu_s, peak_mb = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**found, "CPU s": round(cpu_s, 1), "peak MB": peak_mb}, indent=2))
    assert found["most sets"]
