"""Makes the data."""

import pandas


def frame():
    """Three points on a line."""
    return pandas.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]})
