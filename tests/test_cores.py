from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from bioprobe.cores import each_alone, keep_torch_threads, map_alone


def _count() -> set[Any]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_results_stand_in_the_order_of_the_parts_and_products_are_alone_meanwhile() -> None:
    matrix, seen = np.ones((50, 50)), []

    def work(number: int) -> float:
        seen.append((_count(), threading.current_thread()))
        return float((matrix @ matrix).sum()) + number

    with threadpool_limits(3, user_api="blas"):
        before = _count()
        assert list(map_alone(work, range(20))) == [125_000 + n for n in range(20)]
        assert _count() == before
    assert [counts for counts, _ in seen] == [{1}] * 20
    assert threading.main_thread() not in {thread for _, thread in seen}


def test_the_last_to_leave_puts_the_threads_back() -> None:
    with threadpool_limits(3, user_api="blas"):
        first, second = each_alone(), each_alone()
        assert first.__enter__() == 3
        assert second.__enter__() == 3
        first.__exit__(None, None, None)
        assert _count() == {1}
        second.__exit__(None, None, None)
        assert _count() == {3}


def test_each_thread_begins_once() -> None:
    begun: list[threading.Thread] = []
    found = list(
        map_alone(
            abs, [-1, -2, -3], n_threads=2, begin=lambda: begun.append(threading.current_thread())
        )
    )
    assert found == [1, 2, 3]
    assert 1 <= len(begun) == len(set(begun)) <= 2


def test_threads_of_torch_are_put_back_although_one_begins_while_others_are_told_otherwise() -> (
    None
):
    n_before = torch.get_num_threads()
    torch.set_num_threads(3)

    def begin_meanwhile() -> tuple[int, int]:
        with keep_torch_threads() as n_threads:
            pass
        return n_threads, torch.get_num_threads()

    try:
        with keep_torch_threads(), ThreadPoolExecutor(1) as told:
            told.submit(torch.set_num_threads, 1).result()
            with ThreadPoolExecutor(1) as another:
                assert another.submit(begin_meanwhile).result() == (3, 3)
            told.submit(torch.set_num_threads, 1).result()
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(n_before)
