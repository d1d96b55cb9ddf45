"""Relation-based knowledge distillation.

What is public stands in `__init__.pyi`, and is imported when it is first used: who only reads a run
folder does not wait for torch.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
