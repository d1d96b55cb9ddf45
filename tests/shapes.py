"""The run-time checker of shapes and types that conftest installs."""

from beartype import BeartypeConf, beartype

# An int is welcome where a float is asked for, as type checkers have it (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
