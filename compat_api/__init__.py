"""The dialects: parse a request, ask the engine, encode the answer. Decides nothing about devices."""
