"""The gRPC door: the service of ollama_proxy.proto, with the gate, router, queue and records that HTTP has."""
