"""Recordings: Whisper and models over samples; padding, silence as baseline, names in seconds, refusals."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.tracing import certify, trace
from clinometer.records import Rows
from reference.model_folders import speech_folder, whisper_folder

# WavLM of transformers hands torch masks of two types.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

WHISPER = ("WhisperForConditionalGeneration", "WhisperForAudioClassification")


def recordings(*lengths, seed=0, rate=None, **columns):
    generator = np.random.default_rng(seed)
    made = np.empty(len(lengths), dtype=object)
    for i, n in enumerate(lengths):
        made[i] = (np.sin(np.arange(n) * (0.05 + 0.1 * i)) + 0.3 * generator.normal(size=n)).astype(
            np.float32
        )
    inputs = {"audio": made} | {name: np.array(values) for name, values in columns.items()}
    if rate is not None:
        inputs["rate"] = np.array([rate] * len(lengths))
    return Rows(ids=tuple(f"r{i}" for i in range(len(lengths))), inputs=inputs)


@pytest.fixture(scope="module", params=["Wav2Vec2", "Hubert", "WavLM", *WHISPER])
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    if request.param in WHISPER:
        how = {"candidates": ("yes", "no")} if request.param == WHISPER[0] else {}
        return load(whisper_folder(folder, request.param), **how), recordings(16000, 9000, 4001)
    return load(speech_folder(folder, request.param)), recordings(900, 533, 260)


def test_a_padded_recording_scores_as_it_does_alone(loaded):
    subject, rows = loaded
    alone = [score(subject, rows.take([i]))[0] for i in range(3)]
    np.testing.assert_allclose(score(subject, rows), alone, atol=1e-5)
    assert np.ptp(alone) > 1e-3


def test_names_are_the_positions_of_the_encoders_maps(loaded):
    subject, rows = loaded
    for i, names in enumerate(subject.names(rows)):
        seen = trace(subject, rows.take([i]))
        encoder = [call for call in seen.calls if "decoder" not in call.layer]
        assert encoder
        assert all(call.n_keys == len(names) for call in encoder)
        crossed = [call for call in seen.calls if call.kind == "cross"]
        assert all(call.n_keys == len(names) for call in crossed)
        assert names[1] == "0.02 s"
        if subject.decoder_names:
            assert crossed and all(call.n_queries == len(subject.decoder_names(rows)[i]) for call in crossed)
    assert max(certify(subject, rows)["layers"].values()) < 1e-5


def test_running_from_its_own_embeddings_changes_nothing(loaded):
    subject, rows = loaded
    batch = subject.encode(rows)
    with torch.no_grad():
        plain = subject.forward(batch, None)
        assert torch.allclose(plain, subject.forward(batch, subject.embed(batch)), atol=1e-6)
        assert not torch.allclose(plain, subject.forward(batch, subject.reference(batch)), atol=1e-3)


def test_attributions_add_up_from_silence(loaded):
    subject, rows = loaded
    result = attribute(subject, rows, most_nodes=1280)
    assert result.converged.all()
    assert "silent recording" in subject.baseline
    for i, names in enumerate(subject.names(rows)):
        assert np.abs(result.scores[i, len(names) :]).max(initial=0.0) < 1e-6, "padding gets nothing"
    silent = [np.zeros_like(recording) for recording in rows.inputs["audio"]]
    audio = np.empty(3, dtype=object)
    audio[:] = silent
    quiet = Rows(ids=rows.ids, inputs={"audio": audio})
    np.testing.assert_allclose(result.base_value, score(subject, quiet), atol=1e-4)


def test_a_model_that_normalises_over_time_takes_one_length_per_batch(tmp_path):
    subject = load(speech_folder(tmp_path, norm="group"))
    rows = recordings(900, 533)
    with pytest.raises(DataError, match=r"normalises over time.*533 to 900.*batch_size=1"):
        score(subject, rows)
    assert np.isfinite(score(subject, rows, batch_size=1)).all()
    same = recordings(500, 500)
    alone = [score(subject, same.take([i]))[0] for i in range(2)]
    np.testing.assert_allclose(score(subject, same), alone, atol=1e-5)


def test_a_table_of_recordings_reads_as_a_list_of_them(tmp_path):
    subject = load(speech_folder(tmp_path))
    rows = recordings(400, 400)
    table = Rows(ids=rows.ids, inputs={"audio": np.stack(list(rows.inputs["audio"]))})
    assert np.array_equal(score(subject, rows), score(subject, table))


def test_whisper_reads_the_decoders_prefix(tmp_path):
    subject = load(whisper_folder(tmp_path), candidates=("yes", "no"))
    rows = recordings(16000, 9000, target_text=["the answer is", "no"])
    assert subject.decoder_names(rows) == (("<s>", "the", "answer", "is"), ("<s>", "no"))
    alone = [score(subject, rows.take([i]))[0] for i in range(2)]
    np.testing.assert_allclose(score(subject, rows), alone, atol=1e-5)
    assert not np.allclose(score(subject, recordings(16000, 9000)), alone, atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (recordings(5), "do not have the 25 samples.*'r0' with 5"),
        (recordings(400, rate=8000), "not at 1000 samples per second"),
        (Rows(ids=("r0",), inputs={"audio": np.zeros((1, 400), np.int16)}), "int16.*32768"),
        (Rows(ids=("r0",), inputs={"audio": np.zeros((1, 2, 400), np.float32)}), "one channel"),
        (Rows(ids=("r0",), inputs={"audio": np.full((1, 400), np.nan)}), "finite"),
        (Rows(ids=("r0",), inputs={"sound": np.zeros((1, 400))}), "'audio', which is missing"),
    ],
)
def test_recordings_the_model_cannot_read_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        score(load(speech_folder(tmp_path)), rows)


def test_a_recording_longer_than_whispers_window_is_refused(tmp_path):
    with pytest.raises(DataError, match="1 to 16000 samples"):
        score(load(whisper_folder(tmp_path)), recordings(20000))


def test_another_kind_of_speech_model_is_refused(tmp_path):
    from transformers import ASTConfig, ASTFeatureExtractor

    from reference.model_folders import labelled, save_random

    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=64,
        num_mel_bins=16,
        **labelled("a", "b"),
    )
    save_random(tmp_path, "ASTForAudioClassification", config)
    ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no convolutions over samples.*wrap\(\)"):
        load(tmp_path)
