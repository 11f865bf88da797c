"""Composition: configuration, engine, drivers, terminal and command line."""
