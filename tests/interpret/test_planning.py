"""A plan counts what is kept to the byte, chooses the most that fits, and says so."""

import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import CaptureError, UsageError
from clinometer.interpret import calls as calls_module
from clinometer.interpret.calls import Call
from clinometer.interpret.keeping import Keep, Keeper
from clinometer.interpret.planning import CHOICES, CallShape, plan, shapes
from clinometer.interpret.tap import tap
from reference.attention import HandMade

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def hand_made(n: int = 6, examples: int = 2, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Any]:
    model = HandMade(causal=True).to(dtype).eval()
    padding = torch.zeros(examples, n, dtype=torch.bool)
    padding[-1, n // 2 :] = True
    x = torch.randn(examples, n, 8, dtype=dtype)
    return model, lambda: model(x, padding)


def t5(n: int = 7, examples: int = 2) -> tuple[nn.Module, Any]:
    """A position bias that layers share, cross-attention, shorter targets."""
    config = transformers.T5Config(
        vocab_size=30, d_model=16, d_kv=4, d_ff=16, num_layers=3, num_heads=4, decoder_start_token_id=0
    )
    model, ids = transformers.T5Model(config).eval(), torch.randint(1, 30, (examples, n))
    mask = torch.ones(examples, n, dtype=torch.long)
    mask[-1, n // 2 :] = 0
    return model, lambda: model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids[:, : n - 2])


MADE = {"hand made": hand_made, "t5": t5}
KEEPS = {
    "all": Keep(),
    "bfloat16": Keep(dtype=torch.bfloat16),
    "bare": Keep(values=False, outputs=False),
    "without outputs": Keep(outputs=False),
}


def listened(keeper: Any, made: tuple[nn.Module, Any]) -> Any:
    with torch.no_grad(), tap(made[0], keeper):
        made[1]()
    return keeper


def seen(made: tuple[nn.Module, Any]) -> list[Call]:
    calls: list[Call] = []
    listened(calls.append, made)
    return calls


def stored(calls: Any) -> int:
    """Bytes of the numbers in the calls, each piece of memory once, repeated axes once."""
    found: dict[int, int] = {}
    for call in calls:
        for name in ("query", "key", "value", "output", "given", "mask", "position_bias", "sinks"):
            part: Tensor | None = getattr(call, name)
            if part is not None:
                n = part.element_size()
                for size, stride in zip(part.shape, part.stride(), strict=True):
                    n *= size if stride else 1
                at = part.data_ptr()
                found[at] = max(found.get(at, 0), n)
    return sum(found.values())


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("name", MADE)
def test_the_bytes_of_a_plan_are_those_that_are_kept(name: str, keep: str) -> None:
    made = MADE[name]()
    counted = plan(shapes(seen(made)), "1 GB", keep=KEEPS[keep]).kept
    for choice, maps in (("queries and keys", "given"), ("maps", "full")):
        keeper = listened(Keeper(dataclasses.replace(KEEPS[keep], maps=maps)), made)
        assert counted[choice] == stored(keeper.finish()) > 0


@pytest.mark.parametrize("name", MADE)
def test_shapes_of_a_short_input_tell_those_of_a_long_one(name: str) -> None:
    torch.manual_seed(1)
    n, examples = (40, 3)
    short, long = seen(MADE[name]()), seen(MADE[name](n, examples))
    found = tuple(
        shape.stretched(examples=examples, queries=call.n_queries, keys=call.n_keys)
        for shape, call in zip(shapes(short), long, strict=True)
    )
    assert found == shapes(long)
    assert found != shapes(short)


def test_the_most_that_fits_is_chosen() -> None:
    calls = seen(hand_made(200))
    needs = {choice: plan(calls, "1 GB").needs(choice) for choice in CHOICES}
    assert needs["maps"] > needs["queries and keys"]
    for choice in ("maps", "queries and keys"):
        assert plan(calls, needs[choice]).choice == choice
    assert plan(calls, needs["queries and keys"] - 1, statistic_bytes=1).choice == "statistics"
    assert plan(calls, needs["maps"], allow=("queries and keys", "statistics")).choice == "queries and keys"
    with pytest.raises(UsageError, match="too little for 'maps'"):
        plan(calls, needs["maps"] - 1, allow=("maps",))


def test_the_least_that_works_is_named_and_works() -> None:
    calls = seen(hand_made(200))
    for allow in (CHOICES, ("maps",), ("queries and keys",), ("maps", "statistics")):
        with pytest.raises(UsageError, match="The least that works is max_memory=") as refused:
            plan(calls, 1000, allow=allow)
        found = re.search(r"max_memory=(\d+)", str(refused.value))
        assert found is not None
        assert plan(calls, int(found[1]), allow=allow).choice in allow
        with pytest.raises(UsageError, match="The least that works"):
            plan(calls, int(found[1]) - 1, allow=allow)
        assert "chosen" not in str(refused.value)


def test_a_plan_explains_itself() -> None:
    shape = CallShape(
        layer="blocks.0",
        examples=1,
        heads=12,
        key_heads=4,
        queries=8192,
        keys=8192,
        width=64,
        value_width=64,
        extras=(((1, 1, 8192, 8192), 1),),
    )
    made = plan([shape], "4 GB", n_calls=12)
    assert made.choice == "queries and keys"
    # Queries and outputs 12, keys and values 4 heads, each 8192 x 64 x 4 bytes, in 12 calls; one mask.
    assert made.kept["queries and keys"] == 12 * 32 * 8192 * 64 * 4 + 8192**2
    assert made.kept["maps"] == 12 * (12 * 8192**2 + 24 * 8192 * 64) * 4
    assert made.working == 10 * calls_module.BLOCK_BYTES
    text = made.explain()
    for line in (
        "12 attention calls; the largest is blocks.0: 1 examples, 12 heads (4 of keys), 8192 queries by 8192 keys",
        "max_memory is 4 GB",
        "with 336 MB to work with",
        r"every map whole\s+39.6 GB  does not fit",
        r"queries and keys, maps on demand\s+1.21 GB  chosen",
        r"statistics only, each call reduced at once\s+562 MB  fits",
        "without values and outputs 805 MB; in bfloat16 805 MB; both 604 MB",
    ):
        assert re.search(line if "\\s" in line else re.escape(line), text), f"{line!r} is not in\n{text}"
    assert repr(made) == "Plan('queries and keys': 1.21 GB of 4 GB)"
    assert "fits, not allowed" in plan([shape], "4 GB", allow=("queries and keys",)).explain()


def test_gradients_count() -> None:
    calls = seen(hand_made())
    plain, more = plan(calls, "1 GB").kept, plan(calls, "1 GB", gradients=True).kept
    assert more["queries and keys"] - plain["queries and keys"] == sum(call.output.nbytes for call in calls)
    assert more["statistics"] == plain["statistics"]


def test_work_is_done_in_blocks_that_the_plan_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    (shape, _) = shapes(seen(hand_made(200)))
    assert shape.working_bytes == 10 * 2 * 4 * 200 * 200 * 4  # small maps are one block
    monkeypatch.setattr(calls_module, "BLOCK_BYTES", 2**14)
    assert shape.working_bytes == 10 * 2**14
    monkeypatch.setattr(calls_module, "BLOCK_BYTES", 1)
    assert shape.working_bytes == 10 * 2 * 4 * 200 * 4  # never less than a row of each map


def test_a_plan_from_the_first_call_holds_to_its_word() -> None:
    made = hand_made(50)
    calls = seen(made)
    planned = plan(calls[:1], "1 GB", n_calls=2, allow=("queries and keys",))
    needed = planned.needs("queries and keys")
    with pytest.raises(CaptureError, match="second: with it"):  # it has a mask of its own
        listened(dataclasses.replace(planned, max_memory=needed).keeper(), made)
    more = calls[1].mask.nbytes
    assert len(listened(dataclasses.replace(planned, max_memory=needed + more).keeper(), made).finish()) == 2


def test_the_keeper_of_a_plan_does_what_was_chosen() -> None:
    made = hand_made()
    whole = listened(plan(seen(made), "1 GB", keep=Keep(values=False)).keeper(), made).finish()
    assert all(call.given is not None and call.value is None for call in whole)
    some = listened(plan(seen(made), "1 GB", allow=("queries and keys",)).keeper(), made).finish()
    assert all(call.given is None and call.query is not None for call in some)
    bare = plan(seen(made), "1 GB", allow=("statistics",))
    with pytest.raises(UsageError, match="only statistics fit into 1 GB: give reduce="):
        bare.keeper()
    keeper = listened(bare.keeper(reduce=lambda call: call.layer), made)
    assert keeper.statistics == ["first", "second"] and keeper.finish() == ()


def test_maps_that_a_model_gives_cannot_be_left_out_but_by_statistics() -> None:
    given = torch.rand(2, 4, 300, 300).softmax(dim=-1)
    call = dataclasses.replace(
        seen(hand_made(300))[0], given=given, query=None, key=None, mask=None, way="by hand", versions=()
    )
    made = plan([call], "1 GB")
    assert made.kept["maps"] == made.kept["queries and keys"]
    keeper = Keeper(Keep())
    keeper(call)
    assert stored(keeper.finish()) == made.kept["maps"]


def test_refusals(shapes_unchecked: None) -> None:
    calls = seen(hand_made())
    for bad, message in (
        (lambda: plan([], "1 GB"), "0 calls were handed in"),
        (lambda: plan(calls, "1 GB", n_calls=1), "2 calls were handed in and n_calls is 1"),
        (lambda: plan(calls, "lots"), "max_memory is 'lots'"),
        (lambda: plan(calls, "1 GB", allow=("map",)), "did you mean 'maps'"),
        (lambda: plan(calls, "1 GB", allow=()), r"allow is \(\)"),
    ):
        with pytest.raises(UsageError, match=message):
            bad()
