"""Typed views of header field values: one frozen value each, with `parse` and `str` (RFC 3261 clause 20)."""
