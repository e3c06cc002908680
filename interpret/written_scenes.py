"""Examples of text that a language model writes: one for each generated token."""

import dataclasses
from collections.abc import Sequence

from ..errors import ModelError
from ..records import Rows
from .answers import answering
from .example_scenes import Example
from .generation import generated
from .models import Subject


def written_examples(
    subject: Subject, rows: Rows, *, max_new_tokens: int = 8, target: str = "log-probability"
) -> tuple[Example, ...]:
    """One example per generated token, with ids such as "row · 2 word".

    The tokens are those of greedy generation. An example's target is its own token, given the prompt and the tokens
    generated before it; for causal models these are read, and may get a share.

    Raises:
        ModelError, DataError, UsageError: see `generation.trace_generation` and `answers.answering`.
    """
    if subject.decode is None:
        raise ModelError(f"{subject.name} cannot name the tokens that it writes.")
    made: list[Example] = []
    for i, numbers in enumerate(generated(subject, rows, max_new_tokens=max_new_tokens)):
        row = rows.take([i])
        names = subject.decode(numbers)
        for step in range(len(numbers)):
            answer: dict[str, str | Sequence[int]] = {row.ids[0]: numbers[: step + 1]}
            asked = answering(subject, answer, target=target, last=True)
            if subject.decoder_names is None:
                asked = dataclasses.replace(asked, reference=subject.reference)
            token = f"token {step + 1} ({names[step]})"
            asked = dataclasses.replace(asked, says=f"{target} of generated {token}")
            made.append(
                Example(
                    id=f"{row.ids[0]} · {step + 1} {names[step].strip()}",
                    row=row,
                    subjects=(asked,),
                    facts={"writes": names[step], "step": str(step + 1), "text": row.ids[0]},
                )
            )
    return tuple(made)
