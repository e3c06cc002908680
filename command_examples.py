"""An example or two of every verb, as its help shows them; a test parses each of them."""

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "audit": (
        "clinometer audit predictions.csv --label approved --prediction predicted --group race",
        "clinometer audit predictions.parquet --policy policy.toml --out audit.json --junit audit.xml",
        "clinometer audit 'parts/*.parquet' --label y --prediction yhat --group sex --tolerance selection_rate=0.05",
    ),
    "compare": (
        "clinometer compare old.csv new.csv --id id --label y --prediction yhat --group race --worsening accuracy=0.01",
        "clinometer compare old.csv new.csv --policy policy.toml --gap-growth selection_rate=0.02 --junit change.xml",
        "clinometer compare model-a model-b test.csv --label y --group race --new-as int8",
    ),
    "monitor": (
        "clinometer monitor predictions --label y --prediction yhat --group race --policy policy.toml",
        "clinometer monitor predictions --policy policy.toml --baseline 12 --since 2026-11-01 --junit charts.xml",
    ),
    "slices": ("clinometer slices predictions.csv --label y --prediction yhat --column race --column sex",),
    "count": (
        "clinometer count 'parts/*.parquet' --label y --prediction yhat --group race --out counts.parquet",
    ),
    "schema": (
        "clinometer schema > policy.schema.json",
        "clinometer schema --of review > review.schema.json",
    ),
    "init": ("clinometer init predictions.csv --out policy.toml",),
    "doctor": ("clinometer doctor", "clinometer doctor --devices --json"),
    "demo": ("clinometer demo", "clinometer demo --out first-look --seed 1"),
    "review": (
        "clinometer review model test.csv --label approved --policy policy.toml --out review",
        "clinometer review model test.parquet --label approved --group race --device cuda --force",
    ),
    "evidence": (
        "clinometer evidence model 'rows/*.parquet' --label approved --group race --out evidence --workers 4 --threads 1",
        "torchrun --nproc-per-node 2 --no-python clinometer evidence model rows.csv --group race --out e --engine torchrun",
    ),
    "report": (
        "clinometer report review",
        "clinometer report review --format html,pdf,junit --no-text --out to-be-shared",
    ),
    "card": (
        "clinometer card review",
        "clinometer card review --out README.md --dataset owner/name --task test",
    ),
    "verify": ("clinometer verify review", "clinometer verify review model test.csv --json"),
    "explain": (
        "clinometer explain model --text 'a text'",
        "clinometer explain model test.csv --n 12 --out explorer.html",
        "clinometer explain model test.csv --group race --gap selection_rate --of black --minus white",
    ),
    "trace": ("clinometer trace model test.csv --rows 32 --out traces",),
    "attribute": (
        "clinometer attribute model test.csv --method 'integrated gradients' --show 3",
        "clinometer attribute model test.csv --by sentences --out marked.html",
    ),
    "methods": ("clinometer methods",),
    "faithfulness": ("clinometer faithfulness model test.csv --rows 32 --group race",),
    "why": ("clinometer why model test.csv --group sex --of female --metric selection_rate",),
    "mitigate": ("clinometer mitigate model test.csv --label y --group sex --policy policy.toml --out fix",),
    "swap": ("clinometer swap model texts.csv --lexicon gender --tolerance flip_rate=0.02",),
    "suite": ("clinometer suite model suite.toml",),
}
