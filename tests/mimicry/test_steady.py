import numpy as np

from aela.mimicry.steady import steadied

CUP, BALL = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_a_doubtful_look_is_helped_by_the_looks_before_but_not_by_another_thing():
    images = np.array([BALL, BALL, CUP, CUP, CUP])
    answers = np.array([[9.0], [9.0], [1.0], [1.0], [4.0]])
    times_s = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = steadied(answers, images, times_s, 2.5)
    assert found[:, 0].tolist() == [9.0, 9.0, 1.0, 1.0, 2.0]


def test_looks_long_before_do_not_count_and_there_may_be_none():
    images = np.array([CUP, CUP])
    answers = np.array([[1.0], [3.0]])
    assert steadied(answers, images, np.array([0.0, 9.0]), 2.5).tolist() == answers.tolist()
    assert len(steadied(answers[:0], images[:0], np.zeros(0), 2.5)) == 0
