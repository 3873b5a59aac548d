from contextlib import nullcontext

import pytest


@pytest.fixture(autouse=True)
def style_and_figures_end_with_the_test():
    try:
        from matplotlib import pyplot
    except ImportError:  # it is optional
        pyplot = None
    with pyplot.rc_context() if pyplot else nullcontext():
        yield
    if pyplot:
        pyplot.close("all")
