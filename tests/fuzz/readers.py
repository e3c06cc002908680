"""Readers of files that somebody else may have written: a valid file, its mutations, and who reads it."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz import run_readers
from fuzz.mutations import ODD, as_json, as_toml, bytes_changed, odd_column, tree_changed
from fuzz.reading import Files, Reader, parsed_json, parsed_toml, put, text_file, written

__all__ = ["BY_NAME", "READERS", "Files", "Reader", "put"]

# Policies, lexicons, suites, costs: TOML

POLICY = b"""
name = "Tolerances"
set_by = "the credit committee"
alpha = 0.05
confidence = 0.95
min_group = 5
positive = "yes"
intersections = [["race", "sex"]]
fail_on = "any"
family = "gatekeeping"
[tolerance]
selection_rate = 0.1
"roc_auc" = 0.05
[costs]
unit = "EUR"
false_positive = 3
[groups.race]
values = ["white", "black"]
reference = "white"
compare = "reference"
exclude = { "hispan" = "too few rows" }
[groups.age]
bins = [18, 40, 65.5]
"""
LEXICON = b"""
name = "jobs"
version = "1"
source = "written for the tests"
attribute = "gender"
groups = ["female", "male"]
written_only = ["male"]
plural = []
[[entry]]
forms = { female = "waitress", male = ["waiter", "steward"] }
role = "noun"
[[entry]]
forms = { female = "Mary", male = "John" }
capitalised = true
"""
TERMS = b"""
name = "words"
version = "1"
source = "written for the tests"
language = "en"
[terms]
women = ["woman", "women", "she"]
men = ["man", "the men"]
"""
SUITE = b"""
name = "a suite"
version = "1"
source = "written for the tests"
set_by = "the authors"
[slots]
who = { lexicon = "gender", like = "she" }
place = ["Rome", "Oslo"]
[[test]]
name = "names"
kind = "INV"
what = "the place plays no part"
templates = ["I live in {place}.", "{a:place} is far"]
vary = "place"
tolerance = 0.1
[[test]]
name = "minimum"
kind = "MFT"
what = "who is said"
templates = ["{who} is great"]
expect = "yes"
"""
COSTS = b'unit = "EUR"\n[cost.yes]\nyes = 0\nno = 5\n[cost.no]\nyes = 1.5\nno = -2\n'
SETTINGS = b'[audit]\nlabel = "y"\ngroup = ["race", "sex"]\nconfidence = 0.9\n[review]\nforce = true\n'


def _read_policy(folder: Path) -> Any:
    from clinometer.bias.policy import read_policy

    made = read_policy(folder / "policy.toml")
    again = folder / "again.toml"
    again.write_text(made.to_toml(), encoding="utf-8")
    if read_policy(again) != made:
        raise AssertionError("the policy written again reads as another")
    return made


def _read_lexicon(folder: Path) -> Any:
    from clinometer.bias.lexicon_files import read_lexicon

    return read_lexicon(folder / "lexicon.toml")


def _swapped(made: Any) -> object:
    from clinometer.bias.swaps import swap

    return swap("Mary is the waitress", made, to=made.groups[-1]), made.provenance


def _read_names(folder: Path) -> Any:
    from clinometer.bias.lexicon_files import read_lexicon

    about = {"name": "x", "version": "1", "source": "here", "attribute": "gender"}
    return read_lexicon(folder / "lexicon.csv", **about)


def _read_terms(folder: Path) -> Any:
    from clinometer.bias.terms import read_lexicon

    return read_lexicon(folder / "terms.toml")


def _with_terms(made: Any) -> object:
    from clinometer.bias.terms import lexicon_toml, term_groups

    return lexicon_toml(made), term_groups(["she saw the men", None], made)


def _read_suite(folder: Path) -> Any:
    from clinometer.bias.suites import read_suite

    return read_suite(folder / "suite.toml")


def _expanded(made: Any) -> object:
    from clinometer.bias.suite_rows import expand

    return expand(made)


def _read_costs(folder: Path) -> Any:
    from clinometer.bias.cost_matrices import read_costs

    return read_costs(folder / "costs.toml")


def _read_settings(folder: Path) -> Any:
    from clinometer.run_settings import read_settings

    flags = {"label": "label", "group": "group", "confidence": "confidence"}
    return read_settings(folder / "run.toml", {"audit": flags, "review": {"force": "force"}})


def _names_changed(draw: Random, files: Files) -> Files:
    cells = [line.split(b",") for line in files["lexicon.csv"].split(b"\n")]
    return {"lexicon.csv": _cells_changed(draw, cells)}


# Evidence: CSV and Parquet


@functools.cache
def _evidence() -> Any:
    from clinometer.evidence import from_columns

    draw, n = Random(0), 40
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "race": [draw.choice(["a", "b", None]) for _ in range(n)],
        "sex": [draw.choice(["f", "m"]) for _ in range(n)],
        "label": [draw.randint(0, 1) for _ in range(n)],
        "prediction": [draw.randint(0, 1) for _ in range(n)],
        "score": [draw.random() for _ in range(n)],
        "share[x]": [draw.random() for _ in range(n)],
        "weight": [draw.random() for _ in range(n)],
    }
    return from_columns(
        columns,
        id="id",
        label="label",
        prediction="prediction",
        score="score",
        groups=("race", "sex"),
        measures=("share[x]",),
        weight="weight",
        provenance={"model": "m", "nested": {"a": [1, 2]}},
    )


def _csv() -> Files:
    frame = _evidence().frame
    return {"rows.csv": frame.to_csv(index=False).encode()}


def _parquet() -> Files:
    from clinometer.evidence_files import write

    return written(lambda folder: write(_evidence(), folder / "rows.parquet"))


def _cells_changed(draw: Random, cells: list[list[bytes]]) -> bytes:
    for _ in range(draw.randint(1, 6)):
        row = draw.randrange(len(cells))
        at = draw.randrange(len(cells[row])) if cells[row] else 0
        kind = draw.randrange(7)
        odd = str(draw.choice(ODD)).encode("utf-8", "surrogatepass")
        if kind == 0 and cells[row]:
            cells[row][at] = odd
        elif kind == 1:
            cells[row].insert(at, odd.replace(b"\n", b" "))
        elif kind == 2 and cells[row]:
            del cells[row][at]
        elif kind == 3:
            cells.insert(row, list(cells[row]) * draw.choice((1, 1, 30)))
        elif kind == 4 and len(cells) > 1:
            del cells[row]
        elif kind == 5:
            for one in cells:
                if at < len(one):
                    one[at] = odd
        elif cells[0]:
            cells[0][at % len(cells[0])] = draw.choice((b"id", b"label", b"score", b"", b'"a,b"', odd))
    raw = draw.choice((b"\n", b"\n", b"\r\n")).join(b",".join(row) for row in cells)
    return bytes_changed(draw, raw) if draw.random() < 0.4 else raw


def _csv_changed(draw: Random, files: Files) -> Files:
    cells = [line.split(b",") for line in files["rows.csv"].rstrip(b"\n").split(b"\n")]
    return {"rows.csv": _cells_changed(draw, cells)}


def _parquet_changed(draw: Random, files: Files) -> Files:
    import io

    import pyarrow.parquet as pa_parquet

    raw = files["rows.parquet"]
    how = draw.random()
    if how < 0.7:
        table = pa_parquet.read_table(io.BytesIO(raw))
        roles = json.loads(table.schema.metadata[b"clinometer"])
        for _ in range(draw.randint(1, 3)):
            kind, at = draw.randrange(6), draw.randrange(table.num_columns)
            if kind == 0:
                name = table.column_names[at]
                table = table.set_column(at, name, odd_column(draw, table.num_rows))
            elif kind == 1 and table.num_columns > 1:
                table = table.remove_column(at)
            elif kind == 2:
                name = draw.choice((table.column_names[at], "", "\x00", "x"))
                table = table.append_column(name, odd_column(draw, table.num_rows))
            elif kind == 3:
                table = table.slice(0, draw.choice((0, 1, 2)))
            else:
                roles = tree_changed(draw, roles)
        metadata = as_json(roles) if draw.random() < 0.9 else bytes_changed(draw, as_json(roles))
        made = io.BytesIO()
        pa_parquet.write_table(
            table.replace_schema_metadata({b"clinometer": metadata}), made, compression="zstd"
        )
        raw = made.getvalue()
    if how > 0.6:
        raw = bytes_changed(draw, raw)
    return {"rows.parquet": raw}


def _audited(made: Any) -> object:
    """What an audit of it says: it is used as it would be."""
    from clinometer.bias.audit import audit

    groups = made.groups or tuple(name for name in ("sex", "race") if name in made.table.column_names)
    return audit(made, title="fuzz") if groups else made.ids


def _read_csv(folder: Path) -> Any:
    from clinometer.evidence_files import read

    return read(folder / "rows.csv", groups=("sex",), measures=("share[x]",), weight="weight")


def _read_parquet(folder: Path) -> Any:
    from clinometer.evidence_files import read

    return read(folder / "rows.parquet")


# Saved data sets


def _dataset() -> Files:
    import pyarrow as pa

    def save(folder: Path) -> None:
        table = _evidence().table
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table)
        state = {
            "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
            "_fingerprint": "0",
            "_split": None,
        }
        (folder / "state.json").write_bytes(as_json(state))
        info = {
            "features": {"sex": {"_type": "Value"}, "label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
        }
        (folder / "dataset_info.json").write_bytes(as_json(info))

    return written(save)


def _dataset_changed(draw: Random, files: Files) -> Files:
    name = draw.choices([*sorted(files)], (1, 2, 3))[0]
    if name.endswith(".arrow"):
        return {**files, name: bytes_changed(draw, files[name])}
    return text_file(name, parsed_json, as_json)(draw, files)


def _read_dataset(folder: Path) -> Any:
    from clinometer.source_files import saved_dataset

    saved_dataset(folder)
    return folder


def _dataset_audited(folder: Path) -> object:
    from clinometer.sources import scan

    return _audited(scan(folder, label="label", prediction="prediction", groups=("sex",)).counted())


# Traces


def _trace() -> Files:
    import torch

    from clinometer.interpret.capture import attention_gradient
    from clinometer.interpret.trace_files import save_trace
    from reference.attention import HandMade

    torch.manual_seed(0)
    model = HandMade(causal=True).double().eval()
    x, padding = torch.randn(2, 4, 8, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.bool)
    made = attention_gradient(lambda: model(x, padding), model)
    return written(
        lambda folder: save_trace(made, folder / "trace", tokens=[["a", "b", "c", "d"], ["e", "f", "g", "h"]])
    )


def _trace_changed(draw: Random, files: Files) -> Files:
    import hashlib

    made = dict(files)
    settings = json.loads(made["trace/trace.json"])
    if draw.random() < 0.35:
        name = draw.choice([name for name in made if name.endswith(".safetensors")])
        made[name] = bytes_changed(draw, made[name])
        if draw.random() < 0.7:  # as somebody would who wants it to be read
            told = settings["files"][Path(name).name]
            told["bytes"], told["sha256"] = len(made[name]), hashlib.sha256(made[name]).hexdigest()
    else:
        settings = tree_changed(draw, settings)
    made["trace/trace.json"] = as_json(settings)
    if draw.random() < 0.1:
        made["trace/trace.json"] = bytes_changed(draw, made["trace/trace.json"])
    if draw.random() < 0.05:
        del made[draw.choice(list(made))]
    return made


def _read_trace(folder: Path) -> Any:
    from clinometer.interpret.trace_files import read_trace, trace_settings

    path = folder / "trace"
    trace_settings(path)
    return read_trace(path)


def _looked_at(made: Any) -> object:
    return [made.map(layer, 0, example=0) for layer in range(len(made.layers))], made.certificate()


# Reviews


def _review() -> Files:
    import dataclasses

    from clinometer.evidence_files import write
    from clinometer.review import to_json
    from reference.reviews import sample_review

    made = sample_review(rows=60, layers=1, heads=1)
    made = dataclasses.replace(made, measures=None, ledgers=made.ledgers[:1], views=made.views[:1])
    evidence = _evidence()

    def save(folder: Path) -> None:
        (folder / "review.json").write_text(to_json(made), encoding="utf-8")
        write(evidence, folder / "evidence.parquet")

    return written(save)


def _review_changed(draw: Random, files: Files) -> Files:
    if draw.random() < 0.05:
        return {**files, "evidence.parquet": bytes_changed(draw, files["evidence.parquet"])}
    return text_file("review.json", parsed_json, as_json)(draw, files)


def _read_review(folder: Path) -> Any:
    from clinometer.saved_reviews import read_review

    return read_review(folder)


def _in_other_forms(made: Any) -> object:
    from clinometer.junit import junit
    from clinometer.output import as_json as written
    from clinometer.visualizers.card import card
    from clinometer.withheld_text import without_text

    return written(made), junit(made.audit), card(made), without_text(made)


# Models


def _model() -> Files:
    from clinometer.interpret.edits import save
    from reference.subjects import applicants, fitted

    return written(lambda folder: save(fitted(applicants(40), epochs=0), folder / "model"))


def _model_changed(draw: Random, files: Files) -> Files:
    made = dict(files)
    del made["model/edits.json"]  # it holds the weights' hash, and would refuse all else
    if draw.random() < 0.1:
        made["model/model.safetensors"] = bytes_changed(draw, made["model/model.safetensors"])
        return made
    return text_file("model/clinometer.json", parsed_json, as_json)(draw, made)


def _edits_changed(draw: Random, files: Files) -> Files:
    return text_file("model/edits.json", parsed_json, as_json)(draw, files)


def _read_model(folder: Path) -> Any:
    from clinometer.interpret.models import load

    return load(folder / "model")


def _scored(made: Any) -> object:
    from clinometer.interpret.models import score
    from reference.subjects import applicants

    return score(made, applicants(2))


def _transformers_model() -> Files:
    import torch
    import transformers

    from reference.model_folders import bert_tokenizer

    def save(folder: Path) -> None:
        torch.manual_seed(0)
        tokenizer = bert_tokenizer()
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=16,
        )
        transformers.BertForSequenceClassification(config).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")

    return written(save)


def _transformers_changed(draw: Random, files: Files) -> Files:
    name = draw.choices(
        ("config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"), (6, 2, 2, 1)
    )[0]
    path = f"model/{name}"
    if name == "model.safetensors":
        return {**files, path: bytes_changed(draw, files[path])}
    return text_file(path, parsed_json, as_json)(draw, files)


def _texts_scored(made: Any) -> object:
    import numpy as np

    from clinometer.interpret.models import score
    from clinometer.records import Rows

    texts = np.array(["a good film", "no"], dtype=object)
    return score(made, Rows(ids=("a", "b"), inputs={"text": texts}))


def _toml_reader(
    name: str, file: str, raw: bytes, read: Callable[[Path], Any], use: Callable[[Any], object] = repr
) -> Reader:
    changed = text_file(file, parsed_toml, as_toml)
    return Reader(name=name, valid=lambda: {file: raw}, changed=changed, read=read, use=use)


NAMES = b"female,male\nshe,he\nMary,John|Jack\nqueen,king"
READERS = (
    _toml_reader("policy", "policy.toml", POLICY, _read_policy),
    Reader(name="evidence-csv", valid=_csv, changed=_csv_changed, read=_read_csv, use=_audited),
    Reader(
        name="evidence-parquet", valid=_parquet, changed=_parquet_changed, read=_read_parquet, use=_audited
    ),
    Reader(
        name="saved-data-set",
        valid=_dataset,
        changed=_dataset_changed,
        read=_read_dataset,
        use=_dataset_audited,
    ),
    Reader(name="trace", valid=_trace, changed=_trace_changed, read=_read_trace, use=_looked_at),
    Reader(name="review", valid=_review, changed=_review_changed, read=_read_review, use=_in_other_forms),
    _toml_reader("lexicon", "lexicon.toml", LEXICON, _read_lexicon, _swapped),
    Reader(
        name="lexicon-csv",
        valid=lambda: {"lexicon.csv": NAMES},
        changed=_names_changed,
        read=_read_names,
        use=_swapped,
    ),
    _toml_reader("terms", "terms.toml", TERMS, _read_terms, _with_terms),
    _toml_reader("suite", "suite.toml", SUITE, _read_suite, _expanded),
    _toml_reader("costs", "costs.toml", COSTS, _read_costs),
    _toml_reader("run-settings", "run.toml", SETTINGS, _read_settings),
    Reader(name="model", valid=_model, changed=_model_changed, read=_read_model, use=_scored),
    Reader(name="edits", valid=_model, changed=_edits_changed, read=_read_model, use=_scored),
    Reader(
        name="transformers-model",
        valid=_transformers_model,
        changed=_transformers_changed,
        read=_read_model,
        use=_texts_scored,
    ),
    *run_readers.READERS,
)
BY_NAME = {reader.name: reader for reader in READERS}
