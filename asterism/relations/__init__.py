"""Geometry that several methods share: pure functions of embeddings."""
