"""The body of `pipeline-test`: held-out documents through chunks, encoder, models and decoder, and back to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lvm_lab import logs
from lvm_lab.config import binding
from lvm_lab.config.presets import Preset
from lvm_lab.errors import UserError
from lvm_lab.files import write_report
from lvm_lab.judge import baselines, options
from lvm_lab.reporting import pipeline as pipeline_report
from lvm_lab.runs import selecting as selection
from lvm_lab.text.encoder_choice import Option
from lvm_lab.text.smoother import open_smoother


@dataclass(frozen=True)
class PipelineSettings:
    """The settings of conf/pipeline_test.yaml. decoder, encoder, chunker, smoother: nodes of their options; None: those
    by which the data came about, and no smoother. store: one source of vectors with texts, or several; None: the first
    run's own data."""

    decoder: dict[str, Any]
    part: Literal["val", "test", "ood"]
    documents: int
    baselines: list[str]
    seed: int
    store: str | list[str] | None = None
    encoder: dict[str, Any] | None = None
    chunker: dict[str, Any] | None = None
    smoother: dict[str, Any] | None = None
    cache: str | None = None

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> PipelineSettings:
        """Raises UserError with the setting's name for what does not fit."""
        if config.get("decoder") is None:
            raise UserError("decoder=null leaves vectors without texts; take decoder=retrieval.")
        settings: PipelineSettings = binding.dataclass_from(cls, config, "")
        if settings.documents < 1:
            raise UserError(f"documents={settings.documents} leaves nothing to go through; set 1 or more.")
        if settings.seed < 0:
            raise UserError(f"seed={settings.seed} does not fit; give it a whole number from 0.")
        for place, name in enumerate(settings.baselines):
            if name in settings.baselines[:place]:
                raise UserError(f"baselines names {name} twice; name it once.")
            options.check_stem(baselines.__name__, name, "baselines")
        return settings

    @property
    def data(self) -> dict[str, Any] | None:
        """The data node of the store, where one is named."""
        return {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": self.store} if self.store else None


@dataclass(frozen=True)
class Report:
    """numbers: everything, ready for JSON (docs/pipeline-test.md has its shape). skipped: by path, why it was passed
    over."""

    numbers: dict[str, Any]
    skipped: dict[str, str]

    def show(self, file: Path | None = None) -> None:
        """On the terminal, and in a file as JSON where one is named."""
        pipeline_report.show(self.numbers, self.skipped, logs.to_terminal())
        if file is not None:
            write_report(file, self.numbers)


def pipeline_test(
    models: list[str],
    config: dict[str, Any],
    option: Option,
    device: str = "auto",
    allow: Sequence[str] = (),
) -> Report:
    """Every checkpoint that `models` name, beside baselines, on the same windows. config: of conf/pipeline_test.yaml;
    option, device, allow: as of `jobs.decoding.decode_all`.

    Raises UserError where there is no checkpoint, for data without texts, and for parts that do not go together.
    """
    settings = PipelineSettings.from_dict(config)
    smoother = open_smoother(settings.smoother)
    checkpoints, skipped = selection.find(models)
    if not checkpoints:
        raise UserError(next(iter(skipped.values())))
    # Torch comes in only now: a mistake in the settings is told without it.
    from lvm_lab.config.settings import DeviceSettings
    from lvm_lab.jobs import candidates
    from lvm_lab.jobs.passages import PassageTest, Run
    from lvm_lab.jobs.shared_ground import grounds_of
    from lvm_lab.scoring.labels import model_labels

    where = candidates.judging_device(DeviceSettings(accelerator=device))
    loaded = [candidates.load(checkpoint.file, where, allow) for checkpoint in checkpoints]
    grounds = grounds_of(
        loaded,
        checkpoints,
        [settings.part],
        Preset("pipeline-test", {}, seed=settings.seed),
        instead="store=STORE",
        data=settings.data,
        cache=settings.cache,
        allow=allow,
    )
    named = [(one.file, model.config) for one, model in zip(checkpoints, loaded, strict=True)]
    labels = model_labels(named, taken=pipeline_report.CONTROLS)
    runs = [
        Run(name, str(checkpoint.file), model.forward, ground)
        for name, checkpoint, model, ground in zip(labels, checkpoints, loaded, grounds, strict=True)
    ]
    return Report(PassageTest(settings, option, where, smoother).of(runs), skipped)
