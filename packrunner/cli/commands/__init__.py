"""One module per command: its parameters, which typer reads, and a body that imports what it needs."""
