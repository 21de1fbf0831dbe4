"""Fits a line."""

import sklearn.linear_model


def slope(frame):
    """The slope of the line through the points."""
    model = sklearn.linear_model.LinearRegression().fit(frame[["x"]], frame["y"])
    return float(model.coef_[0])
