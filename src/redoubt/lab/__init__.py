"""Starts networks and does things to them: the demo, benchmarks, seeds, and pictures of what happened."""
