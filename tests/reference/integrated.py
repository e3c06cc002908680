"""Integrated gradients the slow way, one node at a time (Sundararajan et al. 2017, eq. 1)."""

import numpy as np
import torch


def integrated_gradients(subject, rows, nodes):
    """Scores (example, token) from a loop over examples and nodes."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    made = []
    for i in range(len(rows)):
        batch = subject.encode(rows.take([i]))
        x, b = subject.embed(batch).detach(), subject.reference(batch).detach()
        mean = torch.zeros_like(x)
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            at = (b + point * (x - b)).requires_grad_()
            (gradient,) = torch.autograd.grad(subject.select(subject.forward(batch, at)).sum(), at)
            mean += weight * gradient
        made.append(((x - b) * mean).sum(dim=2)[0].double().numpy())
    return np.array(made)
