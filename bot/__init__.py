"""The trading process: a pure core, a simulated exchange, adapters, and the shell that joins
them."""
