"""Allod: sealed data, on-chain consent, fine-tunes that pay. The composition root and public face."""

__version__ = "0.1.0"
