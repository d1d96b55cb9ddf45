"""Caches of a teacher's outputs: how they are made, and whether they fit a training."""

from asterism.caching.checking import refuse_unrepeatable as refuse_unrepeatable
from asterism.caching.checking import settle as settle
from asterism.caching.embedding import embed as embed
from asterism.caching.making import cache_for as cache_for
from asterism.caching.making import fill_for as fill_for
from asterism.caching.measuring import remaining as remaining

__all__ = ["cache_for", "embed", "fill_for", "refuse_unrepeatable", "remaining", "settle"]
