"""Images as values, the one layer writer, the local store, and the ways in and out of it."""
