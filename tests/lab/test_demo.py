"""The demo, as `make demo` runs it: real sockets on loopback, and every claim holds."""

import io

from rich.console import Console

from redoubt.lab.demo import demo


async def test_the_demo_shows_registration_and_call_and_passes() -> None:
    out = io.StringIO()
    verdict = await demo(Console(file=out, width=120))
    shown = out.getvalue()
    assert [claim for claim, held in verdict.claims if not held] == [], shown
    assert verdict.exit_status == 0
    for proof in ("network authenticated by AUTN", "user authenticated by RES", "keys agreed", "INVITE", "PASSED"):
        assert proof in shown
    assert "unreadable" not in shown


async def test_the_demo_never_shows_a_session_key() -> None:
    out = io.StringIO()
    await demo(Console(file=out, width=250))
    assert 'ck="' not in out.getvalue()
