"""The blocks of layers that a model is a stack of: which is the last, whose output decides."""

from torch import nn

from ..errors import ModelError
from ..records import Rows
from .folding import heads_of
from .models import Subject


def last_block(subject: Subject, rows: Rows) -> str:
    """The module of the block that holds the last attention call: an item of a list of alike blocks.

    Raises:
        ModelError: the last attention call lies in no list of blocks.
    """
    layer = list(heads_of(subject, rows.take([0])))[-1]
    parts = layer.split(".")
    for end in range(len(parts), 0, -1):
        name, above = ".".join(parts[:end]), ".".join(parts[: end - 1])
        if isinstance(subject.module.get_submodule(above), nn.ModuleList | nn.Sequential):
            return name
    raise ModelError(
        f"the last attention call of {subject.name}, {layer}, lies in no list of blocks. Name the module yourself (module=)."
    )
