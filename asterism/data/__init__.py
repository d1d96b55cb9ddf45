"""Data: sources of samples, and batches of them."""

from asterism.data.account import DataAccount as DataAccount
from asterism.data.account import account_of as account_of
from asterism.data.array import ArraySource as ArraySource
from asterism.data.batches import Loader as Loader
from asterism.data.batches import Order as Order
from asterism.data.batches import default_workers as default_workers
from asterism.data.batches import left_over as left_over
from asterism.data.batches import training_order as training_order
from asterism.data.bringing import brought as brought
from asterism.data.bringing import size_of as size_of
from asterism.data.dataset import DatasetSource as DatasetSource
from asterism.data.folder import FolderSource as FolderSource
from asterism.data.open import open_source as open_source
from asterism.data.source import LeftOut as LeftOut
from asterism.data.source import Source as Source
from asterism.data.split import Data as Data
from asterism.data.split import open_data as open_data
from asterism.data.text import TextSource as TextSource

__all__ = [
    "ArraySource",
    "Data",
    "DataAccount",
    "DatasetSource",
    "FolderSource",
    "LeftOut",
    "Loader",
    "Order",
    "Source",
    "TextSource",
    "account_of",
    "brought",
    "default_workers",
    "left_over",
    "open_data",
    "open_source",
    "size_of",
    "training_order",
]
