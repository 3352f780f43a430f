"""Getting the next clips ready while this one is at the networks."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")

MOST_THREADS = 4  # of which each searches a clip for faces; a GPU is done sooner than one of them


def ahead(call: Callable[[Item], T], items: Iterable[Item]) -> Generator[Future[T], None, None]:
    """``call(item)`` of each item, in order, computed by threads for the items that come next.

    A few calls are under way at a time: half as many as there are cores, and no more than four. One that
    raises does so when its result is asked for, and does not stop the others. Closed early, those under way
    end and no other starts.
    """
    threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, "faceanim-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > threads:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)
