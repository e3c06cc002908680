"""What attributions cost: examples per second beside captum by hand and other tools, on one classifier.

OMP_NUM_THREADS=2 python benchmarks/attribution.py --rounds 10
python benchmarks/attribution.py --model FOLDER --texts FILE --examples 64

Every way explains the same texts, warm, interleaved; imports and loading are not measured. benchmarks/README.md
says what each row means.
"""

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from captum.attr import InputXGradient, IntegratedGradients, LayerIntegratedGradients
from measuring import rounds, tables
from measuring.invented import invented

import clinometer as cm
from clinometer.interpret.attributions import allowed
from clinometer.interpret.batches import bucketed
from clinometer.interpret.gradients import Target

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL = SHARED / "models" / "minilm-hatexplain"
TEXTS = SHARED / "data" / "hatexplain" / "hatexplain_val.jsonl.gz"
BATCH = 64
Run = Callable[[], Any]


def read_texts(path: Path | None, n: int) -> list[str]:
    """The first texts of a file of JSON lines (`post_tokens` or `text`), or numbered words of like lengths."""
    if path is None:
        generator = np.random.default_rng(0)
        lengths = np.clip(generator.lognormal(3.0, 0.6, size=n), 3, 120).astype(int)
        return [" ".join(f"w{i}" for i in generator.integers(0, 2000, size=length)) for length in lengths]
    import gzip

    with (
        gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    ) as file:
        found = [json.loads(line) for _, line in zip(range(n), file, strict=False)]
    return [post["text"] if "text" in post else " ".join(post["post_tokens"]) for post in found]


def by_captum(subject: Any, rows: Any, nodes: int, index: list[Any]) -> tuple[Any, Any]:
    """Sums per token and the sum's error, by captum's IntegratedGradients on the batches given."""
    scores: dict[int, Any] = {}
    errors = np.zeros(len(rows))
    for places in index:
        batch = subject.encode(rows.take(places))
        with torch.no_grad():
            embedded, reference = subject.embed(batch), subject.reference(batch)
        parts, delta = IntegratedGradients(Target(subject, batch)).attribute(
            embedded,
            baselines=reference,
            additional_forward_args=tuple(batch.values()),
            n_steps=nodes,
            internal_batch_size=8 * BATCH,
            return_convergence_delta=True,
        )
        made = parts.double().sum(dim=2).detach().numpy()
        scores.update({int(i): row for i, row in zip(places, made, strict=True)})
        errors[places] = delta.abs().numpy()
    return scores, errors


def one_by_one(rows: Any) -> list[Any]:
    """Batches of one, as a loop over a data set has them."""
    return [np.array([i]) for i in range(len(rows))]


def layered(subject: Any, rows: Any, nodes: int) -> Any:
    """captum's LayerIntegratedGradients on the embedding layer of the module, one text at a time, mask as baseline."""
    module = subject.module
    made = []
    for i in range(len(rows)):
        batch = subject.encode(rows.take([i]))
        ids, mask = batch["input_ids"], batch["attention_mask"]
        special = (ids == ids[0, 0]) | (ids == ids[0, -1])
        baseline = torch.where(special, ids, torch.full_like(ids, subject.fillers["mask"]))

        def target(tokens: Any, mask: Any = mask) -> Any:
            logits = module(input_ids=tokens, attention_mask=mask.expand(len(tokens), -1)).logits
            return subject.select(logits)

        parts = LayerIntegratedGradients(target, module.get_input_embeddings()).attribute(
            ids, baselines=baseline, n_steps=nodes
        )
        made.append(parts.sum(dim=2).detach())
    return made


def input_x_gradient(subject: Any, rows: Any) -> Any:
    """captum's InputXGradient, one text at a time."""
    made = []
    for i in range(len(rows)):
        batch = subject.encode(rows.take([i]))
        embedded = subject.embed(batch).detach().requires_grad_()
        parts = InputXGradient(Target(subject, batch)).attribute(
            embedded, additional_forward_args=tuple(batch.values())
        )
        made.append(parts.sum(dim=2).detach())
    return made


def chefer(eager: Any, subject: Any, rows: Any) -> Any:
    """The rule of Chefer et al. 2021b (equations 5 and 6) on eager attention maps, one text at a time, whole matrices."""
    made = []
    for i in range(len(rows)):
        batch = subject.encode(rows.take([i]))
        out = eager(**batch, output_attentions=True)
        gradients = torch.autograd.grad(subject.select(out.logits).sum(), out.attentions)
        n = out.attentions[0].shape[-1]
        relevance = torch.eye(n)
        for weights, gradient in zip(out.attentions, gradients, strict=True):
            fused = (weights * gradient).clamp(min=0).mean(dim=1)[0].detach()
            relevance = relevance + fused @ relevance
        made.append(relevance[0] - torch.eye(n)[0])
    return made


def explainer(subject: Any, folder: Path, texts: list[str]) -> Run | None:
    """transformers-interpret's explainer of sequence classifiers (integrated gradients, its defaults)."""
    if importlib.util.find_spec("transformers_interpret") is None:
        return None
    from transformers_interpret import SequenceClassificationExplainer

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    made = SequenceClassificationExplainer(subject.module, tokenizer)
    label = subject.labels[subject.positive]
    return lambda: [made(text, class_name=label) for text in texts]


