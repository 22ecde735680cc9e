"""`decoder=vec2text`: text written anew, by the inversion and correction models of the library vec2text.

Morris et al. 2023 (arXiv:2310.06816), https://github.com/jxmorris12/vec2text: one model writes a first text for a
vector, another corrects it by the difference of its own vector to the one that is decoded, step by step.

Shape suffixes: N vectors, B vectors of a batch, D vector dim.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lvm_lab.config.decoder_training import LONGEST
from lvm_lab.data.contract import PROBES, EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.decoder import Candidate, Decoder, Resources, cosines
from lvm_lab.text.devices import Device, device_of
from lvm_lab.text.hugging_face import loaded, name_of
from lvm_lab.text.installed import needed

if TYPE_CHECKING:
    import torch

EXTRA = "vec2text"
# What the library's names for embedders mean, of those whose space a contract can say.
EMBEDDERS = {
    "gtr_base": {
        "encoder": "sentence-transformers/gtr-t5-base",
        "library": "transformers",
        "pooling": "mean",
        "dense": False,
        "normalised": False,
    }
}
# Of the published models and any that are trained on: T5-base has 220 million parameters.
PARAMETERS = 100_000_000
# The mean round-trip cosine that such models give at the least.
EXPECTED = 0.60
# Probe sentences of more tokens may be cut elsewhere by the encoder.
CERTAINLY_READ = 32


class Vec2Text(Decoder):
    """inversion, corrector: folders, or names at Hugging Face, as are the models that their configs name.

    encoder_name: what the contract of the vectors calls the encoder; None: as the inversion model's config does.
    steps: of correction. beam: texts that are kept from step to step. batch_size: vectors at once.
    """

    places: ClassVar[tuple[str, ...]] = ("inversion", "corrector")
    single = True

    def __init__(
        self,
        inversion: str = "jxm/gtr__nq__32",
        corrector: str | None = "jxm/gtr__nq__32__correct",
        encoder_name: str | None = None,
        *,
        steps: int = 5,
        beam: int = 1,
        batch_size: int = 16,
        device: Device = "auto",
    ) -> None:
        for name, value, least in (("steps", steps, 0), ("beam", beam, 1), ("batch_size", batch_size, 1)):
            if value < least:
                raise UserError(f"decoder.{name}={value} does not fit; set {least} or more.")
        if steps and corrector is None:
            raise UserError(f"decoder.steps={steps} needs a corrector; name one, or set decoder.steps=0.")
        if beam > 1 and not steps:
            raise UserError(f"decoder.beam={beam} needs steps of correction; set decoder.steps=1 or more, or beam=1.")
        self.inversion, self.corrector, self.encoder_name = inversion, corrector, encoder_name
        self.steps, self.beam, self.batch_size, self.device = steps, beam, batch_size, device
        self._library: Any = None
        self._model: Any = None
        self._corrector: Any = None

    @property
    def source(self) -> str:
        return self.inversion

    def open(self, resources: Resources) -> None:
        self.load()

    def load(self) -> None:
        """Reads the models, which is all that `open` does."""
        self._library = needed("vec2text", EXTRA)
        transformers = needed("transformers", EXTRA)
        if int(transformers.__version__.partition(".")[0]) > 4:
            raise UserError(
                f"vec2text needs transformers 4 and {transformers.__version__} is installed; pip install "
                f"lvm_lab[{EXTRA}] in an environment of its own."
            )
        self._device = device_of(self.device, "decoder.device")
        models = self._library.models
        with silently():
            self._model = _load(self.inversion, "inversion", models.InversionModel)
            if self._model.config.embedder_model_api:
                raise UserError(
                    f"{self.inversion} reads vectors of an endpoint ({self._model.config.embedder_model_api}), which "
                    "every step would ask; name models of an encoder that runs here."
                )
            self._model.to(self._device).eval()
            if self.steps:
                assert self.corrector is not None
                corrector = _load(self.corrector, "corrector", models.CorrectorEncoderModel)
                self._corrector = self._joined(transformers, corrector)
        self._contract = self._described()
        count = sum(parameter.numel() for parameter in self._model.encoder_decoder.parameters())
        if count >= PARAMETERS:
            self.expected = EXPECTED
        else:
            self.notes = (
                f"{self.inversion} has {count:,} parameters and vec2text's published models 220 million, so that its "
                "texts prove plumbing alone",
            )

    def contract(self) -> EncoderContract:
        return self._contract

    @property
    def torch_device(self) -> torch.device:
        return self._device

    @property
    def inversion_model(self) -> Any:
        """Of the library, once it is loaded, and so is `corrector_model`; None where there is none."""
        return self._model

    @property
    def corrector_model(self) -> Any:
        return None if self._corrector is None else self._corrector.model

    def decode(self, vectors_ND: np.ndarray) -> list[list[Candidate]]:
        decoded: list[list[Candidate]] = []
        for start in range(0, len(vectors_ND), self.batch_size):
            vectors_BD = np.ascontiguousarray(vectors_ND[start : start + self.batch_size], dtype=np.float32)
            texts = self._texts(vectors_BD)
            scores = cosines(self._embedded(texts), vectors_BD).tolist()
            decoded += [[Candidate(text, score)] for text, score in zip(texts, scores, strict=True)]
        return decoded

    def _texts(self, vectors_BD: np.ndarray) -> list[str]:
        import torch

        with torch.no_grad(), silently():
            vectors = torch.from_numpy(vectors_BD).to(self._device)
            if self._corrector is None:
                greedy = {"num_beams": 1, "do_sample": False, "min_length": 1, "max_length": LONGEST}
                ids = self._model.generate(inputs={"frozen_embeddings": vectors}, generation_kwargs=greedy)
                return self._model.tokenizer.batch_decode(ids, skip_special_tokens=True)
            # The library takes 0 for no beam, and then keeps the last text and not the nearest.
            return self._library.invert_embeddings(
                vectors, self._corrector, num_steps=self.steps, sequence_beam_width=self.beam if self.beam > 1 else 0
            )

    def _embedded(self, texts: Sequence[str]) -> np.ndarray:
        """What vec2text's own embedder makes of texts, float32 B x D."""
        import torch

        tokens = self._model.embedder_tokenizer(
            list(texts), max_length=LONGEST, truncation=True, padding=True, return_tensors="pt"
        ).to(self._device)
        with torch.no_grad():
            vectors: torch.Tensor = self._model.call_embedding_model(tokens.input_ids, tokens.attention_mask)
        return vectors.float().cpu().numpy()

    def _described(self) -> EncoderContract:
        """The contract that the checkpoint's config names, with the short probe sentences as its embedder has them."""
        name = self._model.config.embedder_model_name
        facts: dict[str, Any] = EMBEDDERS.get(name, {"encoder": name_of(name)})
        if self.encoder_name is not None:
            facts = facts | {"encoder": self.encoder_name}
        counts = [len(ids) for ids in self._model.embedder_tokenizer(list(PROBES)).input_ids]
        probes = [probe for probe, count in zip(PROBES, counts, strict=True) if count <= CERTAINLY_READ]
        vectors = self._embedded(probes).astype(np.float64).tolist() if probes else []
        return EncoderContract(
            **facts, dim=int(self._model.embedder_dim), probes=dict(zip(probes, vectors, strict=True))
        )

    def _joined(self, transformers: Any, corrector: Any) -> Any:
        """What `vec2text.load_corrector` makes of both, on our device, without the folder `tmp_trainer` that it leaves
        here and the metrics that it loads from a hub; both are for training alone."""
        library = self._library
        with tempfile.TemporaryDirectory() as folder, without_metrics():
            arguments = transformers.TrainingArguments(
                output_dir=folder, report_to=[], use_cpu=self._device.type == "cpu"
            )
            inversion = library.trainers.InversionTrainer(
                model=self._model,
                args=arguments,
                data_collator=transformers.DataCollatorForSeq2Seq(self._model.tokenizer, label_pad_token_id=-100),
            )
            return library.trainers.Corrector(
                model=corrector.to(self._device).eval(),
                inversion_trainer=inversion,
                args=arguments,
                data_collator=library.collator.DataCollatorForCorrection(tokenizer=self._model.tokenizer),
            )


def _load(name: str, setting: str, kind: Any) -> Any:
    return loaded(name, kind.from_pretrained, setting=f"decoder.{setting}")


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Without what the library prints between a command's own lines."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def without_metrics() -> Iterator[None]:
    """The library's trainers load metrics from a hub when they are made; nothing that decodes asks for one."""
    evaluate = needed("evaluate", EXTRA)
    load = evaluate.load
    evaluate.load = lambda *names, **settings: None
    try:
        yield
    finally:
        evaluate.load = load
