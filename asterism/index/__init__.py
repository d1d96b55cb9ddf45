"""Indexes: vectors that are searched with texts, pictures, arrays, or each other."""

from asterism.index.asking import asker as asker
from asterism.index.asking import embedded as embedded
from asterism.index.index import Index as Index
from asterism.index.index import open_index as open_index
from asterism.index.making import Built as Built
from asterism.index.making import build_index as build_index
from asterism.index.measuring import Reach as Reach
from asterism.index.measuring import reach as reach
from asterism.index.searching import Hits as Hits
from asterism.index.showing import Answers as Answers
from asterism.index.showing import answers as answers
from asterism.index.showing import data_of as data_of
from asterism.index.showing import unit_of as unit_of
from asterism.index.showing import write_page as write_page

__all__ = [
    "Answers",
    "Built",
    "Hits",
    "Index",
    "Reach",
    "answers",
    "asker",
    "build_index",
    "data_of",
    "embedded",
    "open_index",
    "reach",
    "unit_of",
    "write_page",
]
