"""Attributions from gradients at random points around an example, by captum, with their standard errors."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import ModelError
from ..records import Attribution, Floats, Rows
from .attributions import attributed
from .batches import MAX_MEMORY, backing_off, bucketed, repeated, rows_at_once
from .draws import drawing, row_seed
from .gradients import Target, without_gradient
from .models import Subject, score

SAMPLES = 50
NOISE = 1.0  # standard deviations of the row's embeddings

Gradients = Callable[..., tuple[Tensor, ...]]  # captum's gradient function
# What is asked of captum for one row: the target as a function of CPU tensors, the row and its reference once per
# sample, the row's tensors of the batch -> one attribution per sample, (sample, token, width).
AskedOfRow = Callable[[Callable[..., Tensor], Gradients, Tensor, Tensor, tuple[Tensor, ...]], Tensor]


def gradient_shap(
    subject: Subject,
    rows: Rows,
    *,
    samples: int = SAMPLES,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Expected gradients between the reference and the input, signed and summed over the embedding, per token.

    The mean of (x - b) . df/dx at points b + a (x - b) with a uniform on [0, 1], by captum's GradientShap without noise
    (Erion et al. 2021; Lundberg & Lee's GradientExplainer). Against one reference this is integrated gradients with random
    nodes in place of Gauss-Legendre's: take these instead. Against several references (`baseline=rows`) it is the
    expectation over them.

    The scores add up to f(x) - f(b) in expectation only. `errors` are the standard errors of the sampling, `residual` is
    what it left, and a row whose residual exceeds the tolerance is marked `converged = False`: with 50 samples most are.

    Args:
        samples: points per row, 2 or more.
        batch_size: rows whose memory is planned together; each row is run alone, all its samples in one pass.
        max_memory: bytes that one pass may keep for its backward pass; samples run together accordingly.
        seed: of the points, which depend on it, on the row's id and on the baseline in words, and on no other row.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token; `nodes` are the samples.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: samples or a batch size out of range, no gradient, or memory that one row alone exceeds.
    """
    from captum.attr import GradientShap

    def ask(
        target: Callable[..., Tensor],
        gradients: Gradients,
        embedded: Tensor,
        reference: Tensor,
        tensors: tuple[Tensor, ...],
    ) -> Tensor:
        explainer = GradientShap(target)
        explainer.gradient_func = gradients
        made: Tensor = explainer.attribute(
            embedded, baselines=reference[:1], n_samples=1, stdevs=0.0, additional_forward_args=tensors
        )
        return made

    return _sampled(
        "GradientSHAP",
        subject,
        rows,
        ask,
        samples=samples,
        promised=True,
        of=(subject.baseline,),
        batch_size=batch_size,
        max_memory=max_memory,
        seed=seed,
        progress=progress,
        notes=("adds up in expectation only: see the standard errors",),
    )


