"""`redoubt bench media`: that packets pass and are counted; what they cost is for a quiet machine."""

from redoubt.lab.bench_media import bench_media


def test_each_packet_passes_the_relay_and_is_paid_for() -> None:
    told: list[int] = []
    cost = bench_media(1_000, tick=lambda _what, done, _of: told.append(done))
    assert cost.packets == 1_000 and cost.cpu_us > 0 and cost.calls_per_core > 0 and told == [1_000]
