"""Engines: what runs the networks, on which device and in which precision."""
