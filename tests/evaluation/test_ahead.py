"""Work that is done ahead: in order, a little ahead and no more, and over when nobody wants it any more."""

import threading
import time

import pytest

from faceanim_cli.evaluation.ahead import MOST_THREADS, ahead


def test_results_come_in_order_and_a_fault_stops_nobody_else() -> None:
    def half(number: int) -> float:
        time.sleep(0.01 * (number % 3))  # later ones are done sooner
        return 10 / number

    results = list(ahead(half, [5, 4, 0, 2, 1]))
    with pytest.raises(ZeroDivisionError):
        results.pop(2).result()
    assert [result.result() for result in results] == [2.0, 2.5, 5.0, 10.0]
    assert list(ahead(half, [])) == []


def test_it_stays_a_little_ahead_and_ends_when_closed() -> None:
    begun: list[int] = []
    thread_names = set()

    def note(number: int) -> int:
        begun.append(number)
        thread_names.add(threading.current_thread().name)
        return number

    results = ahead(note, range(1000))
    assert next(results).result() == 0
    time.sleep(0.05)
    assert 1 <= len(begun) <= 2 + MOST_THREADS
    assert threading.current_thread().name not in thread_names
    results.close()
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count
    assert not any(thread.name in thread_names for thread in threading.enumerate())
