"""What progress says of work that is done in batches."""

from rich.progress import Progress

from faceanim_cli.console import FrameRate, frame_task


class Clock:
    """Seconds, as a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_frames_of_one_batch_make_no_rate() -> None:
    clock = Clock()
    rate = FrameRate(clock)
    for done in range(1, 9):
        clock.now += 0.0002
        assert rate.after(done) is None


def test_the_rate_is_that_of_whole_batches() -> None:
    """Eight frames every two seconds are four a second, also when all of a batch are told at once."""
    clock = Clock()
    rate = FrameRate(clock)
    shown = []
    for batch in range(5):
        clock.now = 2.0 * batch
        shown += [rate.after(8 * batch + done) for done in range(1, 9)]
    assert shown == [None] * 8 + [4.0] * 32


def test_the_rate_of_frames_that_come_one_by_one() -> None:
    clock = Clock()
    rate = FrameRate(clock)
    for done in range(1, 1001):
        clock.now = done / 200
        last = rate.after(done)
    assert last is not None
    assert abs(last - 200) < 1


def test_a_bar_shows_what_it_is_told() -> None:
    bar = Progress()
    task = bar.add_task("clip", total=None)
    update = frame_task(bar, task)
    update(3, None)
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (3, None)
    update(12, 10)  # more than the file said it has
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (12, 12)
