"""The demo: the whole loop once, with real parts, in a world of its own."""
