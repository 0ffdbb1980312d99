"""Stores for the tests of Sh and Cx, as the HSS's own tests have them."""

from tests.hss.conftest import cluster, place

__all__ = ["cluster", "place"]
