"""The HSS's benchmark in small: it asks by Diameter and counts what was answered."""

from redoubt.lab.bench_hss import bench_hss


def test_every_kind_of_question_is_measured_and_all_are_answered() -> None:
    told: list[str] = []
    results = bench_hss(100, samples=10, tick=lambda what, done, of: told.append(what))
    assert [one.operation for one in results] == ["UAR", "MAR", "SAR", "LIR"]
    for one in results:
        assert (one.count, one.layers) == (100, {})
        assert one.cpu_us > 0 and one.rate_per_s > 0 and 0 < one.p50_ms <= one.p99_ms
    assert "latency: LIR" in told


def test_a_profile_names_the_layers() -> None:
    _uar, mar, _sar, _lir = bench_hss(100, samples=10, profiled=True)
    assert {"diameter", "hss", "aka", "transport"} <= mar.layers.keys()
