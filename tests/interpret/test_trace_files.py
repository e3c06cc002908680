"""What is read is what was saved, to the bit; a folder that is not whole is refused by name."""

import dataclasses
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from clinometer.errors import CaptureError, DataError, OutputError, UsageError
from clinometer.interpret import trace_files
from clinometer.interpret.calls import Call
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.trace import Trace
from clinometer.interpret.trace_files import read_trace, save_trace, trace_settings
from clinometer.interpret.transformer import Architecture, EncoderDecoder
from reference.attention import HandMade

LEFT_OUT = {"source", "shaper", "versions"}
transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def hand_made(*, gradients: bool = True, dtype: torch.dtype = torch.float64) -> Trace:
    model = HandMade(causal=True).to(dtype).eval()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    x = torch.randn(2, 6, 8, dtype=dtype)
    return (attention_gradient if gradients else trace)(lambda: model(x, padding), model)


def gpt2() -> Trace:
    """Queries, keys and values are pieces of one tensor."""
    config = transformers.GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=4)
    model = transformers.GPT2Model(config).eval()
    ids = torch.randint(1, 30, (2, 7))
    return trace(lambda: model(input_ids=ids, use_cache=False), model)


def t5() -> Trace:
    """A position bias that layers share, cross-attention, an output that is no tensor."""
    config = transformers.T5Config(
        vocab_size=30, d_model=16, d_kv=4, d_ff=16, num_layers=3, num_heads=4, decoder_start_token_id=0
    )
    model, ids = transformers.T5Model(config).eval(), torch.randint(1, 30, (2, 7))
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return trace(lambda: model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids[:, :5]), model)


def ours() -> Trace:
    shape: dict[str, Any] = {"width": 8, "heads": 2, "feed_forward": 8, "positions": "learned"}
    model = EncoderDecoder(Architecture(kind="text", vocabulary=12, **shape)).bfloat16().eval()
    tokens = torch.randint(1, 12, (2, 6))
    return attention_gradient(lambda: model(tokens, tokens)[:, -1, 0], model)


def odd() -> Trace:
    """Everything a call can hold, in every layout: given maps, sinks, a soft-cap, a window, few and no examples."""
    q, k = torch.randn(3, 5, 4, 2).transpose(1, 2), torch.randn(3, 5, 2, 2).transpose(1, 2)
    sliding = Call(
        layer="blocks.0.attn#2",
        kind="self",
        way="sdpa",
        query=q,
        key=k,
        value=None,
        output=None,
        scale=1 / 3,
        mask=torch.zeros(1, 1, 5, 5).expand(3, 1, 5, 5),
        position_bias=torch.randn(1, 4, 5, 5).half(),
        causal=True,
        causal_offset=2,
        window=3,
        softcap=30.0,
        sinks=torch.randn(4),
        rounded=torch.float32,
    )
    given = torch.rand(1, 2, 5, 300).softmax(dim=-1)
    by_hand = dataclasses.replace(
        sliding, layer="blocks.1", way="by hand", query=None, key=None, given=given, mask=None, sinks=None
    )
    return Trace([sliding, by_hand], sampled={"blocks.0.attn#2": math.inf}, unseen=["blocks.2.attn"])


MADE = {"hand made": hand_made, "gpt2": gpt2, "t5": t5, "encoder-decoder": ours, "odd": odd}


def assert_same(one: Trace, other: Trace) -> None:
    assert one.layers == other.layers
    assert one.kinds == other.kinds
    assert one.sampled == other.sampled
    assert one.unseen == other.unseen
    for before, after in zip(one.calls, other.calls, strict=True):
        for field in dataclasses.fields(Call):
            was, is_ = getattr(before, field.name), getattr(after, field.name)
            if isinstance(was, Tensor):
                assert was.dtype == is_.dtype and torch.equal(was, is_), field.name
            elif field.name not in LEFT_OUT:
                assert (type(was), was) == (type(is_), is_), field.name
        assert torch.equal(whole(before), whole(after))
    if one.gradients is None or other.gradients is None:
        assert one.gradients is other.gradients
    else:
        assert all(torch.equal(a, b) for a, b in zip(one.gradients, other.gradients, strict=True))


def whole(call: Call) -> Tensor:
    return torch.cat([call.weights(rows) for rows in call.blocks()], dim=2)


