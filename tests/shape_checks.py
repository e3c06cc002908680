"""The type checker that jaxtyping arms: beartype, where an int is accepted for a float, as mypy does."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
