import numpy as np
import pytest

from aela.evaluation.signs import sign_accuracy


def test_signs_are_counted_value_by_value():
    predicted = np.array([[1.0, -2.0, 3.0], [-1.0, 5.0, 0.1]])
    truth = np.array([[0.5, 2.0, 1.0], [-3.0, 1.0, -0.1]])
    found = sign_accuracy(predicted, truth, np.array([[1.0, 1.0, -1.0]]))
    assert found.raw == pytest.approx(4 / 6)
    # The mean has the signs + + -: right at 0.5, 2.0 and 1.0 (second row), and -0.1.
    assert found.constant_mean == pytest.approx(4 / 6)
    # Centred predictions: 0 -3 4 | -2 4 1.1; truth: -.5 1 2 | -4 0 .9; zero counts as negative.
    assert found.centred == pytest.approx(4 / 6)


def test_a_common_mean_flatters_the_raw_figure_alone():
    generator = np.random.default_rng(0)
    mean = generator.normal(0, 2, 32)
    truth = mean + generator.normal(size=(200, 32))
    ignorant = mean + generator.normal(size=(200, 32))
    found = sign_accuracy(ignorant, truth, truth)
    assert found.raw > 0.7
    assert found.constant_mean > 0.75
    assert found.raw == pytest.approx(found.shuffled, abs=4 * found.shuffled_spread + 0.01)
    assert found.centred == pytest.approx(0.5, abs=0.03)


def test_a_good_predictor_beats_every_baseline():
    generator = np.random.default_rng(1)
    truth = 1 + generator.normal(size=(100, 32))
    found = sign_accuracy(truth + 0.1 * generator.normal(size=truth.shape), truth, truth)
    assert found.raw > 0.9 > found.constant_mean
    assert found.centred > 0.9
    assert found.shuffled_centred == pytest.approx(0.5, abs=0.05)
    assert 0 < found.shuffled_spread < 0.05


def test_centring_does_not_hide_that_most_values_have_one_sign():
    truth = np.random.default_rng(2).exponential(size=(500, 32))  # 63 % lie below the mean
    found = sign_accuracy(truth, truth, truth)
    assert found.constant_centred == pytest.approx(0.63, abs=0.02)


@pytest.mark.parametrize(
    ("predicted", "truth", "train"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), np.zeros((4, 3))),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((4, 2))),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((0, 3))),
        (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((4, 3))),
        (np.full((1, 3), np.nan), np.zeros((1, 3)), np.zeros((4, 3))),
    ],
)
def test_what_does_not_fit_is_refused(predicted, truth, train):
    with pytest.raises(ValueError):
        sign_accuracy(predicted, truth, train)