def smooth_grad(
    subject: Subject,
    rows: Rows,
    *,
    samples: int = SAMPLES,
    noise: float = NOISE,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The gradient averaged over noisy copies of an example, times the embedding, per token, in the subject's unit.

    x . mean of df/dx at x + e, with e normal and independent in every number of the embedding, by captum's NoiseTunnel over
    Saliency (Smilkov et al. 2017, times the input and with its sign). The noise multiplies nothing: only the
    gradient is taken at noisy points. As `gradient_x_input` it is without a baseline and adds up to nothing. `errors` are
    the standard errors of the sampling.

    Args:
        samples: noisy copies per row, 2 or more.
        noise: standard deviation of the noise, as a multiple of the standard deviation of all numbers of the row's own
            embeddings (tokens x width); 0 is gradient x input. 1 is about what the paper advises, 10 to 20 % of the range
            of those numbers, and agreed better with Shapley values than .15 and .6 on both models we measured.
        batch_size, max_memory, seed, progress: as of `gradient_shap`; no baseline is part of it.

    Returns:
        Scores (example, token), float64, 0 beyond an example's last token; `nodes` are the samples.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: samples, noise or a batch size out of range, no gradient, or memory that one row alone exceeds.
    """
    from captum.attr import NoiseTunnel, Saliency

    if not (noise >= 0 and math.isfinite(noise)):
        raise ModelError(
            f"noise is {noise}; 0 or more standard deviations of the embedding are expected, such as {NOISE}."
        )

    def ask(
        target: Callable[..., Tensor],
        gradients: Gradients,
        embedded: Tensor,
        _: Tensor,
        tensors: tuple[Tensor, ...],
    ) -> Tensor:
        explainer = Saliency(target)
        explainer.gradient_func = gradients
        made: Tensor = NoiseTunnel(explainer).attribute(
            embedded,
            nt_type="smoothgrad",
            nt_samples=1,
            stdevs=noise * float(embedded[0].std(correction=0)),
            abs=False,
            additional_forward_args=tensors,
        )
        return made * embedded

    return _sampled(
        "SmoothGrad",
        subject,
        rows,
        ask,
        samples=samples,
        promised=False,
        of=(),
        batch_size=batch_size,
        max_memory=max_memory,
        seed=seed,
        progress=progress,
        notes=(f"noise of {noise:g} x the standard deviation of the row's embeddings",),
        baseline="",
    )


def _sampled(
    method: str,
    subject: Subject,
    rows: Rows,
    ask: AskedOfRow,
    *,
    samples: int,
    promised: bool,
    of: Sequence[str],
    batch_size: int,
    max_memory: int,
    seed: int,
    progress: bool,
    **record: Any,
) -> Attribution:
    """An attribution from one call of captum per row, whose draws see that row alone, without padding."""
    if samples < 2:
        raise ModelError(f"samples is {samples}; a standard error needs 2 or more.")
    value = score(subject, rows, batch_size=batch_size)
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    scores = np.zeros((len(rows), max(lengths)))
    errors = np.zeros_like(scores)
    base = np.zeros(len(rows))
    with tqdm(total=len(rows), desc=method, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            at_once = rows_at_once(subject, subject.encode(rows.take(index)), max_memory)
            for i in index:
                row = partial(
                    _of_row, subject, rows.take([i]), ask, samples, row_seed(seed, rows.ids[i], *of)
                )
                parts, base[i] = backing_off(row, min(at_once, samples), method)
                tokens = slice(0, min(parts.shape[1], lengths[i]))
                scores[i, tokens] = parts.mean(axis=0)[tokens]
                errors[i, tokens] = parts.std(axis=0, ddof=1)[tokens] / math.sqrt(samples)
                bar.update()
    return attributed(
        method,
        subject,
        rows,
        names,
        scores,
        value=value,
        base_value=base if promised else None,
        nodes=np.full(len(rows), samples),
        errors=errors,
        seed=seed,
        **record,
    )


def _of_row(
    subject: Subject, row: Rows, ask: AskedOfRow, samples: int, seed: int, at_once: int
) -> tuple[Floats, float]:
    """Each sample's attribution, (sample, token), and the target at the reference."""
    batch = subject.encode(row)
    with torch.no_grad():
        embedded, reference = subject.embed(batch), subject.reference(batch)
        start = float(subject.select(subject.forward(batch, reference)))
    device, dtype = embedded.device, embedded.dtype
    model = Target(subject, batch)

    def target(points: Tensor, *tensors: Tensor) -> Tensor:
        return model(points.to(device, dtype), *tensors)  # type: ignore[no-any-return]

    def in_parts(
        function: Callable[..., Tensor], inputs: tuple[Tensor], _: object, tensors: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Gradients as captum computes them, of as many rows at once as memory allows; all draws have been made."""
        made = []
        for begin in range(0, len(inputs[0]), at_once):
            some = slice(begin, begin + at_once)
            with torch.enable_grad():
                points = inputs[0][some].detach().requires_grad_()
                outputs = function(points, *(tensor[some] for tensor in tensors))
                made.append(torch.autograd.grad(outputs.sum(), points)[0])
        return (torch.cat(made),)

    # Float32 at least and on the CPU: captum draws in float32 where its input lies.
    wide = torch.promote_types(dtype, torch.float32)
    x, b = (tensor.to("cpu", wide).expand(samples, -1, -1) for tensor in (embedded, reference))
    tensors = tuple(repeated(batch, np.zeros(samples, dtype=np.int64)).values())
    try:
        with drawing(seed):
            made = ask(target, in_parts, x, b, tensors)
    except RuntimeError as error:
        made = without_gradient(subject, batch, error).cpu().expand(samples, -1, -1)
    sums: Floats = made.detach().double().sum(dim=2).numpy()
    return sums, start
