"""What a PDF says of itself, read from its bytes: objects in the open, and those in compressed streams."""

import re
import zlib


def text_of(pdf: bytes) -> bytes:
    """All objects of a PDF file: its bytes, with every stream that zlib can read put after them."""
    found = [pdf]
    for stream in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompressobj().decompress(stream[1]))
        except zlib.error:
            continue  # a picture, or text of another filter: it holds no objects
    return b"\n".join(found)


def is_tagged(pdf: bytes) -> bool:
    """Whether the document's catalogue has a tree of its structure and says that it is marked."""
    objects = text_of(pdf)
    return (
        b"/StructTreeRoot" in objects
        and re.search(rb"/MarkInfo\s*<<\s*[^>]*/Marked\s+true", objects) is not None
    )


def has_tag(pdf: bytes, tag: str) -> bool:
    """Whether an element of the structure is of this kind, as H1 or Table."""
    return re.search(rb"/S\s*/" + tag.encode() + rb"\b", text_of(pdf)) is not None
