"""Pure trading logic: no I/O, no clock, no randomness, no logging."""
