"""Work side by side: order, how much is ahead, shared amounts, and how it ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from edgecomp.pipeline import Budget, in_order, side_by_side

# Far beyond what anything here takes: a test that hangs fails instead.
PATIENCE = 30.0


def test_results_come_in_order_and_few_are_ahead() -> None:
    begun = 0

    def items() -> Iterator[int]:
        nonlocal begun
        for item in range(100):
            begun += 1
            yield item

    seen = []
    for result in in_order(lambda item: item * item, items(), threads=3):
        seen.append(result)
        assert begun - len(seen) <= 5
    assert seen == [item * item for item in range(100)]


def test_an_error_comes_in_its_turn_and_ends_the_job() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise RuntimeError("the third")
        return item

    seen = []
    before = threading.active_count()
    with (
        pytest.raises(RuntimeError, match="the third"),
        closing(in_order(work, range(100), threads=2)) as results,
    ):
        seen.extend(results)
    assert seen == [0, 1, 2]
    assert threading.active_count() == before


def test_results_that_are_not_taken_are_discarded() -> None:
    dropped: list[int] = []
    ready = [threading.Event() for _ in range(100)]

    def work(number: int) -> int:
        ready[number].set()
        return number

    jobs = in_order(work, range(100), threads=2, discard=dropped.append)
    with closing(jobs) as results:
        taken = [next(results) for _ in range(3)]
        assert ready[5].wait(60)
    assert taken == [0, 1, 2]
    assert dropped == [3, 4, 5]
    dropped.clear()
    assert list(in_order(lambda n: n, range(9), threads=2, discard=dropped.append)) == [*range(9)]
    assert dropped == []


def test_closing_cancels_what_has_not_begun() -> None:
    begun = []
    with closing(in_order(begun.append, range(100), threads=1)) as results:
        next(results)
    assert len(begun) <= 4
    assert next(results, "over") == "over"


def test_nothing_begins_when_those_at_work_are_let_go() -> None:
    begun: list[int] = []
    inside, go = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item:
            begun.append(item)
            inside.set()
            assert go.wait(PATIENCE)

    def let_go() -> None:
        go.set()
        time.sleep(0.2)  # in which a thread would begin the next one

    with closing(in_order(work, range(10), threads=1, stop=let_go)) as results:
        next(results)
        assert inside.wait(PATIENCE)
    assert begun == [1]


@pytest.mark.parametrize("where", ["first", "second"])
def test_one_after_another(where: str) -> None:
    """Both end: no thread is left, and only a few results of the first wait for the second."""
    before = threading.active_count()
    begun = {"first": 0, "second": 0}
    stopped: list[str] = []

    def work(stage: str, item: int) -> int:
        begun[stage] += 1
        if stage == where and item == 20:
            raise RuntimeError("the twentieth")
        return item

    first = in_order(
        partial(work, "first"), range(100), threads=8, stop=partial(stopped.append, "first")
    )
    seen = []

    def run() -> None:
        second = in_order(partial(work, "second"), first, threads=2, stop=first.close)
        with closing(second) as results:
            for result in results:
                seen.append(result)
                assert begun["second"] - len(seen) <= 4
                assert begun["first"] - len(seen) <= 4 + 10

    with pytest.raises(RuntimeError, match="the twentieth"):
        run()
    assert seen == list(range(len(seen)))
    # An error of the first does not wait for the second to be done with what it has.
    assert (20 if where == "second" else 16) <= len(seen) <= 20
    assert stopped == ["first"]
    assert threading.active_count() == before


# Budgets.


class Asking:
    """A thread that holds an amount until it is told to let go."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self._budget, self._amount = budget, amount
        self.granted = threading.Event()
        self.refused: BaseException | None = None
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._budget.hold(self._amount):
                self.granted.set()
                assert self._go.wait(PATIENCE)
        except CancelledError as error:
            self.refused = error

    def let_go(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def ask(budget: Budget, amount: int) -> Asking:
    """Ask for an amount that will not be granted at once."""
    before = len(budget._waiting)
    asking = Asking(budget, amount)
    # Nothing tells of arrivals but the queue itself.
    while len(budget._waiting) == before:
        assert asking._thread.is_alive(), "it was granted"
    return asking


def hold(budget: Budget, amount: int) -> Asking:
    """Hold an amount that is there."""
    asking = Asking(budget, amount)
    assert asking.granted.wait(PATIENCE)
    return asking


@pytest.mark.parametrize("threads", [1, 2])
def test_one_thread_is_the_caller_s_own(threads: int) -> None:
    with closing(
        side_by_side(lambda item: (item, threading.get_ident()), range(5), threads=threads)
    ) as results:
        found = list(results)
    assert [item for item, _ in found] == list(range(5))
    assert all((ident == threading.get_ident()) == (threads == 1) for _, ident in found)


@pytest.mark.parametrize(("amount", "only"), [(50, False), (51, True), (200, True), (0, False)])
def test_what_leaves_no_room_for_another(amount: int, only: bool) -> None:
    assert Budget(100).holds_only_one(amount) is only


def test_what_fits_is_held_together_and_the_rest_waits() -> None:
    budget = Budget(10)
    first, second = hold(budget, 6), hold(budget, 4)
    third = ask(budget, 1)
    assert not third.granted.is_set()
    second.let_go()
    assert third.granted.wait(PATIENCE)
    first.let_go()
    third.let_go()


def test_more_than_the_limit_goes_alone() -> None:
    budget = Budget(10)
    small = hold(budget, 1)
    large = ask(budget, 1000)
    small.let_go()
    assert large.granted.wait(PATIENCE)
    after = ask(budget, 1)
    assert not after.granted.is_set()
    large.let_go()
    assert after.granted.wait(PATIENCE)
    after.let_go()


def test_who_comes_first_is_served_first() -> None:
    budget = Budget(10)
    held = hold(budget, 5)
    large = ask(budget, 10)
    small = ask(budget, 1)
    assert not small.granted.is_set(), "it would fit, but the large one came before it"
    held.let_go()
    assert large.granted.wait(PATIENCE)
    assert not small.granted.is_set()
    large.let_go()
    assert small.granted.wait(PATIENCE)
    small.let_go()


def test_an_amount_of_zero_waits_for_nobody() -> None:
    budget = Budget(10)
    held, large = hold(budget, 5), ask(budget, 10)
    with budget.hold(0):
        assert not large.granted.is_set()
    held.let_go()
    large.let_go()
    with Budget(0).hold(0):
        pass


def test_a_budget_of_nothing_serves_one_at_a_time() -> None:
    budget = Budget(0)
    first = hold(budget, 3)
    second = ask(budget, 3)
    first.let_go()
    assert second.granted.wait(PATIENCE)
    second.let_go()


def test_what_an_exception_ends_is_given_back() -> None:
    budget = Budget(1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="within"), budget.hold(1):
            raise RuntimeError("within")
    hold(budget, 1).let_go()


def test_an_interrupt_while_waiting_leaves_the_queue() -> None:
    budget = Budget(1)
    held = hold(budget, 1)
    main = threading.get_ident()

    raised: list[int] = []

    def once(number: int, _frame: object) -> None:
        if not raised:
            raised.append(number)
            raise KeyboardInterrupt

    def interrupt() -> None:
        # More than one: Python misses a signal that comes between its last look and the system's
        # wait, until that is over.
        while not raised:
            if budget._waiting:
                signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, once)
    try:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt), budget.hold(1):
                pytest.fail("granted")
            done.result(PATIENCE)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not budget._waiting
    held.let_go()
    hold(budget, 1).let_go()


