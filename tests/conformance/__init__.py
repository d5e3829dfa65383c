"""The conformance table: `python -m tests.conformance` runs the tests that carry ids and prints who proves what.

items.toml    the items, and which of them wait for another part of packrunner
items.py      reading them, and the ids that tests name
plugin.py     for pytest: run only tests with the marker `cnb`, write what became of them
golang.py     the same for the Go tests
__main__.py   both, and the table
"""
