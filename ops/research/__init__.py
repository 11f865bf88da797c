"""Backtest, optimisation and the only compiled code of the project."""
