"""Data: sources of samples, and batches of them."""

from asterism.data.cache import Cache as Cache
from asterism.data.cache import is_cache as is_cache
from asterism.data.cache import open_cache as open_cache
from asterism.data.cached import CachedTeacher as CachedTeacher
from asterism.data.folder import FolderSource as FolderSource
from asterism.data.known import KnownTeacher as KnownTeacher
from asterism.data.loading import Loader as Loader
from asterism.data.loading import default_workers as default_workers
from asterism.data.naming import open_source as open_source
from asterism.data.opening import Data as Data
from asterism.data.opening import open_data as open_data
from asterism.data.own import DatasetSource as DatasetSource
from asterism.data.sources import ArraySource as ArraySource
from asterism.data.sources import Source as Source
from asterism.data.stored import StoredTeacher as StoredTeacher
from asterism.data.stored import is_stored as is_stored
from asterism.data.stored import open_stored as open_stored
from asterism.data.texts import TextSource as TextSource

__all__ = [
    "ArraySource",
    "Cache",
    "CachedTeacher",
    "Data",
    "DatasetSource",
    "FolderSource",
    "KnownTeacher",
    "Loader",
    "Source",
    "StoredTeacher",
    "TextSource",
    "default_workers",
    "is_cache",
    "is_stored",
    "open_cache",
    "open_data",
    "open_source",
    "open_stored",
]
