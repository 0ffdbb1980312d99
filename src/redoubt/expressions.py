"""Extended regular expressions whose matching takes time in proportion to the text, whatever the expression.

Filter criteria (TS 29.228 B.2.3) and wildcarded identities (TS 23.003 13.4A) carry expressions of IEEE 1003.1 clause
9.4 that another node wrote. Python's `re` goes back and forth and can be made to take years; here a set of positions
walks over the text once (Thompson's way), and sets that came up before are remembered. What groups matched, which ENUM
wants (RFC 3402 3.2), is found the same way, with a list of positions in the order of preference.
"""

from collections.abc import Callable
from functools import lru_cache

from redoubt.limits import EXPRESSION_OCTETS, EXPRESSION_POSITIONS, EXPRESSION_STEPS

Test = Callable[[str], bool]
_CLASSES: dict[str, Test] = {
    "alpha": str.isalpha,
    "digit": lambda c: "0" <= c <= "9",
    "alnum": lambda c: c.isalpha() or "0" <= c <= "9",
    "upper": str.isupper,
    "lower": str.islower,
    "space": str.isspace,
    "blank": lambda c: c in " \t",
    "punct": lambda c: c.isascii() and c.isprintable() and not c.isalnum() and c != " ",
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
    "print": str.isprintable,
    "graph": lambda c: c.isprintable() and c != " ",
    "cntrl": lambda c: c < " " or c == "\x7f",
}
_ESCAPED: dict[str, Test] = {  # not in IEEE 1003.1, but operators write them
    "d": _CLASSES["digit"],
    "D": lambda c: not "0" <= c <= "9",
    "w": lambda c: c == "_" or c.isalnum(),
    "W": lambda c: not (c == "_" or c.isalnum()),
    "s": str.isspace,
    "S": lambda c: not c.isspace(),
}


GROUPS = 9  # that a replacement can name: \\1 to \\9


class ExpressionError(ValueError):
    """No extended regular expression, or one beyond the bounds; the text says why."""


# A node of the automaton: a test of one character, an anchor, or a fork; `to` are the nodes after it. A fork may be
# where a group begins or ends: `mark` is twice the group's number, plus one at its end.
_TEST, _START, _END, _FORK, _ACCEPT = range(5)
_Spans = tuple[int, ...]


class _Node:
    __slots__ = ("kind", "mark", "test", "to")

    def __init__(self, kind: int, test: Test | None = None, mark: int = -1) -> None:
        self.kind, self.test, self.mark = kind, test, mark
        self.to: list[_Node] = []


Piece = tuple[_Node, list[_Node]]
"""Part of an automaton: where it begins, and the nodes that lead out of it."""


