"""HearthNet: a box for a neighbourhood that answers, shares and goes on when the grid is gone."""

__version__ = "0.1.0"
