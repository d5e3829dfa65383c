"""A guest book's front page: small, but with the parts that a real application has."""

from __future__ import annotations

import os
import platform

from flask import Flask, render_template

app = Flask(__name__)


@app.get("/")
def index() -> str:
    """The page, with a greeting that comes from the environment."""
    greeting = os.environ.get("GREETING", "Hello")
    return render_template("index.html", greeting=greeting, python=platform.python_version())


@app.get("/health")
def health() -> dict[str, str]:
    """What a platform asks to see whether the process answers."""
    return {"status": "ok"}
