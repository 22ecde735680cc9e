"""The planted world repeats itself, its variants touch the training part alone, and only its oracle knows the rule.

Shape suffixes: W windows, L context length, D vector dim.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lvm_lab.config.data import DataSettings
from lvm_lab.config.presets import Preset
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.planted_oracle import Oracle
from lvm_lab.data.sources.planted import VARIANTS, PlantedWorld
from lvm_lab.data.split import part_of
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.global_mean import GlobalMean
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.data_gate import data_gate
from lvm_lab.judge.five_cat import measure
from lvm_lab.types import Predictor

CONF = Path(__file__).parents[2] / "conf"
# Every parameter is set: the defaults are a matter of taste.
WORLD = PlantedWorld(
    dim=128,
    documents=120,
    ood_documents=40,
    length=24,
    planes=24,
    angle=1.0,
    speeds=(1.0, 0.3),
    ood_speed=0.6,
    topics=64,
    topic_dims=32,
    topic_norm=0.4,
    noise_low=0.4,
    noise_high=0.8,
    seed=0,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("planted")


def vectors(world: PlantedWorld, cache: Path, part: str) -> np.ndarray:
    """documents x length x D of one part, or of the out-of-domain store."""
    store, ood = world.stores(cache)
    if part == "ood":
        return np.array(ood.vectors_ND).reshape(-1, world.length, world.dim)
    chosen = [part_of(key) == part for key in store.documents.names()]
    return np.array(store.vectors_ND).reshape(-1, world.length, world.dim)[chosen]


def parts_of(world: PlantedWorld, cache: Path) -> Parts:
    return cut_parts(world.open(cache, DataSettings()), DataSettings(), cache, every_position=False)


@pytest.fixture(scope="module")
def parts(home) -> Parts:
    return parts_of(WORLD, home)


def test_equal_parameters_give_equal_worlds(home, tmp_path):
    for one, again in zip(WORLD.stores(home), replace(WORLD).stores(tmp_path), strict=True):
        assert one.path != again.path
        assert np.array_equal(one.vectors_ND, again.vectors_ND)
        assert one.content == again.content
    assert WORLD.content == replace(WORLD).content


def test_a_world_is_made_once_and_then_opened(tmp_path):
    small = replace(WORLD, documents=6, ood_documents=3)
    first, _ = small.stores(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert small.stores(tmp_path)[0].path == first.path
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("part", ["train", "ood"])
def test_another_seed_is_another_world(home, part):
    other = replace(WORLD, seed=1)
    assert other.content != WORLD.content
    assert not np.isclose(vectors(WORLD, home, part), vectors(other, home, part)).all(axis=-1).any()


def test_every_parameter_enters_the_content():
    special = {"speeds": (1.0, 0.2), "ood_speed": 0.7, "variant": "shuffled", "noise_low": 0.5}
    names = WORLD.__dataclass_fields__
    contents = {replace(WORLD, **{n: special.get(n) or getattr(WORLD, n) + 1}).content for n in names}
    assert len(contents | {WORLD.content}) == len(names) + 1


def test_vectors_are_unit_and_documents_are_whole(home):
    store, ood = WORLD.stores(home)
    assert len(store.documents) == 120
    assert len(ood.documents) == 40
    assert not set(store.documents.names()) & set(ood.documents.names())
    assert store.contract.normalised
    assert store.contract.conflict(ood.contract) is None
    for opened in (store, ood):
        assert np.linalg.norm(opened.vectors_ND, axis=1) == pytest.approx(1, abs=1e-6)


def test_more_documents_leave_the_first_as_they_are(home, tmp_path):
    few = np.array(replace(WORLD, documents=30).stores(tmp_path)[0].vectors_ND)
    assert np.array_equal(few, WORLD.stores(home)[0].vectors_ND[: 30 * 24])


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "forward"])
def test_a_variant_changes_training_documents_alone(home, variant):
    world = replace(WORLD, variant=variant)
    for part in ("val", "test", "ood"):
        assert np.array_equal(vectors(world, home, part), vectors(WORLD, home, part)), part
    changed = vectors(world, home, "train") != vectors(WORLD, home, "train")
    assert changed.any(axis=(1, 2)).all()


def test_reversed_is_forward_turned_round(home):
    turned = vectors(replace(WORLD, variant="reversed"), home, "train")
    assert np.array_equal(turned, vectors(WORLD, home, "train")[:, ::-1])


def test_shuffled_keeps_each_documents_chunks(home):
    mixed, forward = vectors(replace(WORLD, variant="shuffled"), home, "train"), vectors(WORLD, home, "train")
    for one, other in zip(mixed, forward, strict=True):
        assert sorted(map(bytes, one)) == sorted(map(bytes, other))
        assert not np.array_equal(one, other)


def test_no_signal_has_neither_a_rule_nor_a_topic(home):
    chunks = vectors(replace(WORLD, variant="no_signal"), home, "train")
    neighbours = (chunks[:, 1:] * chunks[:, :-1]).sum(-1)
    assert abs(neighbours.mean()) < 0.02
    forward = vectors(WORLD, home, "train")
    assert (forward[:, 1:] * forward[:, :-1]).sum(-1).mean() > 0.4


def test_a_fold_turns_round_its_own_training_part(tmp_path):
    world = replace(WORLD, variant="reversed", documents=40, ood_documents=2)
    forward = np.array(replace(world, variant="forward").stores(tmp_path)[0].vectors_ND).reshape(40, 24, 128)
    for fold in (0, 1):
        store, _ = world.stores(tmp_path, fold)
        found = np.array(store.vectors_ND).reshape(40, 24, 128)
        trained = [part_of(key, fold) == "train" for key in store.documents.names()]
        same = (found == forward).all(axis=(1, 2))
        assert same.tolist() == [not t for t in trained]


def test_the_data_gate_sees_missing_order_and_cannot_see_the_wrong_one(home):
    """A world read backwards looks as predictable as one read forwards: the gate is necessary, not sufficient."""
    gates = {v: data_gate(parts_of(replace(WORLD, variant=v), home).train) for v in VARIANTS}
    assert {variant: gate["passed"] for variant, gate in gates.items()} == {
        "forward": True,
        "reversed": True,
        "shuffled": False,
        "no_signal": False,
    }
    assert gates["forward"]["failed"] == []
    assert gates["reversed"]["signal"] == pytest.approx(gates["forward"]["signal"], abs=0.02)
    for variant in ("shuffled", "no_signal"):
        failed = " ".join(gates[variant]["failed"])
        assert "coherence" in failed
        assert "signal" in failed


def test_the_data_gates_numbers_are_those_of_a_loop(parts):
    windows = parts.train.select(np.arange(0, 600, 7))
    context = windows.context()
    targets = windows.vectors(windows.target_row_W)
    gate = data_gate(windows)
    curve = [np.mean([c[place] @ t for c, t in zip(context, targets, strict=True)]) for place in range(5)]
    coherence = np.mean([c[i] @ c[i + 1] for c in context for i in range(4)])
    assert gate["curve"] == pytest.approx(curve, abs=1e-4)
    assert gate["signal"] == pytest.approx(curve[4] - curve[0], abs=1e-5)
    assert gate["coherence"] == pytest.approx(coherence, abs=1e-5)
    assert gate["windows"] == len(windows)
    assert data_gate(parts.train, at_most=50)["windows"] == 50


def test_the_data_gate_tells_a_curve_that_is_not_monotone(make_store):
    """The target is nearest to the last vector, then to the first: a corpus that jumps."""
    steps = np.zeros((6, 4), np.float32)
    steps[:, 0] = [0.9, 0.8, 0.85, 0.9, 0.99, 1.0]
    steps[:, 1] = np.sqrt(1 - steps[:, 0] ** 2)
    many = index_windows(make_store([6] * 9, vectors_ND=np.tile(steps, (9, 1))), np.arange(9), 5)
    gate = data_gate(many)
    assert gate["failed"] == ["the position curve is not monotone"]
    assert not gate["passed"]
    assert data_gate(many.select(np.array([0])))["failed"] == [], "of one document no fall is clear"


def test_the_oracle_reads_the_context_alone(parts):
    oracle = parts.oracle
    assert oracle is not None
    predict = oracle("cpu")
    context_BLD = torch.from_numpy(parts.val.context(slice(0, 40)))
    whole = predict(context_BLD)
    assert torch.allclose(whole.unit_ND.norm(dim=1), torch.ones(40))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predict(context_BLD[order]).raw_ND, whole.raw_ND[order], rtol=0, atol=1e-5)
    alone = torch.cat([predict(context_BLD[i : i + 1]).raw_ND for i in range(40)])
    torch.testing.assert_close(alone, whole.raw_ND, rtol=0, atol=1e-5)
    same = predict(context_BLD[:1].expand(3, -1, -1)).raw_ND
    assert torch.equal(same[0], same[1])
    # A second oracle has no memory of the first one's calls.
    assert torch.equal(Oracle(WORLD)(context_BLD).raw_ND, whole.raw_ND)


def cosine(predictor: Predictor, windows: Windows) -> float:
    predicted = predictor(torch.from_numpy(windows.context())).unit_ND
    return float(torch.cosine_similarity(predicted, torch.from_numpy(windows.vectors(windows.target_row_W))).mean())


@pytest.mark.parametrize("part", ["val", "test", "ood"])
def test_the_oracle_beats_what_knows_no_rule_by_far(parts, part):
    windows = getattr(parts, part)
    best = cosine(Oracle(WORLD), windows)
    assert best > 0.8
    for cheat in (CopyLast(), MeanOfContext(), GlobalMean(parts.stats.mean_D)):
        assert cosine(cheat, windows) < best - 0.2


def test_the_oracle_needs_the_order_of_its_context(parts):
    oracle, context = Oracle(WORLD), torch.from_numpy(parts.val.context())
    target = torch.from_numpy(parts.val.vectors(parts.val.target_row_W))

    def cos(context_BLD) -> float:
        return float(torch.cosine_similarity(oracle(context_BLD).unit_ND, target).mean())

    assert cos(context) - cos(context.flip(1)) > 0.25
    # One vector does not say how fast a document turns.
    assert cos(context) - cos(context[:, -1:]) > 0.1


@pytest.fixture(scope="module")
def smoke() -> Preset:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("train", overrides=["five_cat=smoke", "five_cat.resamples=50"])
    return Preset.from_dict(OmegaConf.to_container(composed.five_cat, resolve=True))  # type: ignore[arg-type]


def test_the_oracle_passes_what_can_be_measured(parts, smoke):
    judged = measure(Oracle(WORLD), parts.val, parts.ood, smoke)
    assert {letter for letter, gate in judged.gates.items() if gate.state} >= set("ABCD")
    assert judged.gates["E"].state is not False
    assert judged.alarms == []
    assert judged.val.best_k == judged.ood.best_k == 1


def test_copy_last_is_called_what_it_is(parts, smoke):
    assert {alarm.name for alarm in measure(CopyLast(), parts.val, parts.ood, smoke).alarms} == {"copying"}


@pytest.mark.slow
def test_the_default_world_passes_the_data_gate_and_no_trivial_predictor_passes_it(tmp_path, smoke):
    """What README promises of the default run's data, on the windows that it is judged on."""
    parts = parts_of(PlantedWorld(), tmp_path)
    assert data_gate(parts.train)["failed"] == []
    whole = replace(smoke, eval_windows=2000)
    for cheat in (CopyLast(), MeanOfContext(), GlobalMean(parts.stats.mean_D)):
        judged = measure(cheat, parts.val, parts.ood, whole)
        assert not {letter for letter, gate in judged.gates.items() if gate.state} & set("ABD")
        assert judged.passed <= 2
    assert measure(Oracle(PlantedWorld()), parts.val, parts.ood, whole).passed == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "sideways"}, "data.variant=sideways does not exist; choose one of forward, reversed"),
        ({"dim": 79}, "data.dim=79 is too small .* set data.dim to 80 or more"),
        ({"ood_speed": 1.1}, "data.ood_speed=1.1 is not between the trained speeds"),
    ],
)
def test_a_world_that_cannot_be_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        replace(WORLD, **changes)


def test_texts_name_each_chunk_and_change_no_vector(tmp_path: Path) -> None:
    small = {"dim": 80, "documents": 12, "ood_documents": 5}
    plain, told = (PlantedWorld(**small, texts=texts) for texts in (False, True))
    assert plain.content == PlantedWorld(**small).content != told.content
    for without, having in zip(plain.stores(tmp_path), told.stores(tmp_path), strict=True):
        assert np.array_equal(without.vectors_ND, having.vectors_ND)
        assert without.texts() is None
        texts = having.texts()
        assert texts is not None
        assert len({*texts}) == len(texts) == len(having.vectors_ND)
    assert texts[21] == "Chunk 1 of document 1 in the world planted_ood."
