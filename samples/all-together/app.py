"""A page that shows what each part of the build left for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask, render_template

app = Flask(__name__, static_folder="public")
BUILT = Path(__file__).parent / "built-with.txt"


@app.get("/")
def index() -> str:
    """The page: version, greeting, time zone, and what the inline script wrote."""
    return render_template(
        "index.html",
        version=os.environ.get("APP_VERSION", "unknown"),
        greeting=os.environ.get("GREETING", "Hello"),
        zone=Path("/etc/timezone").read_text().strip(),
        clock=time.strftime("%Z"),
        built=BUILT.read_text().strip(),
    )
