"""One file per outside thing the trading process talks to."""
