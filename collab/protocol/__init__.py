"""Layer 1: bytes to meaning and back. No gevent, socket, Flask, pycrdt or clock in here."""
