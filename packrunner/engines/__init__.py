"""Engines: places to run a command. `base` has the Protocols, each other module one implementation or a part."""
