"""The version, as a constant: reading package metadata would cost four interpreter starts."""

__version__ = "0.1.0"
