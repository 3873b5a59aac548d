"""Printed numbers without a spread."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from tssbn.claims import delta_noise, standard_errors


def test_the_noise_of_delta_is_that_of_drawn_scores():
    rng = np.random.default_rng(0)
    noise, base = np.array([0.3, 0.005, 0.3]), np.array([53.93, 0.3825, 23.57])
    gains = 100 * rng.normal(0, noise / base, (40_000, 3)).mean(1)
    assert delta_noise(noise, base) == pytest.approx(gains.std(), rel=0.02)


def test_standard_errors_of_a_difference_of_two_means():
    assert standard_errors(3.0, 1.0, sd=1.0, n=2) == pytest.approx(2)
    assert standard_errors(1.0, 3.0, sd=2.0, n=8) == pytest.approx(2)


def test_noise_and_baseline_name_the_same_tasks():
    with pytest.raises(ValueError):
        delta_noise([0.3], [53.93, 0.3825])