class Expression:
    """A compiled expression; `search` and `covers` cost at most length times positions."""

    def __init__(self, text: str) -> None:
        """Raises ExpressionError."""
        if len(text) > EXPRESSION_OCTETS:
            raise ExpressionError(f"an expression has at most {EXPRESSION_OCTETS} characters")
        self.text = text
        parser = _Parser(text)
        first, ends = parser.whole()
        self._first, self._marks = first, 2 * min(parser.groups, GROUPS)
        self._accept = _Node(_ACCEPT)
        for node in ends:
            node.to.append(self._accept)
        self._at_start = self._closure([first], at_start=True)
        self._later = self._closure([first], at_start=False)
        self._steps: dict[tuple[frozenset[_Node], str], frozenset[_Node]] = {}

    def search(self, text: str) -> bool:
        """Whether some part of the text matches."""
        places = self._at_start
        for character in text:
            if self._accept in places:
                return True
            places = self._step(places, character) | self._later
        return self._ends(places)

    def covers(self, text: str) -> bool:
        """Whether the whole text matches."""
        places = self._at_start
        for character in text:
            if not places:
                return False
            places = self._step(places, character)
        return self._ends(places)

    def groups(self, text: str) -> tuple[str | None, ...] | None:
        """What each group matched when the whole text does, by the first way in the order of preference: earlier
        alternatives, longer repetitions. None if it does not.
        """
        threads = self._ways([(self._first, (-1,) * self._marks)], 0, len(text))
        for at, character in enumerate(text):
            passed = [
                (to, spans)
                for node, spans in threads
                if node.test is not None and node.test(character)
                for to in node.to
            ]
            threads = self._ways(passed, at + 1, len(text))
        for node, spans in threads:
            if node is self._accept:
                pairs = zip(spans[::2], spans[1::2], strict=True)
                return tuple(text[begin:end] if -1 < begin <= end else None for begin, end in pairs)
        return None

    def _ways(self, begun: list[tuple[_Node, _Spans]], at: int, length: int) -> list[tuple[_Node, _Spans]]:
        """All positions that can be reached without a character, the preferred ones first, each by its first way."""
        seen: set[_Node] = set()
        kept: list[tuple[_Node, _Spans]] = []
        waiting = begun[::-1]
        while waiting:
            node, spans = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.mark >= 0:
                spans = (*spans[: node.mark], at, *spans[node.mark + 1 :])
            if node.kind == _FORK or (node.kind == _START and at == 0) or (node.kind == _END and at == length):
                waiting += [(to, spans) for to in reversed(node.to)]
            elif node.kind not in (_START, _END):
                kept.append((node, spans))
        return kept

    def _step(self, places: frozenset[_Node], character: str) -> frozenset[_Node]:
        after = self._steps.get((places, character))
        if after is None:
            passed = [to for node in places if node.test is not None and node.test(character) for to in node.to]
            after = self._closure(passed, at_start=False)
            if len(self._steps) >= EXPRESSION_STEPS:
                self._steps.clear()
            self._steps[places, character] = after
        return after

    def _ends(self, places: frozenset[_Node]) -> bool:
        """Whether what is left may match the empty text at the end; `$` holds now."""
        if self._accept in places:
            return True
        behind = [to for node in places if node.kind == _END for to in node.to]
        return bool(behind) and self._accept in self._closure(behind, at_start=False, at_end=True)

    def _closure(self, nodes: list[_Node], *, at_start: bool, at_end: bool = False) -> frozenset[_Node]:
        """All positions that can be reached without a character."""
        seen: set[_Node] = set()
        kept: list[_Node] = []
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            passable = node.kind == _FORK or (node.kind == _START and at_start) or (node.kind == _END and at_end)
            if passable:
                waiting += node.to
            elif node.kind != _START:
                kept.append(node)
        return frozenset(kept)