def test_stopping_turns_away_who_waits_and_who_comes() -> None:
    budget = Budget(1)
    held, late = hold(budget, 1), ask(budget, 1)
    budget.stop()
    late.let_go()
    assert isinstance(late.refused, CancelledError)
    with pytest.raises(CancelledError, match="has ended"), budget.hold(1):
        pytest.fail("granted")
    held.let_go()
    assert held.refused is None


@pytest.mark.parametrize("amount", [-1, -(1 << 40)])
def test_negative_amounts_are_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="a limit of -"):
        Budget(amount)
    with pytest.raises(ValueError, match="an amount of -"), Budget(1).hold(amount):
        pytest.fail("granted")


def test_the_limit_holds_under_a_crowd() -> None:
    budget, lock = Budget(7), threading.Lock()
    held: list[int] = []
    most = 0

    def work(amount: int) -> int:
        nonlocal most
        with budget.hold(amount):
            with lock:
                held.append(amount)
                most = max(most, sum(held))
                assert sum(held) <= 7 or len([one for one in held if one]) == 1
            with lock:
                held.remove(amount)
        return amount

    amounts = [number * 7 % 11 for number in range(2000)]  # 0 to 10
    assert list(in_order(work, amounts, threads=8, budget=budget)) == amounts
    assert most >= 7


def test_a_job_that_is_closed_does_not_wait_for_those_who_wait() -> None:
    """Three hold or wait when the job is cancelled; only the first was granted anything."""
    budget = Budget(1)
    granted: list[int] = []
    inside, go = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:
            return
        with budget.hold(1):
            granted.append(item)
            inside.set()
            assert go.wait(PATIENCE)

    results = in_order(work, range(10), threads=3, budget=budget)
    next(results)
    assert inside.wait(PATIENCE)
    while len(budget._waiting) < 2:
        pass
    with ThreadPoolExecutor(1) as closer:
        closed = closer.submit(results.close)
        while not budget._stopped:
            pass
        go.set()
        closed.result(PATIENCE)
    assert len(granted) == 1
