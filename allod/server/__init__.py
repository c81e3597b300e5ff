"""The HTTP API and the page, over one home: `allod.server.app.create_app`.

Promises: a route says who may call it, or the server does not start; what owners keep to themselves never arrives here
in the clear; every error is a problem document (RFC 9457) that says what to do next.
"""
