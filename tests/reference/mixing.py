"""How positions mix, written from the papers: flows, norms of values, outputs without one token's values."""

import networkx
import numpy as np
import torch

Matrix = np.ndarray


def flows(capacities: list[Matrix], query: int) -> Matrix:
    """Abnar & Zuidema 2020, section 3: the maximum flow from a position after the last layer to each before the first."""
    n, top = len(capacities[0]), len(capacities)
    graph = networkx.DiGraph()
    for level, layer in enumerate(capacities, start=1):
        for i in range(n):
            for j in range(n):
                graph.add_edge((level, i), (level - 1, j), capacity=float(layer[i, j]))
    return np.array([networkx.maximum_flow_value(graph, (top, query), (0, j)) for j in range(n)])


def norms(maps: Matrix, values: Matrix, weight: Matrix) -> Matrix:
    """Kobayashi et al. 2020: || sum_h A_ij^h v_j^h W_O^h ||, pair by pair, rows divided by their sums.

    maps (head, query, key), values (key head, key, width), weight (head, width, output).
    """
    n_heads, n, m = maps.shape
    made = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            added = np.zeros(weight.shape[2])
            for h in range(n_heads):
                added = added + maps[h, i, j] * (values[h * len(values) // n_heads, j] @ weight[h])
            made[i, j] = np.sqrt((added**2).sum())
        if made[i].sum() > 0:
            made[i] = made[i] / made[i].sum()
    return made


def zeroed(run, block, value, columns, n):
    """Mohebbi et al. 2023, section 3: 1 - cos(y_i, y_i without v_j), rows divided by their sums, one run for each j.

    Args:
        run: runs the whole model on one row.
        block: the module whose output is compared.
        value: the module that projects to values; `columns` of what it gives are the values.
    """
    outputs = []

    def seen(module, args, output):
        outputs.append((output if isinstance(output, torch.Tensor) else output[0])[0].detach().clone())

    def without(j):
        def hook(module, args, output):
            changed = output.clone()
            changed[:, j, columns] = 0.0
            return changed

        return hook

    made = np.zeros((n, n))
    listening = block.register_forward_hook(seen)
    try:
        with torch.no_grad():
            run()
            for j in range(n):
                changing = value.register_forward_hook(without(j))
                run()
                changing.remove()
    finally:
        listening.remove()
    whole = outputs[0].double().numpy()
    for j in range(n):
        other = outputs[1 + j].double().numpy()
        for i in range(n):
            size = np.sqrt((whole[i] ** 2).sum() * (other[i] ** 2).sum())
            made[i, j] = 1 - (whole[i] @ other[i]) / size
    return made / made.sum(axis=1, keepdims=True)
