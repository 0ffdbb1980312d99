"""`redoubt bench interconnect`: that calls cross between two operators, and all their CPU counts; what they cost is for
a quiet machine."""

from redoubt.lab.bench_interconnect import bench_interconnect


def test_calls_cross_between_two_operators_and_cost_more_than_inside_one() -> None:
    cost = bench_interconnect(100)
    assert cost.inside.operation == "call" and cost.between.operation == "interconnect"
    assert cost.between.count == 100 and cost.between.rate_per_s > 0 and cost.ratio > 1
