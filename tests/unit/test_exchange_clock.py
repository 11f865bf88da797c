"""The exchange's time: from its own words, whatever the host's clock does."""

from bot.adapters.exchange_clock import MOST_HELD_MS, ExchangeClock

NOW = 1_704_067_200.0


class Host:
    """A host whose two clocks are moved by hand."""

    def __init__(self) -> None:
        self.wall, self.monotonic = NOW, 100.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def clock_on(host: Host, speed: float = 1.0) -> ExchangeClock:
    return ExchangeClock(speed, lambda: host.wall, lambda: host.monotonic)


def test_it_is_the_hosts_time_until_the_exchange_has_spoken() -> None:
    assert clock_on(Host()).now() == int(NOW * 1000)


def test_a_time_that_is_known_goes_before_the_hosts_and_after_the_exchanges() -> None:
    host = Host()
    clock = clock_on(host)
    clock.begin_at(5_000_000)
    host.pass_(1.0)
    assert clock.now() == 5_001_000
    clock.told(9_000_000, 101.0, 101.0)
    assert clock.now() == 9_000_000


def test_the_answer_was_written_between_question_and_answer() -> None:
    host = Host()
    clock = clock_on(host)
    host.pass_(0.4)
    clock.told(5_000_000, 100.0, 100.4)
    assert clock.now() == 5_000_200
    assert clock.offset_ms == 5_000_000 - (NOW + 0.2) * 1000


def test_a_step_of_the_hosts_clock_changes_nothing() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.0)
    host.wall -= 3_600.0
    host.monotonic += 1.0
    assert clock.now() == 5_001_000


def test_a_small_correction_makes_it_stand_still_and_never_run_backwards() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.0)
    host.pass_(2.0)
    before = clock.now()
    clock.told(before - MOST_HELD_MS, host.monotonic, host.monotonic)
    assert clock.now() == before
    host.pass_(1.5)
    assert clock.now() == before + 500


def test_a_large_correction_is_believed_also_backwards() -> None:
    host = Host()
    clock = clock_on(host)
    assert clock.now() == int(NOW * 1000)  # asked before the exchange has spoken
    clock.told(5_000_000, 100.0, 100.0)
    assert clock.now() == 5_000_000


def test_a_simulator_may_run_faster() -> None:
    host = Host()
    clock = clock_on(host, speed=60.0)
    clock.told(5_000_000, 100.0, 100.0)
    host.pass_(1.0)
    assert clock.now() == 5_060_000


def test_a_single_wrong_word_moves_nothing() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.0)
    host.pass_(1.0)
    clock.told(5_001_000 + 8 * 3_600_000, 101.0, 101.0)
    assert clock.now() == 5_001_000
    assert clock.offset_ms == 5_000_000 - NOW * 1000
    host.pass_(1.0)
    clock.told(5_002_100, 102.0, 102.0)
    assert clock.now() == 5_002_100


def test_a_second_word_that_agrees_is_believed() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.0)
    host.wall += 3_600.0  # the machine slept: its monotonic clock stood still
    clock.told(8_600_000, 100.0, 100.0)
    assert clock.now() == 5_000_000
    host.pass_(2.0)
    clock.told(8_603_000, 102.0, 102.0)
    assert clock.now() == 8_603_000


def test_two_wrong_words_that_differ_move_nothing() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.0)
    for wrong in (9_000_000, 7_000_000, 9_100_000):
        clock.told(wrong, 100.0, 100.0)
    assert clock.now() == 5_000_000


def test_an_answer_that_took_long_moves_nothing() -> None:
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.2)
    offset_ms = clock.offset_ms
    host.pass_(600.0)
    before = clock.now()
    host.pass_(4.9)
    clock.told(before + 10, 700.0, 704.9)  # written at once; the answer was under way for long
    assert clock.now() == before + 4_900
    clock.told(before + 4_890, 700.0, 704.9)
    assert clock.now() == before + 4_900
    assert clock.offset_ms == offset_ms


def test_an_answer_that_took_long_is_better_than_none_and_than_one_that_took_longer() -> None:
    host = Host()
    clock = clock_on(host)
    host.pass_(4.9)
    clock.told(5_000_000, 100.0, 104.9)
    assert clock.now() == 5_002_450
    host.pass_(3.0)
    clock.told(5_004_000, 104.9, 107.9)
    assert clock.now() == 5_005_500


def test_an_answer_that_took_long_is_believed_where_it_proves_ours_wrong() -> None:
    """The host slept, and its monotonic clock with it."""
    host = Host()
    clock = clock_on(host)
    clock.told(5_000_000, 100.0, 100.2)
    host.pass_(4.0)
    clock.told(5_060_000, 100.0, 104.0)
    assert clock.now() == 5_062_000