@pytest.mark.parametrize("name", MADE)
def test_what_is_read_is_what_was_saved(name: str, tmp_path: Path) -> None:
    made = MADE[name]()
    save_trace(made, tmp_path / "kept")
    assert sorted(os.listdir(tmp_path)) == ["kept"], "something is left beside the folder"
    again = read_trace(tmp_path / "kept")
    assert_same(made, again)
    save_trace(again, tmp_path / "twice")
    assert_same(made, read_trace(tmp_path / "twice", verify=False))
    assert not any(call.changed_in_place() for call in again.calls)
    if name != "odd":
        again.certify()


def test_equality_above_can_fail(tmp_path: Path) -> None:
    made = hand_made()
    save_trace(made, tmp_path / "kept")
    made.calls[1].key[0, 0, 0, 0] += 1e-15
    with pytest.raises(AssertionError):
        assert_same(made, read_trace(tmp_path / "kept"))


def test_gradients_and_what_follows_from_them(tmp_path: Path) -> None:
    made = hand_made()
    save_trace(made, tmp_path / "kept")
    again = read_trace(tmp_path / "kept")
    np.testing.assert_array_equal(again.contribution("second"), made.contribution("second"))
    np.testing.assert_array_equal(again.head_contribution(), made.head_contribution())
    assert torch.equal(again.output, made.output)


def test_an_output_that_is_no_tensor_is_left_out_and_named(tmp_path: Path) -> None:
    save_trace(t5(), tmp_path / "kept")
    assert read_trace(tmp_path / "kept").output is None
    assert trace_settings(tmp_path / "kept")["output_type"] == "Seq2SeqModelOutput"


def test_settings_say_what_was_traced(tmp_path: Path) -> None:
    made = hand_made()
    tokens = [["[CLS]", "straße", "\u0000", "a", "b", "c"], ["🏠"]]
    save_trace(made, tmp_path / "kept", tokens=tokens)
    settings = trace_settings(tmp_path / "kept")
    assert settings["tokens"] == tokens
    assert settings["schema_version"] == 1
    assert settings["versions"]["torch"].startswith("2.")
    assert settings["versions"].keys() == {"clinometer", "torch", "transformers", "safetensors"}
    first = settings["calls"][0]
    assert (first["layer"], first["kind"], first["way"], first["causal"]) == ("first", "self", "sdpa", False)
    assert first["scale"] == made.calls[0].scale
    assert settings["tensors"]["000.query"]["dtype"] == "float64"


def test_certificates_that_are_known_are_kept(tmp_path: Path) -> None:
    made = hand_made()
    save_trace(made, tmp_path / "before")
    assert trace_settings(tmp_path / "before")["certificate"] is None
    exact = made.certificate()
    dropped = Trace([dataclasses.replace(call, value=None, versions=()) for call in made.calls])
    dropped._certificate = exact
    save_trace(dropped, tmp_path / "after")
    assert read_trace(tmp_path / "after").certificate() == exact
    with pytest.raises(CaptureError, match="kept no values"):
        Trace(dropped.calls).certificate()


def stored(folder: Path) -> dict[str, list[int]]:
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118
                found[key] = opened.get_slice(key).get_shape()
    return found


def test_what_calls_share_is_stored_once(tmp_path: Path) -> None:
    made = t5()
    save_trace(made, tmp_path / "kept")
    found = stored(tmp_path / "kept")
    biases = [name for name in found if name.endswith(("position_bias", "mask"))]
    kept = [getattr(call, part) for call in made.calls for part in ("position_bias", "mask")]
    distinct = {tensor.untyped_storage().data_ptr() for tensor in kept if tensor is not None}
    assert len(biases) == len(distinct) < sum(tensor is not None for tensor in kept)
    again = read_trace(tmp_path / "kept")
    shared = [call.mask if call.mask is not None else call.position_bias for call in again.calls[:3]]
    assert len({tensor.data_ptr() for tensor in shared}) == 1


def test_axes_that_repeat_are_not_written_out(tmp_path: Path) -> None:
    save_trace(odd(), tmp_path / "kept")
    assert stored(tmp_path / "kept")["000.mask"] == [1, 5, 5, 1]  # repeated axes come last
    mask = read_trace(tmp_path / "kept").calls[0].mask
    assert mask.shape == (3, 1, 5, 5) and mask.stride()[0] == 0


