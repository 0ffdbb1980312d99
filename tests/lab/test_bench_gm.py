"""`redoubt bench gm`: that it measures what it says; what it measures is for a quiet machine."""

from redoubt.lab.bench_gm import bench_gm


def test_every_suite_is_measured_each_way_and_registrations_beside_the_clear() -> None:
    cost = bench_gm(200)
    assert [one.suite for one in cost.suites] == [
        "null/aes-gcm", "hmac-sha-1-96/aes-cbc", "aes-gmac/null", "hmac-sha-1-96/null",
    ]  # fmt: skip
    assert all(one.out_us > 0 and one.in_us > 0 for one in cost.suites)
    assert 500 < cost.bytes_per_set < 50_000
    assert cost.registrations == 100 and cost.clear_us > 0 and cost.esp_us > 0
