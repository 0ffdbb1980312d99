"""The timing report tells what can be told apart from what can't. No measured time is judged here."""

import random

from redoubt.lab.constant import _best_accuracy, _shape, comparison_timing


def test_times_of_one_distribution_leave_a_guesser_at_chance() -> None:
    drawn = random.Random(1)
    one, other = ([int(drawn.gauss(1000, 100)) for _ in range(4000)] for _ in range(2))
    assert abs(_best_accuracy(one, other) - 0.5) < 0.03


def test_times_that_differ_give_the_kind_away_in_either_direction() -> None:
    drawn = random.Random(2)
    quick, slow = ([int(drawn.gauss(mean, 100)) for _ in range(4000)] for mean in (1000, 1500))
    assert _best_accuracy(quick, slow) > 0.95
    assert _best_accuracy(slow, quick) > 0.95


def test_the_shape_of_an_answer_is_its_status_headers_and_size_and_not_the_name_in_it() -> None:
    answer = "SIP/2.0 401 Unauthorized\r\nTo: <sip:{0}@x>\r\nCall-ID: timing1\r\n\r\n"
    assert _shape(answer.format("u1"), "u1") == _shape(answer.format("v10000"), "v10000")
    assert _shape(answer.format("u1"), "u1") != _shape("SIP/2.0 403 Forbidden\r\nTo: <sip:u1@x>\r\n\r\n", "u1")


def test_a_comparison_report_counts_what_it_compared() -> None:
    report = comparison_timing(300)
    assert 100 < report.count <= 300
    assert report.same_shape
