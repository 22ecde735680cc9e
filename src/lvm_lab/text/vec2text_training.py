"""vec2text's models (`decoders/vec2text.py`) trained further through the library's own trainers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lvm_lab.config.decoder_training import DecoderTraining
from lvm_lab.errors import UserError
from lvm_lab.text.decoders.vec2text import EXTRA, Vec2Text, silently, without_metrics
from lvm_lab.text.installed import needed


def train(
    decoder: Vec2Text, texts: list[str], held_out: list[str], settings: DecoderTraining, out: Path, work: Path
) -> dict[str, tuple[float, float]]:
    """Train a decoder's models and save them to out/inversion and out/corrector. work: a folder for the library.

    As in the library, the embedder makes the vectors of the texts as they are cut, and the corrector learns from what
    the inversion model, trained by then, writes. Returns by model the mean loss on what is held out, before and after.
    """
    library, transformers = needed("vec2text", EXTRA), needed("transformers", EXTRA)
    transformers.set_seed(settings.seed)
    model, losses = decoder.inversion_model, dict[str, tuple[float, float]]()
    for one in (model, decoder.corrector_model):
        if one is not None:
            one.config.max_seq_length = settings.max_tokens
    for name, parameter in model.named_parameters():
        # A corrector that decodes has frozen all of it; the embedder makes the vectors and stays as it is.
        parameter.requires_grad = not name.startswith("embedder.")
    arguments = transformers.TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        seed=settings.seed,
        use_cpu=decoder.torch_device.type == "cpu",
        bf16=decoder.torch_device.type == "cuda",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    with silently(), without_metrics():
        data = {"train": _tokenised(library, model, texts), "held_out": _tokenised(library, model, held_out)}
        inversion = library.trainers.InversionTrainer(
            model=model,
            args=arguments,
            train_dataset=data["train"],
            eval_dataset=data["held_out"],
            data_collator=transformers.DataCollatorForSeq2Seq(
                model.tokenizer, label_pad_token_id=-100, padding="max_length", max_length=settings.max_tokens
            ),
        )
        losses["inversion"] = _trained(transformers, inversion, data["held_out"], out / "inversion")
        if decoder.corrector_model is not None:
            corrector = _corrector(library)(
                model=decoder.corrector_model,
                inversion_trainer=inversion,
                args=arguments,
                data_collator=library.collator.DataCollatorForCorrection(tokenizer=model.tokenizer),
            )
            corrector.eval_dataset = corrector.with_hypotheses(data["held_out"])
            losses["corrector"] = _trained(transformers, corrector, corrector.eval_dataset, out / "corrector")
    return losses


def _tokenised(library: Any, model: Any, texts: list[str]) -> Any:
    """What vec2text's trainers read of texts."""
    datasets = needed("datasets", EXTRA)
    read = library.tokenize_data.tokenize_function(
        model.tokenizer, model.embedder_tokenizer, "text", model.config.max_seq_length
    )
    rows = datasets.Dataset.from_dict({"text": texts}).map(
        read, batched=True, remove_columns=["text"], keep_in_memory=True
    )
    return rows.with_format("pt")


def _trained(transformers: Any, trainer: Any, held_out: Any, folder: Path) -> tuple[float, float]:
    before = _loss(transformers, trainer, held_out)
    trainer.train()
    after = _loss(transformers, trainer, held_out)
    if not after < float("inf"):
        raise UserError("the held-out loss is not finite; train again with a lower --learning-rate.")
    trainer.model.save_pretrained(folder)
    return before, after


def _loss(transformers: Any, trainer: Any, held_out: Any) -> float:
    """Without the texts and metrics of them that vec2text's own evaluation makes, which needs a hub."""
    loader = trainer.get_eval_dataloader(held_out)
    output = transformers.Trainer.evaluation_loop(
        trainer, loader, "held out", prediction_loss_only=True, metric_key_prefix="eval"
    )
    return float(output.metrics["eval_loss"])


def _corrector(library: Any) -> Any:
    """The library's trainer of correctors, whose `compute_loss` is one of older transformers, and which writes the
    hypotheses to a shared cache by several processes, which a GPU refuses."""

    class Corrector(library.trainers.Corrector):
        train_dataset: Any

        def with_hypotheses(self, rows: Any) -> Any:
            self.model.eval().to(self.args.device)
            self.inversion_trainer.model.eval().to(self.args.device)
            write = partial(self._precompute_hypothesis_and_embedding, collator=self.data_collator)
            size = 2 * self.args.train_batch_size
            return rows.map(write, batched=True, batch_size=size, keep_in_memory=True).with_format("pt")

        def precompute_hypotheses(self) -> None:
            self.train_dataset = self.with_hypotheses(self.train_dataset)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return super().compute_loss(model, inputs)

    return Corrector
