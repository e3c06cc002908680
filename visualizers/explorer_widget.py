"""The explorer in a notebook: a widget that answers what its script asks, errors included."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..errors import ClinometerError, UsageError
from .offline_page import script, style

# message -> (answer, buffers)
Answers = Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[bytes]]]


class Widget(Protocol):
    """What the explorer needs of its widget."""

    layer: int
    head: int
    query: int
    target: int
    example: str
    model_id: str

    def observe(self, handler: Callable[[Any], None], names: Any = ...) -> None: ...

    def close(self) -> None: ...


def answered(answers: Answers, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a message, with the number of its question; an exception becomes its text."""
    try:
        answer, buffers = answers(message)
    except ClinometerError as error:
        answer, buffers = {"error": str(error)}, []
    except Exception as error:  # whatever the model raises is told where it was asked
        answer, buffers = {"error": f"{type(error).__name__}: {error}"}, []
    return {"re": message.get("re"), **answer}, buffers


def widget(answers: Answers, chosen: Mapping[str, Any]) -> Widget:
    """An anywidget with the selection as its traits; what its script asks is answered by `answers`.

    An exception becomes the text of an answer, which the panel shows: nothing fails in silence.

    Raises:
        UsageError: anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise UsageError(
            "a live explorer needs anywidget, which is not installed: pip install 'clinometer[notebook]'. "
            "Without it, explorer.save('heads.html') writes a page."
        ) from error

    class ExplorerWidget(anywidget.AnyWidget):
        _esm = script()
        _css = style()
        layer = traitlets.Int(0).tag(sync=True)
        head = traitlets.Int(0).tag(sync=True)
        query = traitlets.Int(-1).tag(sync=True)
        target = traitlets.Int(0).tag(sync=True)
        example = traitlets.Unicode("").tag(sync=True)

    made = ExplorerWidget(**chosen)

    def hear(_: Any, message: Mapping[str, Any], __: Any) -> None:
        made.send(*answered(answers, message))

    made.on_msg(hear)
    shown: Widget = made
    return shown
