"""Runs models on devices: no HTTP, no ORM."""
