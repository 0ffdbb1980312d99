"""The ceilings of half-open attempts, against a plain model."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from redoubt.gm.half_open import HalfOpen

ACTIONS = st.sampled_from(["add", "add", "answer"])
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 3), st.integers(0, 30)), max_size=150)


def source(number: int) -> str:
    return f"10.0.0.{number}"


LIGHTER = [("add", 0, 0)] * 4 + [("answer", 0, 0)] + [("add", 1, 0)] * 3 + [("add", 2, 0)]  # the heaviest is no more


@example(LIGHTER)
@given(STEPS)
def test_the_oldest_of_the_source_or_of_the_heaviest_source_goes(steps: list[tuple[str, int, int]]) -> None:
    table, model = HalfOpen(ceiling=6, per_source=4), list[Any]()
    for action, number, which in steps:
        if action == "answer":
            if model:
                gone = model.pop(which % len(model))
                table.discard(gone)
                table.discard(gone)
        else:
            goes = table.in_the_way(source(number))
            own = [each for each in model if each.address == source(number)]
            counts = {each.address: sum(other.address == each.address for other in model) for each in model}
            if len(own) >= 4:
                assert goes is own[0]
            elif len(model) >= 6:
                assert goes is not None
                assert counts[goes.address] == max(counts.values())
                assert goes is next(each for each in model if each.address == goes.address)
            else:
                assert goes is None
            if goes is not None:
                table.discard(goes)
                model.remove(goes)
            new: Any = _Waiting(source(number))
            table.add(new)
            model.append(new)
        assert len(table) == len(model)
        assert all(each in table for each in model)


class _Waiting:
    """What the table looks at of a set: its address, and that it is itself."""

    def __init__(self, address: str) -> None:
        self.address = address
