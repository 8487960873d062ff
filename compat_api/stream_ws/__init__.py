"""The WebSocket dialect: /v1/stream/ws."""
