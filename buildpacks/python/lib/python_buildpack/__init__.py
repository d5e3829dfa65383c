"""Python applications: their packages in a layer, their start command found."""
