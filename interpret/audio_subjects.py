"""Speech models of transformers as Subjects: a recording is a row of short frames."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, ModelError, did_you_mean, first
from ..records import Rows
from .language_subjects import Question, decoder_batch, decoder_start
from .models import Batch, Subject, label_index
from .placing import placed
from .replacing import replaced
from .text_subjects import widened
from .texts import Texts, read_tokenizer
from .weights import read_settings, unreadable


class _Recordings:
    """The column `audio`, as a model's feature extractor reads it: one channel, at one rate."""

    def __init__(self, path: Path, name: str) -> None:
        import transformers

        read_settings(path / "preprocessor_config.json")
        try:
            auto: Any = transformers.AutoFeatureExtractor
            self.extractor = auto.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise unreadable(path, error) from error
        self.name = name
        self.rate = int(self.extractor.sampling_rate)

    def read(self, rows: Rows, *, shortest: int = 1, longest: int | None = None) -> list[np.ndarray]:
        """Each row's samples, float32.

        Raises:
            DataError: no such column, another rate, or a recording that is no finite row of samples of a length
                the model reads.
        """
        if "audio" not in rows.inputs:
            raise DataError(
                f"the model {self.name} reads the column 'audio', which is missing: {did_you_mean('audio', rows.inputs)}"
            )
        if "rate" in rows.inputs:
            other = [rows.ids[i] for i, rate in enumerate(rows.inputs["rate"]) if int(rate) != self.rate]
            if other:
                raise DataError(
                    f"{len(other)} recordings are not at {self.rate} samples per second, which {self.name} expects; first "
                    f"rows: {first(other)}. Resample them first."
                )
        made = [np.asarray(recording) for recording in rows.inputs["audio"]]
        wrong = [
            i
            for i, samples in enumerate(made)
            if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all()
        ]
        if wrong:
            got = made[wrong[0]]
            raise DataError(
                f"{len(wrong)} recordings are not one channel of finite floating-point samples, first "
                f"{rows.ids[wrong[0]]!r} ({got.dtype}, shape {got.shape}). 16-bit samples are divided by 32768 first; two "
                "channels are averaged."
            )
        lengths = [len(samples) for samples in made]
        off = [i for i, n in enumerate(lengths) if n < shortest or (longest is not None and n > longest)]
        if off:
            most = f" to {longest}" if longest is not None else ""
            raise DataError(
                f"{len(off)} recordings do not have the {shortest}{most} samples that {self.name} reads, first "
                f"{rows.ids[off[0]]!r} with {lengths[off[0]]}. Cut or leave out such recordings."
            )
        return [samples.astype(np.float32) for samples in made]


class _Spectrogram:
    """Log-mel frames, as many to a token as the encoder reads at one position. They are the inputs themselves."""

    def __init__(self, recordings: _Recordings, model: Any, device: torch.device) -> None:
        self.recordings, self.device = recordings, device
        encoder = getattr(model, "encoder", None) or model.get_encoder()
        self.dtype = next(model.parameters()).dtype
        self.stride = int(encoder.conv1.stride[0] * encoder.conv2.stride[0])
        extractor = recordings.extractor
        self.n_positions = int(encoder.max_source_positions)
        self.longest = int(extractor.n_samples)
        self.step = extractor.hop_length * self.stride / recordings.rate
        if extractor.nb_max_frames != self.n_positions * self.stride:
            raise ModelError(
                f"the feature extractor gives {extractor.nb_max_frames} frames and the model reads "
                f"{self.n_positions * self.stride}: they belong to different models."
            )
        silence = self.features([np.zeros(self.longest, dtype=np.float32)])
        self.silence = self.embed({"input_features": silence})
        self.baseline = "a silent recording of the same length (the spectrogram's floor in every frame)"

    def features(self, made: list[np.ndarray]) -> Tensor:
        read = self.recordings.extractor(made, sampling_rate=self.recordings.rate, return_tensors="pt")
        return placed(torch.as_tensor(read["input_features"]), self.device, self.dtype)

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        return {"input_features": self.features(self.recordings.read(rows, longest=self.longest))}

    def names(self, rows: Rows) -> tuple[tuple[str, ...], ...]:
        return (tuple(f"{i * self.step:.2f} s" for i in range(self.n_positions)),) * len(rows)

    def embed(self, batch: Batch) -> Tensor:
        """(example, position, stride x mel): the frames of one encoder position side by side."""
        frames = batch["input_features"].transpose(1, 2)
        return frames.reshape(len(frames), -1, self.stride * frames.shape[2])

    def reference(self, batch: Batch) -> Tensor:
        return self.silence.expand(len(batch["input_features"]), -1, -1)

    def inputs(self, batch: Batch, embedded: Tensor | None) -> Tensor:
        """What the model reads, from tokens where given."""
        features = batch["input_features"]
        if embedded is None:
            return features
        return embedded.reshape(len(embedded), -1, features.shape[1]).transpose(1, 2)


