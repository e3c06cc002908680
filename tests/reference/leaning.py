"""People, a score and features that lean: made rows for the tests of fixes, with what is true of them."""

import numpy as np

from clinometer.evidence import Evidence, from_columns


def leaning(
    n: int, *, seed: int = 0, lean: float = 0.8, share: float = 0.35, prefix: str = "r", groups: str = "ab"
) -> tuple[Evidence, np.ndarray]:
    """Rows whose first group scores `lean` logits lower for the same label; evidence and (row, feature) features."""
    draw = np.random.default_rng(seed)
    rest = (1 - share) / (len(groups) - 1)
    group = draw.choice(list(groups), n, p=[share, *[rest] * (len(groups) - 1)])
    label = draw.random(n) < 0.5
    features = draw.normal(size=(n, 3))
    features[:, 0] += np.where(label, 1.2, -1.2) - lean * (group == groups[0])
    features[:, 1] += np.where(label, 0.3, -0.3)
    score = 1 / (1 + np.exp(-(1.5 * features[:, 0] + 0.4 * features[:, 1])))
    made = from_columns(
        {
            "id": [f"{prefix}{i}" for i in range(n)],
            "label": label,
            "said": score >= 0.5,
            "score": score,
            "group": group,
        },
        label="label",
        prediction="said",
        score="score",
        groups=["group"],
    )
    return made, features


def rate(evidence: Evidence, group: str, label: bool = True) -> float:
    """The share of a group's rows with this label that are predicted positive."""
    assert evidence.label is not None and evidence.prediction is not None
    here = np.array(evidence.group("group")) == group
    rows = here & (evidence.binary(evidence.label) == label)
    return float(evidence.binary(evidence.prediction)[rows].mean())
