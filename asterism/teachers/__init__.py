"""Teachers: a network, a file of its outputs, or a cache of them, behind one interface."""

from asterism.teachers.cache import Cache as Cache
from asterism.teachers.cache import CacheState as CacheState
from asterism.teachers.cache import is_cache as is_cache
from asterism.teachers.classes import differing as differing
from asterism.teachers.classes import strangers as strangers
from asterism.teachers.making import cache_for as cache_for
from asterism.teachers.making import fill_for as fill_for
from asterism.teachers.making import refuse_unrepeatable as refuse_unrepeatable
from asterism.teachers.open import common_size as common_size
from asterism.teachers.open import open_teacher as open_teacher
from asterism.teachers.processes import make_cache as make_cache
from asterism.teachers.progress import bytes_to_write as bytes_to_write
from asterism.teachers.teacher import LiveTeacher as LiveTeacher
from asterism.teachers.teacher import Taught as Taught
from asterism.teachers.teacher import Teacher as Teacher
from asterism.teachers.teacher import TeacherCard as TeacherCard
from asterism.teachers.teacher import card_of as card_of
from asterism.teachers.teacher import device_of as device_of
from asterism.teachers.teacher import observed as observed
from asterism.teachers.teacher import try_out as try_out

__all__ = [
    "Cache",
    "CacheState",
    "LiveTeacher",
    "Taught",
    "Teacher",
    "TeacherCard",
    "bytes_to_write",
    "cache_for",
    "card_of",
    "common_size",
    "device_of",
    "differing",
    "fill_for",
    "is_cache",
    "make_cache",
    "observed",
    "open_teacher",
    "refuse_unrepeatable",
    "strangers",
    "try_out",
]