class _Convolved:
    """The output of the convolutions that turn samples into frames: the model's own feature embedding."""

    def __init__(self, recordings: _Recordings, model: Any, device: torch.device) -> None:
        base = getattr(model, model.base_model_prefix, None)
        front = getattr(base, "feature_extractor", None)
        kernels = getattr(model.config, "conv_kernel", None)
        if front is None or kernels is None:
            raise ModelError(
                f"{type(model).__name__} has no convolutions over samples. Supported are models like Wav2Vec2, HuBERT and "
                "WavLM, and Whisper. For another one use clinometer.wrap()."
            )
        self.recordings, self.model, self.front, self.device = recordings, model, front, device
        self.dtype = next(model.parameters()).dtype
        self.hop = math.prod(model.config.conv_stride)
        self.shortest = 1
        for kernel, stride in reversed(list(zip(kernels, model.config.conv_stride, strict=True))):
            self.shortest = (self.shortest - 1) * stride + kernel
        self.masked = model.config.feat_extract_norm == "layer"
        self.baseline = "a silent recording of the same length (what the model's convolutions make of it)"

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        """Samples, normalised and padded.

        Raises:
            DataError: lengths differ and the model normalises over time, so that padding would change scores.
        """
        made = self.recordings.read(rows, shortest=self.shortest)
        lengths = {len(samples) for samples in made}
        if len(lengths) > 1 and not self.masked:
            raise DataError(
                f"{self.recordings.name} normalises over time (feat_extract_norm='group'), so that padding changes its "
                f"scores, and this batch has recordings of {min(lengths)} to {max(lengths)} samples. Use batch_size=1, or "
                "recordings of one length."
            )
        read = self.recordings.extractor(
            made,
            sampling_rate=self.recordings.rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        batch = {"input_values": placed(torch.as_tensor(read["input_values"]), self.device, self.dtype)}
        if self.masked:
            batch["attention_mask"] = placed(torch.as_tensor(read["attention_mask"]), self.device)
        return batch

    def names(self, rows: Rows) -> tuple[tuple[str, ...], ...]:
        made = self.recordings.read(rows, shortest=self.shortest)
        step = self.hop / self.recordings.rate
        counts = [1 + (len(samples) - self.shortest) // self.hop for samples in made]
        return tuple(tuple(f"{i * step:.2f} s" for i in range(n)) for n in counts)

    def embed(self, batch: Batch) -> Tensor:
        """(example, frame, width)."""
        made: Tensor = self.front(batch["input_values"]).transpose(1, 2)
        return made

    def reference(self, batch: Batch) -> Tensor:
        return self.embed({"input_values": torch.zeros_like(batch["input_values"])})

    def logits(self, batch: Batch, embedded: Tensor | None) -> Tensor:
        values, mask = batch["input_values"], batch.get("attention_mask")
        if embedded is None:
            return self.model(input_values=values, attention_mask=mask).logits  # type: ignore[no-any-return]
        # What the convolutions make is replaced, so the shortest input they accept will do for them.
        short = values[:, : self.shortest]
        with replaced(self.front, embedded.transpose(1, 2), same_shape=False):
            return self.model(input_values=short, attention_mask=mask).logits  # type: ignore[no-any-return]


def audio_classifier(
    path: Path, model: Any, *, labels: tuple[str, ...], positive: str | None, **common: Any
) -> Subject:
    """A classifier of recordings in the column `audio`: (example, sample) float32, or one array per row.

    Models over samples (Wav2Vec2) are explained from the output of their convolutions; models over a spectrogram
    (Whisper) from its frames.
    """
    recordings = _Recordings(path, common["name"])
    encoder = getattr(model, "encoder", None)
    embedding = (
        _Spectrogram(recordings, model, common["device"])
        if hasattr(encoder, "conv2")
        else _Convolved(recordings, model, common["device"])
    )

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        if isinstance(embedding, _Convolved):
            return widened(embedding.logits(batch, embedded))
        logits: Tensor = model(input_features=embedding.inputs(batch, embedded)).logits
        return widened(logits)

    return Subject(
        labels=labels,
        positive=label_index(labels, positive),
        encode=embedding.batch,
        forward=forward,
        optional=("rate",),
        **_recorded(model, embedding, common),
    )


def speech_to_text(
    path: Path, model: Any, *, candidates: tuple[str, ...] | None, positive: str | None, **common: Any
) -> Subject:
    """Whisper, asked for the decoder's next token after its start tokens and the column `target_text`, if there.

    The recording is in the column `audio`, at most as long as the model's window (30 seconds), at the rate of the
    folder's feature extractor.
    """
    encoder = model.get_encoder()
    if not hasattr(encoder, "conv2"):
        raise ModelError(
            f"{type(model).__name__} is not like Whisper: a spectrogram and two convolutions are expected before the "
            "encoder. For another model use clinometer.wrap()."
        )
    recordings = _Recordings(path, common["name"])
    embedding = _Spectrogram(recordings, model, common["device"])
    texts = Texts(read_tokenizer(path), model, common["name"], cut=False)
    question = Question.asked(texts, candidates, positive)
    start = list(getattr(texts.tokenizer, "prefix_tokens", [])) or decoder_start(model)

    def prefixes(rows: Rows) -> list[list[int]]:
        if "target_text" not in rows.inputs:
            return [start] * len(rows)
        given = texts.tokenizer(texts.texts(rows, "target_text"), add_special_tokens=False)["input_ids"]
        return [[*start, *(int(n) for n in ids)] for ids in given]

    def at(batch: Batch, embedded: Tensor | None) -> Tensor:
        logits = model(
            input_features=embedding.inputs(batch, embedded),
            decoder_input_ids=batch["decoder_input_ids"],
            decoder_attention_mask=batch["decoder_attention_mask"],
            use_cache=False,
        ).logits
        position = batch["position"].to(logits.device)
        rows = torch.arange(len(position), device=logits.device)
        return widened(logits[rows if position.dim() == 1 else rows[:, None], position])

    def encode(rows: Rows) -> Batch:
        batch = {**embedding.batch(rows), **decoder_batch(texts, prefixes(rows), common["device"])}
        return question.with_choice(batch, at)

    return Subject(
        labels=question.labels,
        positive=question.positive,
        says=question.words(
            int(model.config.vocab_size),
            "next token of the decoder (its first, or the one after target_text)",
        ),
        encode=encode,
        forward=lambda batch, embedded: question.select(at(batch, embedded), batch),
        decoder_names=lambda rows: tuple(texts.tokens(row) for row in prefixes(rows)),
        decode=lambda numbers: texts.tokens([int(n) for n in numbers]),
        whole=at,
        optional=("target_text", "rate"),
        numbers=question.numbers,
        spell=texts.spell,
        **_recorded(model, embedding, common),
    )


def _recorded(model: Any, embedding: "_Spectrogram | _Convolved", common: dict[str, Any]) -> dict[str, Any]:
    """What all Subjects of recordings share."""
    return {
        "module": model,
        "threshold": 0.0,
        "baseline": embedding.baseline,
        "prefix": (),
        "columns": ("audio",),
        "names": embedding.names,
        "embed": embedding.embed,
        "reference": embedding.reference,
        **common,
    }