def ways(folder: Path, texts: list[str]) -> tuple[dict[str, Run], Any, Any, list[str]]:
    """What is compared, the subject and its rows, and what is missing."""
    subject = cm.load(folder)
    ids = tuple(f"t{i}" for i in range(len(texts)))
    rows = cm.Rows(ids=ids, inputs={"text": np.array(texts, dtype=object)})
    lengths = [len(names) for names in subject.names(rows)]
    together = bucketed(lengths, BATCH)
    in_order = [np.arange(i, min(i + BATCH, len(rows))) for i in range(0, len(rows), BATCH)]
    eager = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager", local_files_only=True, dtype=torch.float32
    ).eval()
    made: dict[str, Run | None] = {
        "captum, 50 nodes, one by one": lambda: layered(subject, rows, 50),
        "captum, 50 nodes, batches in order": lambda: by_captum(subject, rows, 50, in_order),
        "captum, 20 nodes, our batches": lambda: by_captum(subject, rows, 20, together),
        "integrated gradients, 20 nodes fixed": lambda: cm.attribute(subject, rows, most_nodes=20),
        "integrated gradients (default)": lambda: cm.attribute(subject, rows),
        "captum, input x gradient, one by one": lambda: input_x_gradient(subject, rows),
        "gradient x input": lambda: cm.attribute(subject, rows, "gradient x input"),
        "Chefer by hand, eager, one by one": lambda: chefer(eager, subject, rows),
        "gradient-weighted relevance": lambda: cm.attribute(subject, rows, "gradient-weighted relevance"),
        "transformers-interpret, one by one": explainer(subject, folder, texts),
    }
    missing = [name for name, run in made.items() if run is None]
    return {name: run for name, run in made.items() if run is not None}, subject, rows, missing


PAIRS = (
    ("integrated gradients, 20 nodes fixed", "captum, 20 nodes, our batches", "cost per node, at most 1.05"),
    (
        "captum, 50 nodes, one by one",
        "integrated gradients (default)",
        "at least 2 as many examples per second",
    ),
    (
        "captum, 50 nodes, batches in order",
        "integrated gradients (default)",
        "the same against batches of captum",
    ),
    ("captum, input x gradient, one by one", "gradient x input", "at least 1.5"),
    ("Chefer by hand, eager, one by one", "gradient-weighted relevance", "at least 1.5"),
)


def certificates(subject: Any, rows: Any, index: Mapping[str, Any]) -> list[list[str]]:
    """Completeness error beside what is allowed, for each number of nodes."""
    ours = cm.attribute(subject, rows)
    enough = allowed(ours.value, ours.base_value, float(np.std(ours.value)))
    fixed = cm.attribute(subject, rows, most_nodes=20)
    lines = []
    for name, errors in (
        ("captum, 50 nodes", by_captum(subject, rows, 50, index["order"])[1]),
        ("captum, 20 nodes", by_captum(subject, rows, 20, index["order"])[1]),
        ("integrated gradients, 20 nodes fixed", np.abs(fixed.residual)),
        ("integrated gradients (default)", np.abs(ours.residual)),
    ):
        nodes = f"{ours.nodes.mean():.1f}" if name.endswith("(default)") else "50" if "50" in name else "20"
        within = int((errors <= enough).sum())
        lines.append([name, nodes, f"{within} of {len(rows)}", f"{np.median(errors / enough) / 100:.2%}"])
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="default: the shared MiniLM classifier, else an invented one"
    )
    parser.add_argument(
        "--texts", type=Path, help="JSON lines; default: the shared posts, else invented ones"
    )
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.rounds < 1 or given.examples < 1:
        parser.error("--rounds and --examples must be 1 or more")
    with tempfile.TemporaryDirectory() as made:
        shared = MODEL.is_dir() and TEXTS.is_file()
        folder = given.model or (MODEL if shared else invented(Path(made)))
        texts = read_texts(given.texts or (TEXTS if shared and given.model is None else None), given.examples)
        report(folder, texts, given.rounds, given.json)


def report(folder: Path, texts: list[str], n_rounds: int, path: str | None) -> None:
    """Time every way and print the tables."""
    runs, subject, rows, missing = ways(folder, texts)
    about = tables.machine("cpu")
    print(
        f"{about['processors']} processors, {about['threads']} threads, load {about['load']}; {about['versions']}"
    )
    print(
        f"{folder.name}: {len(texts)} texts, {np.mean([len(n) for n in subject.names(rows)]):.0f} tokens on average"
    )
    for name in missing:
        print(f"Left out: {name}, which is not installed.")
    measured = rounds.interleaved(runs, n_rounds, cuda=False, said=folder.name)
    lines = [
        [name, f"{len(texts) / rounds.middle(times.wall).median:.1f}"] for name, times in measured.items()
    ]
    print(tables.table(["way", "examples per second"], lines))
    compared = [
        [f"{slow} / {fast}", tables.number(rounds.ratios(measured[slow].wall, measured[fast].wall)), wanted]
        for slow, fast, wanted in PAIRS
        if slow in measured and fast in measured
    ]
    print(tables.table(["time ratio", "[95 %]", "target"], compared))
    order = [np.arange(i, min(i + BATCH, len(rows))) for i in range(0, len(rows), BATCH)]
    print(
        tables.table(
            ["way", "nodes per row", "within the certificate", "median error / |f(x) - f(b)|"],
            certificates(subject, rows, {"order": order}),
        )
    )
    if path is not None:
        seconds = {
            name: {"wall": times.wall, "processor": times.processor} for name, times in measured.items()
        }
        Path(path).write_text(json.dumps({"machine": about, "seconds": seconds}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
