"""An application whose documents begin with the text that the environment names, for tests that run it in gunicorn."""

from __future__ import annotations

import os

from flask import Flask

from collab import Collab

app = Flask(__name__)
Collab(app, seed=lambda document_id: os.environ["SEED"])
