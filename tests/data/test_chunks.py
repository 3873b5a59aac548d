"""Pieces of work: in order, on several threads, and none of it left behind."""

import threading

import pytest
import torch

from tssbn.data.chunks import progress, side_by_side


def test_results_come_in_the_order_of_the_jobs_though_a_later_one_ends_first():
    torch.set_num_threads(2)
    second = threading.Event()

    def work(i):
        if i == 0:
            assert second.wait(10), "the second job did not run beside the first"
        if i == 1:
            second.set()
        return i, threading.current_thread().name, torch.get_num_threads()

    results = list(side_by_side(work, [(i,) for i in range(6)]))
    assert [i for i, _, _ in results] == list(range(6))
    assert {threads for _, _, threads in results} == {1}, "jobs share no operation"
    assert len({name for _, name, _ in results}) == 2
    assert torch.get_num_threads() == 2


def test_jobs_are_taken_as_they_are_needed():
    taken = []

    def jobs():
        for i in range(100):
            taken.append(i)
            yield (i,)

    results = side_by_side(lambda i: i, jobs())
    assert next(results) == 0
    assert len(taken) <= 3
    results.close()
    assert len(taken) <= 3


def test_an_error_in_a_job_is_raised_and_the_setting_of_threads_stays():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda x: 1 / x, [(1,), (0,), (1,)]))
    assert torch.get_num_threads() == 2


def test_a_file_or_a_pipe_sees_no_bar(capsys):
    assert list(progress(range(3), "pieces")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
