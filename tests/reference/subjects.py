"""Small subjects for tests: a table with a planted dependence, and a Transformer trained on it in seconds."""

import numpy as np
import torch

from clinometer.interpret.models import Subject, ours
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows

HOSTILE = "<script>alert(1)</script>"


def applicants(n: int = 400, *, seed: int = 0, see_race: bool = False, hostile: bool = False) -> Rows:
    """Applicants whose approval depends on income, debt and, for one group, on belonging to it; `home` is a proxy."""
    generator = np.random.default_rng(seed)
    race = generator.choice(["white", "black", "hispan"], size=n, p=[0.6, 0.25, 0.15])
    sex = generator.choice(["male", "female"], size=n)
    income = generator.normal(size=n)
    debt = generator.normal(size=n)
    noise = generator.normal(size=n)
    rents = generator.random(n) < np.where(race == "black", 0.95, 0.05)  # a proxy of race
    home = np.where(rents, "rent", generator.choice(["own", "other"], size=n))
    score = 0.8 * income - 0.6 * debt - 2.5 * (race == "black") + 0.3 * generator.normal(size=n)
    inputs: dict[str, np.ndarray] = {
        "income": income,
        "debt": np.where(generator.random(n) < 0.05, np.nan, debt),
        HOSTILE if hostile else "noise": noise,
        "home": home.astype(object),
    }
    if see_race:
        inputs["race"] = race.astype(object)
    return Rows(
        ids=tuple(f"a{i:04d}" for i in range(n)),
        inputs=inputs,
        labels=(score > 0).astype(np.int64),
        groups={
            "race" if not see_race else "recorded race": tuple(str(value) for value in race),
            "sex": tuple(None if i % 40 == 0 else str(value) for i, value in enumerate(sex)),
        },
    )


def fitted(rows: Rows, *, seed: int = 0, epochs: int = 12, dtype: torch.dtype = torch.float32) -> Subject:
    """A two-layer Transformer trained on the rows."""
    numeric = [name for name, column in rows.inputs.items() if column.dtype.kind == "f"]
    categorical = [name for name in rows.inputs if name not in numeric]
    preprocessor = TablePreprocessor.fit(rows.inputs, numeric=numeric, categorical=categorical)
    torch.manual_seed(seed)
    model = Classifier(
        Architecture(
            kind="table", width=16, layers=2, heads=2, feed_forward=32, dropout=0.0, **preprocessor.shape()
        )
    )
    if epochs:
        tensors = (
            {name: torch.from_numpy(value) for name, value in preprocessor.transform(rows.inputs).items()},
            torch.from_numpy(np.asarray(rows.labels)),
        )
        train(
            model,
            *tensors,
            validation=tensors,
            seed=seed,
            epochs=epochs,
            batch_size=64,
            learning_rate=5e-3,
            weight_decay=0.0,
            warm_up=5,
            patience=epochs,
            progress=False,
        )
    return ours(model.to(dtype), preprocessor, labels=("denied", "approved"), name="planted")
