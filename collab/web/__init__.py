"""What is served over HTTP: for now, the WebSocket endpoints."""
