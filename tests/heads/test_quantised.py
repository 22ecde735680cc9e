"""Quantised concepts: codes against FAISS's own, codebooks that are fitted on train alone, the head, its loss, its run.

Shape suffixes: B windows, L context length, D vector dim, H hidden dim, N rows, Q levels, K codes a level.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

import lvm_lab
from helpers.commands import finish, fork
from helpers.parity.quantised import CODES, DIM, LEVELS, WIDTH, clustered, comparisons, fitted, of_faiss
from lvm_lab.build import codebooks as build_codebooks
from lvm_lab.build import data as build_data
from lvm_lab.build.training import module
from lvm_lab.commands.launch import conf_dir
from lvm_lab.config.data import DataSettings
from lvm_lab.config.settings import Settings
from lvm_lab.config.settings import settings as typed
from lvm_lab.data import codebooks
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.seen import rows_of
from lvm_lab.data.source import Opened
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.heads.quantised import QuantisedHead
from lvm_lab.losses.codes import Codes
from lvm_lab.nn.noise import Draws
from lvm_lab.nn.quantiser import Codebooks, Kind
from lvm_lab.types import Batch, Prediction, Reading, Stats

CONF = conf_dir()
LOSSES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))
KINDS: tuple[Kind, ...] = ("residual", "product")
LENGTH = 5
SMALL = ("arch=gru", "arch.width=16", "arch.layers=1", "head=quantised", "loss=codes", "head.hidden=16")
SMALL = (*SMALL, f"head.levels={LEVELS}", f"head.codes={CODES}", "logger=none", "device=cpu")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stats_of(kind: Kind, levels: int = LEVELS, codes: int = CODES) -> Stats:
    x_ND = torch.from_numpy(clustered(2000))
    return Stats(x_ND.mean(0), x_ND.std(0), codes_QKD=fitted(kind, levels, codes).codes_QKS)


def head_of(kind: Kind, seed: int = 0, **changes: Any) -> QuantisedHead:
    """Away from the zeros that its logits begin with."""
    torch.manual_seed(seed)
    levels, codes = changes.pop("levels", LEVELS), changes.pop("codes", CODES)
    head = QuantisedHead(WIDTH, stats_of(kind, levels, codes), kind, levels, codes, hidden=16, **changes)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return head.eval()


def reading_of(windows: int = 6, every: bool = False) -> Reading:
    context_BLD = torch.from_numpy(clustered(windows * LENGTH, seed=3)).view(windows, LENGTH, DIM)
    return Reading(context_BLD, normal(windows, LENGTH, WIDTH, seed=4), every)


def settings(*overrides: str, small: tuple[str, ...] = SMALL) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("train", overrides=[*small, *overrides]), resolve=True)
    return typed(config)


# --- the quantisers against their definition ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("levels", "codes"), [(1, 2), (3, 16), (4, 64)])
def test_codes_and_reconstructions_are_those_of_faiss(kind: Kind, levels: int, codes: int) -> None:
    quantiser, x_ND = fitted(kind, levels, codes), clustered(500, seed=5)
    code_NQ, decoded_ND = of_faiss(quantiser, x_ND)
    mine_NQ = quantiser.encode(torch.from_numpy(x_ND))
    assert np.array_equal(mine_NQ.numpy(), code_NQ)
    np.testing.assert_allclose(quantiser.decode(mine_NQ).numpy(), decoded_ND, rtol=0, atol=1e-5)


def test_codes_and_predictions_equal_their_definitions() -> None:
    bounds = {"float32": 1e-5, "float64": 1e-10}
    for _, reference, length, dtype, difference in comparisons():
        assert difference <= bounds[dtype], (reference, length, dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_the_nearest_ones_by_a_slow_loop(kind: Kind) -> None:
    quantiser, x_ND = fitted(kind), torch.from_numpy(clustered(20, seed=5)).double()
    codes_QKS, size = quantiser.codes_QKS.double(), DIM // LEVELS
    for x_D, code_Q in zip(x_ND, quantiser.double().encode(x_ND), strict=True):
        left_D = x_D
        for level, code in enumerate(code_Q.tolist()):
            part_S = left_D if kind == "residual" else x_D[level * size : (level + 1) * size]
            distances = [float((part_S - codes_QKS[level, k]).norm()) for k in range(CODES)]
            assert code == distances.index(min(distances))
            left_D = left_D - codes_QKS[level, code] if kind == "residual" else left_D


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_falls_with_levels_and_with_codes(kind: Kind) -> None:
    x_ND = torch.from_numpy(clustered(500, seed=5))

    def error(levels: int, codes: int) -> float:
        quantiser = fitted(kind, levels, codes)
        return float((quantiser.decode(quantiser.encode(x_ND)) - x_ND).square().mean())

    by_levels = [error(levels, 16) for levels in (1, 2, 4)]
    by_codes = [error(2, codes) for codes in (4, 16, 64)]
    assert by_levels == sorted(by_levels, reverse=True)
    assert by_levels[2] < 0.6 * by_levels[0]
    assert by_codes == sorted(by_codes, reverse=True)
    assert by_codes[2] < 0.8 * by_codes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_the_same_under_mixed_precision(kind: Kind) -> None:
    quantiser, x_ND = fitted(kind), torch.from_numpy(clustered(500, seed=5))
    plain = quantiser.encode(x_ND)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantiser.encode(x_ND), plain)


# --- the codebooks ---


def parts_of(store: Store, cache: Path) -> Parts:
    opened = Opened(store=store, content={"store": store.content})
    return cut_parts(opened, DataSettings(context_length=LENGTH), cache, every_position=False)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store([20] * 40, vectors_ND=clustered(800))


@pytest.mark.parametrize("kind", KINDS)
def test_codebooks_are_fitted_on_the_training_part_alone_and_kept_by_content(
    kind: Kind, store: Store, make_store: Callable[..., Store], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, parts = Codebooks(kind, LEVELS, CODES), parts_of(store, cache)
    first = codebooks.fit(parts, wanted, cache)
    assert first.dtype == torch.float32
    assert first.shape == wanted.shape(DIM)
    trained_N = rows_of(parts.train)
    vectors_ND = store.vectors_ND.copy()
    held_out_N = np.setdiff1d(np.arange(len(vectors_ND)), trained_N)
    assert len(held_out_N) > 0
    vectors_ND[held_out_N] = 1000
    other = replace(parts, train=replace(parts.train, vectors_ND=vectors_ND), content={"store": "another"})
    assert torch.equal(codebooks.fit(other, wanted, cache), first)
    monkeypatch.setattr(codebooks, "train", None)
    assert torch.equal(codebooks.fit(parts, wanted, cache), first)
    with pytest.raises(TypeError):
        codebooks.fit(parts, replace(wanted, codes=2 * CODES), cache)
    assert {int(row) for row in trained_N} == {int(row) for row in rows_of(parts.train)}


def test_a_large_part_is_sampled_and_gives_the_same_codebooks_each_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codebooks, "SAMPLE", 100)
    seen = []
    plain = codebooks.train
    monkeypatch.setattr(codebooks, "train", lambda x_ND, wanted: (seen.append(len(x_ND)), plain(x_ND, wanted))[1])
    wanted = Codebooks("residual", 2, 8)
    one, two = (codebooks.fit(parts_of(store, tmp_path / n), wanted, tmp_path / n) for n in "ab")
    assert torch.equal(one, two)
    assert seen == [100, 100]


def test_sizes_that_do_not_fit_are_sentences(store: Store, cache: Path) -> None:
    parts = parts_of(store, cache)
    with pytest.raises(UserError, match=r"head.codes=1024 needs as many training chunks and there are \d+; set it sm"):
        codebooks.fit(parts, Codebooks("residual", 1, 1024), cache)
    with pytest.raises(UserError, match=r"head.levels=5 does not divide the 12 dims .* or head.quantiser=residual\.$"):
        codebooks.fit(parts, Codebooks("product", 5, 4), cache)
    for codes in (0, 1, 3, -4, 2**17):
        with pytest.raises(UserError, match=rf"head.codes={codes} does not fit; set a power of two from 2 to 65536"):
            Codebooks("residual", 1, codes)
    with pytest.raises(UserError, match="levels is 0; set it to 1 or more"):
        Codebooks("residual", 0, 4)
    for overrides, words in (
        ("head.levels=two", "head.levels='two' does not fit"),
        ("head.quantiser=binary", "head.quantiser='binary' does not fit; give it one of residual, product"),
    ):
        with pytest.raises(UserError, match=words):
            build_codebooks.given(settings(overrides), parts)


def test_other_heads_ask_for_no_codebooks(store: Store, cache: Path) -> None:
    parts = parts_of(store, cache)
    plain = settings(small=("arch=gru", "head=dual", "logger=none", "device=cpu"))
    assert build_codebooks.given(plain, parts) is parts


# --- the head ---


def learned(head: QuantisedHead, reading: Reading, target_ND: Tensor) -> Prediction:
    return head.learn(reading.hidden_NH, target_ND, reading)


def loss_of(prediction: Prediction) -> float:
    batch = Batch(torch.zeros(1, LENGTH, DIM), torch.zeros(1, DIM), torch.zeros(1))
    return float(Codes()(prediction, batch, stats_of("residual")).detach())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_one_for_the_uniform_predictor_and_nothing_for_the_right_codes(kind: Kind) -> None:
    target_ND = torch.from_numpy(clustered(30, seed=6))
    fresh = QuantisedHead(WIDTH, stats_of(kind), kind, LEVELS, CODES, hidden=16)
    reading = reading_of(30)
    prediction = learned(fresh, reading, target_ND)
    assert loss_of(prediction) == pytest.approx(1, abs=1e-6)
    assert prediction.logits_QNK is not None
    assert prediction.code_QN is not None
    sure_QNK = 1e4 * torch.nn.functional.one_hot(prediction.code_QN, CODES).float()
    assert loss_of(replace(prediction, logits_QNK=sure_QNK)) == pytest.approx(0, abs=1e-6)
    random_QNK = normal(LEVELS, 30, CODES, seed=8)
    rows = [
        -math.log(float(random_QNK[q, n].softmax(-1)[prediction.code_QN[q, n]]))
        for q in range(LEVELS)
        for n in range(30)
    ]
    slow = sum(rows) / len(rows) / math.log(CODES)
    assert loss_of(replace(prediction, logits_QNK=random_QNK)) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("every", [False, True])
def test_a_residual_level_is_told_the_true_codes_before_it_and_no_other(every: bool) -> None:
    head, reading = head_of("residual"), reading_of(every=every)
    rows = len(reading.hidden_NH)
    one, two = (torch.from_numpy(clustered(rows, seed=seed)) for seed in (5, 6))
    code_NQ, other_NQ = head.quantiser.encode(one), head.quantiser.encode(two)
    before = learned(head, reading, one).logits_QNK
    assert before is not None
    for changed in range(LEVELS):
        mixed_NQ = code_NQ.clone()
        mixed_NQ[:, changed] = other_NQ[:, changed]
        differs_N = mixed_NQ[:, changed] != code_NQ[:, changed]
        mixed_QNS = head.quantiser.parts(mixed_NQ).transpose(0, 1)
        after = torch.stack(
            [head._logits(reading.hidden_NH, q, mixed_QNS[:q].sum(0) if q else None) for q in range(LEVELS)]
        )
        moved_QN = (after - before).abs().amax(-1) > 1e-4
        assert not moved_QN[: changed + 1].any()
        assert moved_QN[changed + 1 :, differs_N].all()


def test_the_levels_of_a_product_are_independent_given_the_context() -> None:
    head, reading = head_of("product"), reading_of()
    logits = [learned(head, reading, torch.from_numpy(clustered(6, seed=seed))).logits_QNK for seed in (5, 6)]
    assert logits[0] is not None
    assert logits[1] is not None
    assert torch.equal(*logits)
    assert not torch.allclose(logits[0][0], logits[0][1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_expected_vector_is_the_sum_of_weighted_code_vectors(kind: Kind, temperature: float) -> None:
    """Each level is given the expected sum of those before it; of one level it is the mean of all draws."""
    head, reading = head_of(kind, temperature=temperature), reading_of()
    codes_QKS = head.quantiser.codes_QKS
    raw_ND = head(reading.hidden_NH).raw_ND
    parts: list[Tensor] = []
    for level in range(LEVELS):
        before_ND = sum(parts) if level and kind == "residual" else None
        share_NK = (head._logits(reading.hidden_NH, level, before_ND) / temperature).softmax(-1)  # type: ignore[arg-type]
        parts.append(torch.stack([sum(p * c for p, c in zip(row, codes_QKS[level], strict=True)) for row in share_NK]))
    slow_ND = sum(parts) if kind == "residual" else torch.cat(parts, dim=1)
    torch.testing.assert_close(raw_ND, slow_ND, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_of_the_distribution_that_the_logits_say(kind: Kind) -> None:
    """One level: shares of codes among draws are the softmax at the temperature, and their mean is the expected one."""
    changes = {"levels": 1, "codes": 4, "temperature": 0.7}
    expected = head_of(kind, **changes)
    sampled = head_of(kind, output="sampled", draws=20_000, **changes)
    hidden_NH = reading_of(2).hidden_NH
    raw_ND, mean_ND = sampled(hidden_NH).raw_ND, expected(hidden_NH).raw_ND
    torch.testing.assert_close(raw_ND, mean_ND, rtol=0, atol=0.05)
    assert not torch.allclose(raw_ND, mean_ND, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_one_draw_is_a_code_s_vector_and_a_low_temperature_is_the_likeliest(kind: Kind) -> None:
    reading = reading_of()
    drawn = head_of(kind, output="sampled")
    raw_ND = drawn(reading.hidden_NH).raw_ND
    every_NQ = torch.cartesian_prod(*[torch.arange(CODES)] * LEVELS)
    assert torch.cdist(raw_ND, drawn.quantiser.decode(every_NQ)).amin(1).max() < 0.01
    assert len(raw_ND.unique(dim=0)) > 1
    cold, likeliest = head_of(kind, output="sampled", temperature=1e-6), head_of(kind, temperature=1e-6)
    torch.testing.assert_close(cold(reading.hidden_NH).raw_ND, likeliest(reading.hidden_NH).raw_ND)
    asked = [
        drawn.draw(reading.hidden_NH, reading, Draws(temperature, 1, torch.Generator().manual_seed(seed))).raw_ND
        for temperature, seed in ((1e-6, 0), (1.0, 0), (1.0, 0), (1.0, 1))
    ]
    torch.testing.assert_close(asked[0], likeliest(reading.hidden_NH).raw_ND)
    assert torch.equal(asked[1], asked[2])
    assert not torch.equal(asked[1], asked[3])
    assert torch.cdist(asked[1], drawn.quantiser.decode(every_NQ)).amin(1).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["expected", "sampled"])
def test_a_prediction_is_a_function_of_the_context_alone(kind: Kind, output: str) -> None:
    head, reading = head_of(kind, output=output, draws=3), reading_of()
    raw_ND = head(reading.hidden_NH, reading).raw_ND
    torch.manual_seed(77)
    assert torch.equal(head(reading.hidden_NH, reading).raw_ND, raw_ND)
    torch.testing.assert_close(head(reading.hidden_NH[3:4]).raw_ND[0], raw_ND[3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head(reading.hidden_NH).unit_ND, torch.nn.functional.normalize(raw_ND, dim=-1))
    reading.hidden_BLH[:, :-1] = 0
    assert torch.equal(head(reading.hidden_NH, reading).raw_ND, raw_ND)


def test_settings_that_do_not_fit_are_sentences() -> None:
    stats = stats_of("residual")
    with pytest.raises(UserError, match=r"head.temperature=0 does not fit; set it above 0"):
        QuantisedHead(WIDTH, stats, "residual", LEVELS, CODES, temperature=0)
    with pytest.raises(UserError, match="draws is 0; set it to 1 or more"):
        QuantisedHead(WIDTH, stats, "residual", LEVELS, CODES, draws=0)
    with pytest.raises(UserError, match=r"codebooks of shape \(3, 16, 12\) and its settings ask for \(3, 8, 12\)"):
        QuantisedHead(WIDTH, stats, "residual", LEVELS, 8)
    with pytest.raises(UserError, match=r"needs codebooks, .* or load a whole checkpoint\.$"):
        QuantisedHead(WIDTH, replace(stats, codes_QKD=None), "residual", LEVELS, CODES)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_head_goes_with_its_loss_alone(loss: str) -> None:
    if loss == "codes":
        module(settings(), stats_of("residual"), {})
        return
    sentence = rf"^loss={loss} does not go with head=quantised .*loss=codes with head=quantised, and every other .*\.$"
    with pytest.raises(UserError, match=sentence):
        module(settings(f"loss={loss}"), stats_of("residual"), {})


def test_a_term_on_the_prediction_beside_it_is_refused() -> None:
    """A prediction under teacher forcing knows of its target."""
    cosine = "+loss.terms.cosine={_target_: lvm_lab.losses.cosine.Cosine, weight: 0.1}"
    with pytest.raises(UserError, match="the term cosine reads prediction, which this head does not feed"):
        module(settings(cosine), stats_of("residual"), {})


# --- the whole model ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["expected", "sampled"])
def test_a_checkpoint_comes_back_with_its_codebooks_and_streams(kind: Kind, output: str, tmp_path: Path) -> None:
    chosen = settings(f"head.quantiser={kind}", f"head.output={output}")
    model = module(chosen, stats_of(kind), {})
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.eval()
    saved: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "model.ckpt")
    again = lvm_lab.load(tmp_path / "model.ckpt")
    context_BLD = reading_of(4).context_BLD
    torch.testing.assert_close(again.predict(context_BLD).raw_ND, model.predict(context_BLD).raw_ND)
    state = None
    for x_BD in context_BLD.unbind(1):
        streamed, state = again.step(x_BD, state)
    torch.testing.assert_close(streamed.raw_ND, again.predict(context_BLD).raw_ND, rtol=1e-4, atol=1e-4)
    name = "head.quantiser.codes_QKS"
    torch.save(saved | {"state_dict": saved["state_dict"] | {name: torch.zeros(2, 2, DIM)}}, tmp_path / "cut.ckpt")
    with pytest.raises(UserError, match=r"codebooks of shape \(2, 2, 12\) and its settings ask for"):
        lvm_lab.load(tmp_path / "cut.ckpt")
    del saved["state_dict"][name]
    torch.save(saved, tmp_path / "without.ckpt")
    with pytest.raises(UserError, match="needs codebooks"):
        lvm_lab.load(tmp_path / "without.ckpt")


@pytest.mark.slow
def test_a_model_loads_without_faiss(tmp_path: Path) -> None:
    model = module(settings(), stats_of("residual"), {})
    saved: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "model.ckpt")
    line = "import sys, lvm_lab; lvm_lab.load(sys.argv[1]); print('faiss' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", line, str(tmp_path / "model.ckpt")], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_every_position_is_taught_the_codes_of_its_own_next_vector() -> None:
    model = module(settings("trainer.supervision=all"), stats_of("residual"), {})
    target_BD = torch.from_numpy(clustered(4, seed=8))
    batch = Batch(reading_of(4).context_BLD, target_BD, torch.arange(4))
    prediction, supervised = model.supervised(batch)
    assert prediction.code_QN is not None
    assert prediction.logits_QNK is not None
    assert prediction.logits_QNK.shape == (LEVELS, 4 * LENGTH, CODES)
    expected_NQ = model.model.head.quantiser.encode(supervised.target_ND)  # type: ignore[union-attr,operator]
    assert torch.equal(prediction.code_QN, expected_NQ.T)
    assert prediction.float().code_QN is prediction.code_QN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_codes_that_can_be_foretold_are_learned(kind: Kind) -> None:
    """The next vector is a fixed turn of the last one: its codes, and with them its direction, come to be known."""
    vectors_ND = torch.from_numpy(clustered(64, seed=1))
    model = module(settings(f"head.quantiser={kind}"), stats_of(kind), {})
    context_BLD = vectors_ND[:, None].expand(-1, LENGTH, -1).contiguous()
    batch = Batch(context_BLD, vectors_ND.roll(1, 0), torch.arange(64))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(200):
        prediction, supervised = model.supervised(batch)
        total, _ = model.loss(prediction, supervised, model.stats)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert float(total.detach()) < 0.1
    model.eval()
    quantiser: Any = model.model.head.quantiser  # type: ignore[union-attr]
    best_ND = quantiser.decode(quantiser.encode(batch.target_ND))
    raw_ND = model.predict(context_BLD).raw_ND.detach()
    error, least, trivial = (
        float((x - batch.target_ND).square().mean()) for x in (raw_ND, best_ND, batch.target_ND.mean(0))
    )
    assert error < least + 0.1 * (trivial - least)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "precision"), [("residual", "32-true"), ("product", "bf16-mixed"), ("residual", "64-true")]
)
def test_a_run_trains_is_judged_and_loads_with_the_codebooks_of_its_training_part(
    kind: Kind, precision: str, tmp_path: Path
) -> None:
    small = ["data.dim=32", "data.documents=40", "data.ood_documents=20", "data.planes=8", "data.topic_dims=8"]
    small += [
        "trainer.max_epochs=1",
        "trainer.batch_size=64",
        "five_cat=smoke",
        f"run.cache={tmp_path / 'cache'}",
        "head.levels=2",
    ]
    small += [f"head.quantiser={kind}", f"trainer.precision={precision}", f"run.dir={tmp_path / 'run'}"]
    done = finish(fork(tmp_path, *SMALL, *small))
    assert done.code == 0, done.err
    model = lvm_lab.load(tmp_path / "run")
    parts = build_data.parts(settings(*small))
    wanted = Codebooks(kind, 2, CODES)
    head: Any = model.head
    assert torch.equal(head.quantiser.codes_QKS, codebooks.fit(parts, wanted, tmp_path / "cache"))
