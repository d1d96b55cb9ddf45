"""Data: sources of samples, and batches of them."""

from asterism.data.folder import FolderSource as FolderSource
from asterism.data.loading import Loader as Loader
from asterism.data.naming import open_source as open_source
from asterism.data.opening import Data as Data
from asterism.data.opening import open_data as open_data
from asterism.data.sources import ArraySource as ArraySource
from asterism.data.sources import DatasetSource as DatasetSource
from asterism.data.sources import Source as Source
from asterism.data.stored import StoredTeacher as StoredTeacher
from asterism.data.stored import is_stored as is_stored
from asterism.data.stored import open_stored as open_stored
from asterism.data.texts import TextSource as TextSource

__all__ = [
    "ArraySource",
    "Data",
    "DatasetSource",
    "FolderSource",
    "Loader",
    "Source",
    "StoredTeacher",
    "TextSource",
    "is_stored",
    "open_data",
    "open_source",
    "open_stored",
]
