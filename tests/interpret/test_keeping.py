"""What is kept is the call that was seen, coarser or elsewhere where that was asked for, and never by surprise."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import CaptureError, UsageError
from clinometer.interpret import keeping
from clinometer.interpret.calls import Call
from clinometer.interpret.keeping import Keep, Keeper, memory, size
from clinometer.interpret.tap import tap
from clinometer.interpret.trace import Trace
from reference.attention import HandMade

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def hand_made(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Any]:
    model = HandMade(causal=True).to(dtype).eval()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    x = torch.randn(2, 6, 8, dtype=dtype)
    return model, lambda: model(x, padding)


def listened(keeper: Any, model: nn.Module, run: Any, **how: Any) -> Any:
    with tap(model, keeper, **how):
        run()
    return keeper


def gpt2() -> tuple[nn.Module, Any]:
    """Queries, keys and values are pieces of one tensor."""
    config = transformers.GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=4)
    model, ids = transformers.GPT2Model(config).eval(), torch.randint(1, 30, (2, 7))
    return model, lambda: model(input_ids=ids, use_cache=False)


def whole(call: Call) -> Tensor:
    return torch.cat([call.weights(rows) for rows in call.blocks()], dim=2)


@torch.no_grad()
def both(keep: Keep, made: tuple[nn.Module, Any]) -> tuple[list[Call], tuple[Call, ...]]:
    """Calls as they were seen, and as they were kept."""
    seen: list[Call] = []
    keeper = Keeper(keep)

    def listener(call: Call) -> None:
        seen.append(call)
        keeper(call)

    listened(listener, *made)
    return seen, keeper.finish()


def test_by_default_everything_is_kept_as_it_is() -> None:
    seen, kept = both(Keep(), hand_made())
    for before, after in zip(seen, kept, strict=True):
        for name in ("query", "key", "value", "output", "mask"):
            assert getattr(after, name) is getattr(before, name)
        assert after.versions == before.versions != ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("maps", ["given", "full"])
def test_coarser_numbers_give_close_maps_that_certify(dtype: torch.dtype, maps: Any) -> None:
    seen, kept = both(Keep(dtype=dtype, maps=maps), hand_made(torch.float64))
    for before, after in zip(seen, kept, strict=True):
        assert before.tolerance == 1e-9
        assert after.tolerance == (1e-4 if dtype == torch.float32 else 2e-2)
        assert after.versions == ()
        parts = [after.given, after.query, after.key, after.value, after.output]
        assert {part.dtype for part in parts if part is not None} == {dtype}
        error = (whole(after) - whole(before)).abs().max()
        assert 0 < error < {torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    Trace(kept).certify()
    Trace(kept).map(0, 3, 1)


def test_numbers_are_never_cast_to_finer_ones() -> None:
    seen, kept = both(Keep(dtype=torch.float64), hand_made(torch.bfloat16))
    assert all(after.query is before.query for before, after in zip(seen, kept, strict=True))
    assert kept[0].tolerance == 2e-2
    same = both(Keep(dtype=torch.float16), hand_made(torch.bfloat16))[1]
    assert same[0].query.dtype == torch.bfloat16


def test_masks_keep_their_numbers() -> None:
    mask = torch.zeros(1, 1, 6, 6).masked_fill(
        torch.ones(6, 6).triu(1).bool(), torch.finfo(torch.float32).min
    )
    call = dataclasses.replace(both(Keep(), hand_made())[1][0], mask=mask, versions=())
    keeper = Keeper(Keep(dtype=torch.float16))
    keeper(call)
    (kept,) = keeper.finish()
    assert kept.mask is mask
    assert torch.equal(kept.allowed(slice(0, 6)), call.allowed(slice(0, 6)))


def test_numbers_too_large_for_float16_are_refused() -> None:
    model, run = hand_made()
    with torch.no_grad():
        model.second.v.weight.mul_(1e6)
    keeper = listened(Keeper(Keep(dtype=torch.float16)), model, run)
    with pytest.raises(CaptureError, match=r"'second \(value\)', 'second \(output\)'.*infinite in float16"):
        keeper.finish()
    listened(keeper := Keeper(Keep(dtype=torch.bfloat16)), model, run)
    assert len(keeper.finish()) == 2  # control


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_parts_can_be_left_out(values: bool, outputs: bool) -> None:
    _, kept = both(Keep(values=values, outputs=outputs), hand_made())
    assert [call.value is not None for call in kept] == [values] * 2
    assert [call.output is not None for call in kept] == [outputs] * 2
    assert (kept[0].certificate() is not None) == (values and outputs)


def test_what_is_left_out_is_let_go() -> None:
    model, run = gpt2()
    with torch.no_grad():
        everything, without = Keeper(Keep()), Keeper(Keep(values=False, outputs=False))
        listened(everything, model, run)
        listened(without, model, run)
    call = without.finish()[0]
    assert call.query.untyped_storage().nbytes() == call.query.nbytes
    assert call.query.untyped_storage().data_ptr() != call.key.untyped_storage().data_ptr()
    kept = everything.finish()[0]  # control: with its values a piece needs no copy
    assert kept.query.untyped_storage().nbytes() == 3 * kept.query.nbytes
    assert kept.query.untyped_storage().data_ptr() == kept.value.untyped_storage().data_ptr()
    assert without.n_bytes == 2 * everything.n_bytes / 4
    assert torch.equal(whole(call), whole(kept))


def test_writing_over_what_was_kept_is_noticed_only_where_it_is_shared() -> None:
    seen, kept = both(Keep(), hand_made(torch.float64))
    copies = both(Keep(dtype=torch.float32), hand_made(torch.float64))
    partly = both(Keep(dtype=torch.float32, maps="full"), hand_made(torch.float32))[1]
    assert not kept[0].changed_in_place()
    seen[0].key.zero_()
    assert kept[0].changed_in_place()
    copies[0][0].key.zero_()
    assert not copies[1][0].changed_in_place()
    assert partly[0].versions[:2] == (None, None)
    assert partly[0].versions[3] is not None
    partly[0].output.zero_()
    assert partly[0].changed_in_place()


# Maps


def test_full_maps_are_the_maps() -> None:
    seen, kept = both(Keep(maps="full"), hand_made())
    for before, after in zip(seen, kept, strict=True):
        assert after.query is after.key is after.mask is None
        torch.testing.assert_close(after.given, whole(before), atol=0, rtol=1e-6)
        assert torch.equal(after.valid(), before.valid())
    again = Trace(kept)
    again.certify()
    for head in range(4):  # four heads share two of keys
        assert again.map(1, head, 1).shape == (6, 6)
    assert again.received(0).shape == (2, 4, 6)


def test_a_key_that_may_be_attended_to_stays_one_however_small_its_weight() -> None:
    call = both(Keep(), hand_made())[0][1]
    steep = dataclasses.replace(call, query=call.query * 3000, value=None, output=None, versions=())
    assert ((whole(steep) == 0) & steep.allowed(slice(0, 6))).any()  # float32 has no number so small
    for dtype in (None, torch.float16, torch.bfloat16):
        keeper = Keeper(Keep(maps="full", dtype=dtype))
        keeper(steep)
        (kept,) = keeper.finish()
        assert torch.equal(kept.allowed(slice(0, 6)), steep.allowed(slice(0, 6)).expand(2, 4, -1, -1))
        assert (whole(kept) - whole(steep)).abs().max() < 1e-2
        assert kept.valid().tolist() == steep.valid().tolist()


def test_maps_that_a_model_gave_stay() -> None:
    given = torch.rand(2, 4, 6, 6).softmax(dim=-1)
    call = dataclasses.replace(
        both(Keep(), hand_made())[1][0],
        given=given,
        query=None,
        key=None,
        mask=None,
        way="by hand",
        versions=(),
    )
    for keep in (Keep(), Keep(maps="full")):
        keeper = Keeper(keep)
        keeper(call)
        assert keeper.finish()[0].given is given
    keeper = Keeper(Keep(dtype=torch.bfloat16))
    keeper(call)
    assert keeper.finish()[0].given.dtype == torch.bfloat16


# Elsewhere. The device "meta" has no numbers: what matters here is that parts are moved, and how often.


def test_parts_are_moved_and_a_shared_mask_once() -> None:
    model, run = hand_made()
    keeper = Keeper(Keep(device="meta"))
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool).expand(2, 4, 6, 6)

    def masked(call: Call) -> None:
        keeper(dataclasses.replace(call, mask=mask[:]))  # a new view each time, as models make them

    listened(masked, model, run)
    one, two = keeper.finish()
    parts = [
        getattr(call, name) for call in (one, two) for name in ("query", "key", "value", "output", "mask")
    ]
    assert {part.device.type for part in parts} == {"meta"}
    assert one.mask is two.mask and one.mask.shape == (2, 4, 6, 6)
    assert one.mask.untyped_storage().nbytes() == 36
    assert one.versions == ()


def test_a_mask_that_was_written_over_is_moved_again() -> None:
    seen, _ = both(Keep(), hand_made())
    keeper = Keeper(Keep(device="meta"))
    mask = torch.zeros(1, 1, 6, 6)
    for change in (False, False, True):
        if change:
            mask.fill_(1.0)
        keeper(dataclasses.replace(seen[0], mask=mask))
    first, second, third = (call.mask for call in keeper.finish())
    assert first is second is not third


def test_a_mask_in_the_memory_of_a_freed_one_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "place_of", lambda part: tuple(part.shape))  # always at the same address
    seen, _ = both(Keep(), hand_made())
    keeper = Keeper(Keep(device="meta"))
    mask = torch.zeros(1, 1, 6, 6)
    keeper(dataclasses.replace(seen[0], mask=mask))
    keeper(dataclasses.replace(seen[0], mask=mask))  # control: alive, it is taken for the same
    del mask
    keeper(dataclasses.replace(seen[0], mask=torch.zeros(1, 1, 6, 6)))
    first, second, third = (call.mask for call in keeper.finish())
    assert first is second is not third


def test_the_device_a_call_is_on_needs_no_copy() -> None:
    seen, kept = both(Keep(device="cpu"), hand_made())
    assert kept[0].query is seen[0].query


@pytest.mark.gpu
def test_calls_come_from_cuda_to_pinned_memory() -> None:
    model, run = hand_made()
    plain = both(Keep(), (model, run))[1]
    x, padding = torch.randn(2, 6, 8), torch.zeros(2, 6, dtype=torch.bool)
    seen, kept = both(Keep(device="cpu"), (model.cuda(), lambda: model(x.cuda(), padding.cuda())))
    for before, after in zip(seen, kept, strict=True):
        assert after.query.is_pinned() and after.device.type == "cpu"
        assert torch.equal(after.query, before.query.cpu())
        torch.testing.assert_close(whole(after), whole(before).cpu())
    assert len(plain) == len(kept)


# Gradients


def test_gradients_can_still_be_asked_for() -> None:
    model, run = hand_made(torch.float64)
    keeper = listened(Keeper(Keep(dtype=torch.float32, values=False)), model, run, gradients=True)
    calls = keeper.finish()
    assert all(call.source is not None and call.source.dtype == torch.float64 for call in calls)
    assert calls[0].shaper(calls[0].source).shape == calls[0].output.shape


# Memory


def test_bytes_are_those_of_what_is_kept() -> None:
    model, run = hand_made()
    keeper = listened(Keeper(Keep()), model, run)
    parts = [
        getattr(call, name)
        for call in keeper.finish()
        for name in ("query", "key", "value", "output", "mask", "position_bias", "sinks", "given")
    ]
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in parts if p is not None}
    assert keeper.n_bytes == sum(storages.values()) > 0


@pytest.mark.parametrize("maps", ["given", "full"])
def test_a_call_beyond_the_limit_is_refused_by_name(maps: Any) -> None:
    model, run = hand_made()
    exact = listened(Keeper(Keep(maps=maps)), model, run).n_bytes
    assert len(listened(Keeper(Keep(maps=maps), max_memory=exact), model, run).finish()) == 2
    with pytest.raises(CaptureError, match=r"second: with it .* would be kept after 1 calls, max_memory is"):
        listened(Keeper(Keep(maps=maps), max_memory=exact - 1), model, run)
    run()  # the tap is gone


def test_a_map_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = both(Keep(), hand_made())
    monkeypatch.setattr(Call, "weights", lambda *_: pytest.fail("the map was computed"))
    with pytest.raises(CaptureError, match="first: with it 1152 bytes"):
        Keeper(Keep(maps="full"), max_memory=1151)(seen[0])


def test_statistics_alone_keep_no_call() -> None:
    model, run = hand_made()
    names: list[str] = []
    keeper = listened(Keeper(reduce=lambda call: (names.append(call.layer), call.n_keys)[1]), model, run)
    assert keeper.statistics == [6, 6]
    assert names == ["first", "second"]
    assert keeper.finish() == () and keeper.n_bytes == 0
    both_kept = listened(Keeper(Keep(dtype=torch.bfloat16), reduce=lambda call: call.dtype), model, run)
    assert both_kept.statistics == [torch.float32] * 2  # reduced before anything is cast
    assert both_kept.finish()[0].dtype == torch.bfloat16


def test_refusals(shapes_unchecked: None) -> None:
    with pytest.raises(
        UsageError, match=r"kept as torch\.int8; expected one of float64, float32, bfloat16, float16"
    ):
        Keep(dtype=torch.int8)
    with pytest.raises(UsageError, match="did you mean 'full'"):
        Keep(maps="ful")
    with pytest.raises(UsageError, match="neither calls nor statistics"):
        Keeper()


@pytest.mark.parametrize(
    ("said", "n_bytes"),
    [(5, 5), ("2 GB", 2 * 10**9), ("512MiB", 512 * 2**20), ("1.5 kb", 1500), (" 7 B ", 7), ("1TiB", 2**40)],
)
def test_sizes_of_memory_are_read(said: Any, n_bytes: int) -> None:
    assert memory(said) == n_bytes


@pytest.mark.parametrize("said", [0, -1, "", "GB", "2 gigs", "1e3", "nan", "-2 GB", "0 GB"])
def test_what_is_no_size_of_memory_is_refused(said: Any) -> None:
    with pytest.raises(UsageError, match="expected bytes, or a text such as '2 GB'"):
        memory(said)


def test_sizes_are_written_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 1536, 123_456_789, 5 * 10**9, 10**13)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "1.54 kB",
        "123 MB",
        "5 GB",
        "10000 GB",
    ]