class _Parser:
    """Reads an expression left to right and builds its automaton (IEEE 1003.1 9.4, 9.5.3)."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._nodes, self._depth = text, 0, 0, 0
        self._opened: dict[int, int] = {}  # where a group opens, its number: a repeated one keeps it

    @property
    def groups(self) -> int:
        return len(self._opened)

    def whole(self) -> Piece:
        piece = self._alternatives()
        if self._at < len(self._text):
            raise ExpressionError("a parenthesis closes that never opened")
        return piece

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, what: str) -> str:
        taken = self._peek()
        if not taken:
            raise ExpressionError(f"{what} is missing at the end")
        self._at += 1
        return taken

    def _node(self, kind: int, test: Test | None = None) -> _Node:
        self._nodes += 1
        if self._nodes > EXPRESSION_POSITIONS:
            raise ExpressionError(f"an expression has at most {EXPRESSION_POSITIONS} positions, repetitions counted")
        return _Node(kind, test)

    def _alternatives(self) -> Piece:
        branches = [self._branch()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._branch())
        if len(branches) == 1:
            return branches[0]
        fork = self._node(_FORK)
        fork.to = [first for first, _ends in branches]
        return fork, [end for _first, ends in branches for end in ends]

    def _branch(self) -> Piece:
        start = self._node(_FORK)
        ends = [start]
        while self._peek() not in ("", "|", ")"):
            first, after = self._repeated()
            for node in ends:
                node.to.append(first)
            ends = after
        return start, ends

    def _repeated(self) -> Piece:
        begin = self._at
        piece = self._atom()
        end = self._at
        while self._peek() and self._peek() in "*+?{":
            least, most = self._bounds()
            piece = self._times(piece, begin, end, least, most)
            end = self._at
        return piece

    def _bounds(self) -> tuple[int, int | None]:
        mark = self._take("a repetition")
        if mark != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        inside, closed, rest = self._text[self._at :].partition("}")
        self._at = len(self._text) - len(rest)
        low, comma, high = inside.partition(",")
        if not closed or not low.isdecimal() or len(inside) > 9 or not (high.isdecimal() or not high):
            raise ExpressionError("a repetition must be like {2}, {2,} or {2,5}")
        most = int(low) if not comma else int(high) if high else None
        if most is not None and most < int(low):
            raise ExpressionError("a repetition counts down")
        return int(low), most

    def _times(self, piece: Piece, begin: int, end: int, least: int, most: int | None) -> Piece:
        """The piece `least` to `most` times: copies are read again from its text."""
        start = self._node(_FORK)
        ends = [start]
        copies = max(least, 1) if most is None else most
        skip: list[_Node] = []
        for number in range(copies):
            first, after = piece if number == 0 else self._again(begin, end)
            if number >= least:
                skip += ends
            for node in ends:
                node.to.append(first)
            ends = after
            if most is None and number == copies - 1:
                back = self._node(_FORK)
                back.to = [first]
                for node in after:
                    node.to.append(back)
                ends = [back]
        return start, ends + skip

    def _again(self, begin: int, end: int) -> Piece:
        """Reads an atom with its repetitions a second time."""
        here, text = self._at, self._text
        self._at, self._text = begin, text[:end]
        piece = self._repeated()
        self._at, self._text = here, text
        return piece

    def _atom(self) -> Piece:
        character = self._take("an atom")
        if character == "(":
            return self._group()
        if character in "*+?{":
            raise ExpressionError("a repetition stands behind nothing")
        kind, test = self._single(character)
        node = self._node(kind, test)
        return node, [node]

    def _single(self, character: str) -> tuple[int, Test | None]:
        match character:
            case "^":
                return _START, None
            case "$":
                return _END, None
            case ".":
                return _TEST, _anything
            case "[":
                return _TEST, self._bracket()
            case "\\":
                quoted = self._take("the quoted character")
                if quoted.isdecimal():
                    raise ExpressionError("back-references can't be matched in bounded time")
                return _TEST, _ESCAPED.get(quoted) or quoted.__eq__
            case _:
                return _TEST, character.__eq__

    def _group(self) -> Piece:
        self._depth += 1
        if self._depth > EXPRESSION_POSITIONS // 16:
            raise ExpressionError("groups are nested too deep")
        number: int | None = None
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise ExpressionError("look-around and flags are no part of extended regular expressions")
            self._at += 2
        else:
            number = self._opened.setdefault(self._at, len(self._opened))
        piece = self._alternatives()
        if self._take("a closing parenthesis") != ")":
            raise ExpressionError("a closing parenthesis is missing")
        self._depth -= 1
        return piece if number is None or number >= GROUPS else self._marked(piece, number)

    def _marked(self, piece: Piece, number: int) -> Piece:
        first, ends = piece
        start, end = _Node(_FORK, None, 2 * number), _Node(_FORK, None, 2 * number + 1)
        start.to = [first]
        for node in ends:
            node.to.append(end)
        return start, [end]

    def _bracket(self) -> Test:
        """[abc], [^a-z], [[:digit:]] (IEEE 1003.1 9.3.5)."""
        negated = self._peek() == "^"
        self._at += negated
        tests: list[Test] = []
        while True:
            low = self._take("a closing bracket")
            if low == "]" and tests:
                break
            if low == "[" and self._peek() == ":":
                name, closed, rest = self._text[self._at + 1 :].partition(":]")
                if not closed or name not in _CLASSES:
                    raise ExpressionError(f"there is no class of characters {name[:16]!r}")
                self._at = len(self._text) - len(rest)
                tests.append(_CLASSES[name])
                continue
            quoted = self._peek()
            if low == "\\" and quoted in _ESCAPED:
                tests.append(_ESCAPED[self._take("the quoted character")])
                continue
            if low == "\\" and quoted and quoted in "\\]^-[":
                low = self._take("the quoted character")
            tests.append(self._range(low))
        return _any_of(tuple(tests), negated)

    def _range(self, low: str) -> Test:
        following = self._text[self._at : self._at + 2]
        if len(following) < 2 or following[0] != "-" or following[1] == "]":
            return low.__eq__
        self._at += 2
        high = following[1]
        if high < low:
            raise ExpressionError("a range of characters counts down")
        return lambda c: low <= c <= high


def _anything(_character: str) -> bool:
    return True


def _any_of(tests: tuple[Test, ...], negated: bool) -> Test:
    return lambda c: any(test(c) for test in tests) is not negated


@lru_cache(256)
def expression(text: str) -> Expression:
    """Compiled, and remembered. Raises ExpressionError."""
    return Expression(text)
