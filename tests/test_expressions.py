"""Regular expressions of other nodes: what they match, and that no expression takes long (row 111)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.expressions import Expression, ExpressionError

EVIL = [
    "(a+)+$", "(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*a){12}", "^(([a-z])+.)+[A-Z]([a-z])+$", ".*.*.*.*=.*",
    "((a?){9}){9}b",
]  # fmt: skip


def pieces() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\.", r"\d", "[a-c0-9]", "(?:ab)"])
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.builds("({}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])),
            st.builds("{}{}".format, inner, inner),
            st.builds("({}|{})".format, inner, inner),
        ),
        max_leaves=6,
    )


@given(pieces(), st.text("ab.1c", max_size=10))
def test_it_matches_what_python_matches(text: str, subject: str) -> None:
    made = Expression(text)
    assert made.covers(subject) == (re.fullmatch(text, subject, re.DOTALL) is not None)
    assert made.search(subject) == (re.search(text, subject, re.DOTALL) is not None)
    anchored = Expression(f"^{text}$")
    assert anchored.search(subject) == made.covers(subject)


@pytest.mark.parametrize("text", EVIL)
def test_an_evil_expression_takes_time_in_proportion_to_the_text(text: str) -> None:
    """It ends: Python's `re` would take longer than the universe has."""
    made = Expression(text)
    made.search("a" * 4000 + "!")
    made.covers("a" * 4000 + "!")


@pytest.mark.parametrize(
    "text",
    ["(", ")", "a)", "[", "[]", "[z-a]", "*", "a{2", "a{3,2}", "a{,2}", "\\", r"(a)\1", "(?=a)", "(?i)a", "[[:no:]]",
     "a{999999999}", "((((a{9}){9}){9}){9}){9}", "x" * 5000, "(" * 3000],
)  # fmt: skip
def test_no_expression_and_one_beyond_the_bounds_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text)


@given(st.text("ab()[]{}*+?|^$\\.,-!:12", max_size=20))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    try:
        made = Expression(text)
    except ExpressionError:
        return
    made.search("ab12")


def test_criteria_of_other_networks_match() -> None:
    assert Expression(".*6505551000.*").covers("<sip:6505551000@homedomain>")
    assert Expression("^sip:room[[:digit:]]{1,3}@").search("sip:room12@example.net")
    assert not Expression("^INVITE$").search("REINVITE")
    assert Expression("^$").search("")


@given(pieces(), st.text("ab01.", max_size=8))
def test_groups_are_found_when_the_whole_text_matches_and_only_then(pattern: str, text: str) -> None:
    made = Expression(pattern)
    assert (made.groups(text) is not None) == made.covers(text)


@given(
    st.sampled_from([
        r"^\+44(.*)$", "(^.*)$", r"^(\+49)(.*)$", r"^\+(1)?([0-9]{3})([0-9]+)$", "^(a|ab)(c|bcd)(d*)$", "(a*)(a*)",
        "(a+|b)*", "((a)|b)*", "(.)(.)(.)?", "(x{2,3})(x*)", "(a?)(ab)?(b?)", "(a)(b)(c)(d)(1)(1)(4)(4)(9)(9)",
    ]),
    st.text("+4491abcdx", max_size=8),
)
def test_groups_are_those_that_others_find(pattern: str, text: str) -> None:
    whole = re.fullmatch(pattern, text)
    assert Expression(pattern).groups(text) == (whole.groups()[:9] if whole else None)
