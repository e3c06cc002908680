"""DeepLIFT's rescale rule the slow way, one example and one layer at a time (Shrikumar et al. 2017)."""

import numpy as np
import torch


def deep_lift(layers, x, b):
    """Contributions (number,) of one example to a network of linear layers and elementwise activations.

    Args:
        layers: torch modules in order; the last gives one number.
        x, b: the input and the reference, (number,).
    """
    at_x, at_b = [x], [b]
    for layer in layers:
        at_x.append(layer(at_x[-1]))
        at_b.append(layer(at_b[-1]))
    multiplier = np.ones(1)
    for k, layer in reversed(list(enumerate(layers))):
        if isinstance(layer, torch.nn.Linear):
            multiplier = multiplier @ layer.weight.detach().numpy()
            continue
        difference = (at_x[k] - at_b[k]).detach().numpy()
        slope = (at_x[k + 1] - at_b[k + 1]).detach().numpy() / difference
        multiplier = multiplier * slope
    return multiplier * (x - b).numpy()