def test_pieces_of_one_tensor_are_stored_apart(tmp_path: Path) -> None:
    made = gpt2()
    call = made.calls[0]
    assert call.query.untyped_storage().data_ptr() == call.key.untyped_storage().data_ptr()
    save_trace(made, tmp_path / "kept")
    bytes_ = sum(file.stat().st_size for file in (tmp_path / "kept").glob("000.*"))
    assert bytes_ < 4 * call.query.nbytes + 2000


def test_files_are_mapped_not_loaded(tmp_path: Path) -> None:
    def held() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    if not Path("/proc/self/statm").is_file():
        pytest.skip("no /proc")
    size = 2**26
    given = torch.rand(1, 1, 64, size // 256)
    call = dataclasses.replace(odd().calls[1], given=given, position_bias=None)
    save_trace(Trace([call]), tmp_path / "kept")
    before = held()
    again = read_trace(tmp_path / "kept", verify=False)
    assert held() - before < size / 2
    assert torch.equal(again.calls[0].given, given)
    assert held() - before > size / 2  # control: used, it is there


# Whole or not at all


def test_a_full_folder_is_not_written_over(tmp_path: Path) -> None:
    made, folder = hand_made(), tmp_path / "kept"
    folder.mkdir()
    save_trace(made, folder)  # empty: welcome
    with pytest.raises(OutputError, match=r"holds a saved trace.*force=True"):
        save_trace(made, folder)
    other = odd()
    save_trace(other, folder, force=True)
    assert_same(other, read_trace(folder))
    assert sorted(os.listdir(folder)) == ["000.safetensors", "001.safetensors", "trace.json"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(OutputError, match="something other than a saved trace"):
            save_trace(hand_made(), tmp_path / "thesis", force=force)
    assert os.listdir(tmp_path / "thesis") == ["chapter.txt"]


@pytest.mark.parametrize("at", ["tensors", "rename"])
def test_a_write_that_fails_leaves_nothing_and_loses_nothing(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = hand_made(), tmp_path / "kept"
    save_trace(made, folder)

    def full(*_args: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace_files, {"tensors": "save_file", "rename": "put"}[at], full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        save_trace(odd(), folder, force=True)
    with pytest.raises(OutputError, match="No space left"):
        save_trace(odd(), tmp_path / "new")
    assert os.listdir(tmp_path) == ["kept"]
    assert_same(made, read_trace(folder))


def test_a_trace_read_from_a_folder_may_replace_it(tmp_path: Path) -> None:
    made = hand_made()
    save_trace(made, tmp_path / "kept")
    save_trace(read_trace(tmp_path / "kept"), tmp_path / "kept", force=True)
    assert_same(made, read_trace(tmp_path / "kept"))


# Refusals


def test_refusals_when_saving(tmp_path: Path) -> None:
    made = hand_made(gradients=False)
    with pytest.raises(UsageError, match="tokens of 1 examples were given, the trace has 2"):
        save_trace(made, tmp_path / "kept", tokens=[["a"]])
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        save_trace(made, tmp_path / "file" / "kept")
    sparse = dataclasses.replace(made.calls[0], sinks=torch.ones(4).to_sparse(), versions=())
    with pytest.raises(CaptureError, match=r"000\.sinks is torch\.sparse_coo"):
        save_trace(Trace([sparse]), tmp_path / "kept")
    with torch.no_grad():
        made.calls[0].output.zero_()
    with pytest.raises(CaptureError, match="'first': the model wrote over what was kept"):
        save_trace(made, tmp_path / "kept")
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    save_trace(hand_made(), tmp_path / "kept")
    return tmp_path / "kept"


def edited(folder: Path, change: Any) -> None:
    file = folder / "trace.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    change(settings)
    file.write_text(json.dumps(settings), encoding="utf-8")


def test_folders_that_are_no_trace(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read_trace(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="not a saved trace, or not a whole one"):
        read_trace(tmp_path / "other")
    (tmp_path / "other" / "clinometer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"It is a saved model: use load\(\)"):
        read_trace(tmp_path / "other")
    for text in ("[]", '{"kind": "notes"}'):
        (kept / "trace.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="is not the settings of a saved trace"):
            read_trace(kept)


def test_a_newer_schema_is_refused(kept: Path) -> None:
    edited(kept, lambda settings: settings.update(schema_version=2, versions={"clinometer": "9.9"}))
    with pytest.raises(
        DataError, match=r"has schema version 2; this Clinometer reads up to 1.*Clinometer 9\.9"
    ):
        read_trace(kept)
    for wrong in (0, "1", None):
        edited(kept, lambda settings, wrong=wrong: settings.update(schema_version=wrong))
        with pytest.raises(DataError, match="expected 1 to 1"):
            trace_settings(kept)


def test_damaged_settings(kept: Path) -> None:
    text = (kept / "trace.json").read_text(encoding="utf-8")
    (kept / "trace.json").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(DataError, match=r"trace\.json cannot be read"):
        read_trace(kept)
    (kept / "trace.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"trace\.json cannot be read"):
        read_trace(kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings.pop("tensors"),
        lambda settings: settings["calls"].clear(),
        lambda settings: settings["calls"][0].pop("kind"),
        lambda settings: settings["calls"][0].update(colour="red"),
        lambda settings: settings["calls"][0].update(rounded={"dtype": "nn"}),
        lambda settings: settings["calls"][0]["tensors"].update(query="nowhere"),
        lambda settings: settings["calls"][0]["tensors"].pop("gradient"),
        lambda settings: settings["tensors"]["000.query"].update(order=[0, 0, 0, 0]),
        lambda settings: settings.update(sampled={"first": "much"}),
    ],
)
def test_settings_that_do_not_hang_together(kept: Path, change: Any) -> None:
    edited(kept, change)
    with pytest.raises(DataError, match=r"trace\.json is damaged"):
        read_trace(kept)


def test_a_missing_a_short_and_a_damaged_file(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "copy")
    file = tmp_path / "copy" / "001.safetensors"
    whole_file = file.read_bytes()
    file.unlink()
    with pytest.raises(DataError, match=r"is incomplete: '001\.safetensors' missing"):
        read_trace(tmp_path / "copy")
    file.write_bytes(whole_file[:-8])
    with pytest.raises(DataError, match=rf"has {len(whole_file) - 8} bytes, {len(whole_file)} were written"):
        read_trace(tmp_path / "copy", verify=False)
    file.write_bytes(whole_file[:-1] + bytes([whole_file[-1] ^ 1]))
    with pytest.raises(DataError, match="its checksum is not the one written"):
        read_trace(tmp_path / "copy")
    file.write_bytes(b"\xff" * len(whole_file))
    with pytest.raises(DataError, match=r"001\.safetensors cannot be read"):
        read_trace(tmp_path / "copy", verify=False)
    file.write_bytes(whole_file)
    assert_same(read_trace(kept), read_trace(tmp_path / "copy"))  # control


def test_files_of_two_traces_do_not_mix(kept: Path) -> None:
    def renamed(settings: dict[str, Any]) -> None:
        settings["tensors"]["000.queries"] = settings["tensors"].pop("000.query")

    def reshaped(settings: dict[str, Any]) -> None:
        settings["tensors"]["000.query"]["shape"] = [2, 4, 6, 3]

    def recast(settings: dict[str, Any]) -> None:
        settings["tensors"]["000.query"]["dtype"] = "float32"

    original = (kept / "trace.json").read_text(encoding="utf-8")
    for change, message in (
        (renamed, "is of another trace: '000.queries', '000.query'"),
        (reshaped, r"000.query is torch.float64 \[2, 4, 6, 2\], trace.json says float64 \[2, 4, 6, 3\]"),
        (recast, "trace.json says float32"),
    ):
        edited(kept, change)
        with pytest.raises(DataError, match=message):
            read_trace(kept)
        (kept / "trace.json").write_text(original, encoding="utf-8")


def test_a_field_that_cannot_be_stored_is_refused_not_dropped(tmp_path: Path, shapes_unchecked: None) -> None:
    made = hand_made()
    odd_call = dataclasses.replace(made.calls[0], window=(3, 4), versions=())
    with pytest.raises(CaptureError, match="first: window is a tuple, which cannot be stored"):
        save_trace(Trace([odd_call]), tmp_path / "kept")


def test_what_is_left_out_of_a_call_is_what_only_tracing_needs() -> None:
    assert trace_files.NOT_STORED == LEFT_OUT
    assert {field.name for field in dataclasses.fields(Call)} >= LEFT_OUT
