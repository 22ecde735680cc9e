"""Heads, their losses and the input normaliser: formulas against slow forms, sampling, and which pairs go together.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, N predictions, S draws or noise levels.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

import lvm_lab
from lvm_lab.build.training import module
from lvm_lab.commands import launch as cli
from lvm_lab.config.settings import Settings
from lvm_lab.config.settings import settings as typed
from lvm_lab.data.stats import training_stats
from lvm_lab.errors import UserError
from lvm_lab.heads.diffusion import DiffusionHead
from lvm_lab.heads.dual import DualHead
from lvm_lab.heads.energy import EnergyHead
from lvm_lab.heads.identity import IdentityHead
from lvm_lab.heads.linear import LinearHead
from lvm_lab.heads.two_tower import TwoTowerHead
from lvm_lab.losses.diffusion import Diffusion
from lvm_lab.losses.energy import Energy
from lvm_lab.model import restore
from lvm_lab.nn.denoising import LEVELS, DenoisingHead, Sampling, cosine_signal, trailing
from lvm_lab.nn.metric import banded_sum
from lvm_lab.nn.noise import Draws
from lvm_lab.nn.normaliser import Normaliser
from lvm_lab.types import Batch, Prediction, Reading, Stats

CONF = cli.conf_dir()
LOSSES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))
HERE = ("logger=none", "device=cpu")
SMALL = ("arch=gru", "arch.width=16", "arch.layers=1", "head.hidden=16", *HERE)
# A loss of its own for every head that is not dual.
PAIRS = [("dual", "mse"), ("diffusion", "diffusion"), ("two_tower", "diffusion"), ("energy", "energy")]
HEADS = sorted(name for name, _ in PAIRS)
# The quantised head and its loss have a file of their own: tests/heads/test_quantised.py.
TOGETHER = {"diffusion": {"diffusion", "two_tower"}, "energy": {"energy"}, "codes": {"quantised"}}
DIM, WIDTH, LENGTH = 12, 8, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STATS = Stats(mean_D=3 * normal(DIM, seed=1), std_D=0.2 + normal(DIM, seed=2).abs())


def drawn(*shape: int, seed: int) -> Tensor:
    """Vectors of the encoder's own distribution."""
    return STATS.mean_D + STATS.std_D * normal(*shape, DIM, seed=seed)


def reading_of(windows: int = 6, every: bool = False) -> Reading:
    return Reading(drawn(windows, LENGTH, seed=3), normal(windows, LENGTH, WIDTH, seed=4), every)


def batch_of(target_ND: Tensor) -> Batch:
    return Batch(target_ND[:, None].expand(-1, LENGTH, -1), target_ND, torch.arange(len(target_ND)))


def said(draws_SND: Tensor) -> Prediction:
    return replace(Prediction.from_raw(draws_SND.mean(0)), draws_SND=draws_SND)


def settings(*overrides: str, small: tuple[str, ...] = SMALL) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("train", overrides=[*small, *overrides]), resolve=True)
    return typed(config)


def stirred(module: torch.nn.Module, seed: int = 0) -> Any:
    """Weights away from the zeros that gates begin with, in eval mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


# --- the energy score ---


def test_the_energy_score_is_a_slow_loops():
    draws_SND, target_ND = drawn(4, 7, seed=5), drawn(7, seed=6)
    x, y = (STATS.standardise(v).double() for v in (draws_SND, target_ND))
    score = base = 0.0
    for n in range(7):
        near = sum(float((x[i, n] - y[n]).norm()) for i in range(4)) / 4
        pairs = [float((x[i, n] - x[j, n]).norm()) for i in range(4) for j in range(4) if i != j]
        score += 2 * near - sum(pairs) / len(pairs)
        base += 2 * float(y[n].norm())
    assert float(Energy()(said(draws_SND), batch_of(target_ND), STATS)) == pytest.approx(score / base, rel=1e-5)


def test_generative_terms_are_one_for_the_mean_and_nothing_for_the_right_answer():
    target_ND = drawn(4000, seed=6)
    batch = batch_of(target_ND)
    mean_SND = STATS.mean_D.expand(3, 4000, -1).clone().requires_grad_()
    energy = Energy()(said(mean_SND), batch, STATS)
    assert float(energy.detach()) == pytest.approx(1, abs=1e-5)
    energy.backward()
    assert mean_SND.grad is not None
    assert mean_SND.grad.isfinite().all()
    assert float(Energy()(said(target_ND.expand(3, -1, -1)), batch, STATS)) == pytest.approx(0, abs=1e-5)

    def denoised(x_SND: Tensor) -> Prediction:
        return replace(Prediction.from_raw(x_SND[0]), denoised_SND=x_SND, noise_weight_SN=torch.ones(x_SND.shape[:2]))

    assert float(Diffusion()(denoised(mean_SND.detach()), batch, STATS)) == pytest.approx(1, rel=0.02)
    assert float(Diffusion()(denoised(target_ND[None]), batch, STATS)) == 0


def test_the_energy_score_is_least_for_the_distribution_that_targets_are_drawn_from():
    batch = batch_of(drawn(4000, seed=6))

    def score(spread: float, shift: float) -> float:
        draws_SND = STATS.mean_D + STATS.std_D * (shift + spread * normal(4, 4000, DIM, seed=7))
        return float(Energy()(said(draws_SND), batch, STATS))

    best = score(1.0, 0.0)
    assert all(best < score(*other) - 1e-3 for other in ((0.0, 0.0), (0.7, 0.0), (1.4, 0.0), (1.0, 0.3)))


def test_one_draw_cannot_be_scored():
    with pytest.raises(ValueError, match="two draws or more"):
        Energy()(said(drawn(1, 7, seed=5)), batch_of(drawn(7, seed=6)), STATS)
    with pytest.raises(UserError, match=r"set head.training_draws to 2 or more"):
        EnergyHead(WIDTH, STATS, training_draws=1)


# --- diffusion ---


def test_the_schedule_is_the_cosine_one_and_ends_without_signal():
    signal_T = cosine_signal().double()
    assert signal_T[-1] == 0
    assert (signal_T.diff() < 0).all()
    plain = [np.cos((t / LEVELS + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2) for t in (1, 30, 60)]
    assert signal_T[[0, 29, 59]].tolist() == pytest.approx(plain, abs=1e-6)


def test_steps_are_spaced_from_the_last_level_down():
    assert trailing(100, 4) == [99, 74, 49, 24]
    assert trailing(100, 100) == list(range(99, -1, -1))
    assert all(trailing(100, n)[0] == 99 and len(set(trailing(100, n))) == n for n in range(1, 101))


class Perfect(DenoisingHead):
    """Knows the clean vector; what it is asked for is written down."""

    def __init__(self, clean_ND: Tensor, steps: int, **sampling: float) -> None:
        chosen = {"guidance": 1.0, "rescale": 0.0, "initial_noise": 0.6, "draws": 2} | sampling
        super().__init__(STATS, "absolute", 1, Sampling(steps, **chosen), 4, 0.15, None)  # type: ignore[arg-type]
        self.clean_ND = clean_ND
        self.asked: list[Tensor] = []

    def condition(self, hidden_NH: Tensor, reading: Reading | None) -> None:
        return None

    def denoise(self, noisy_SND: Tensor, level_SN: Tensor, seen: None, blind_SN: Tensor) -> Tensor:
        self.asked.append(noisy_SND)
        return self.clean_ND.expand_as(noisy_SND) * torch.where(blind_SN, 0.5, 1.0)[..., None]


@pytest.mark.parametrize("steps", [1, 8, 40])
def test_a_perfect_denoiser_is_sampled_back(steps):
    target_ND = drawn(6, seed=5)
    head = Perfect(STATS.standardise(target_ND), steps)
    torch.testing.assert_close(head(normal(6, WIDTH)).raw_ND, target_ND, rtol=1e-5, atol=1e-5)
    assert len(head.asked) == steps
    assert head.asked[0].std() == pytest.approx(0.6, rel=0.4)
    # Each step stands on the line between the clean vector and one noise, at its own level.
    for noisy_SND, level in zip(head.asked[1:], trailing(LEVELS, steps)[1:], strict=True):
        signal = head.signal_T[level]
        expected = signal * head.clean_ND + (1 - signal**2).sqrt() * head.asked[0]
        torch.testing.assert_close(noisy_SND, expected, rtol=1e-4, atol=1e-4)


def test_guidance_leads_away_from_the_blind_answer_and_one_is_the_conditional_one():
    clean_ND = normal(6, DIM, seed=5)
    plain, guided = Perfect(clean_ND, 4), Perfect(clean_ND, 4, guidance=3.0)
    hidden = normal(6, WIDTH)
    # .5 x + 3 (x - .5 x) = 2 x; brought back to the conditional spread it is x again.
    torch.testing.assert_close(STATS.standardise(guided(hidden).raw_ND), 2 * clean_ND, rtol=1e-4, atol=1e-4)
    assert len(guided.asked[0]) == 2 * len(plain.clean_ND.expand(2, -1, -1))
    rescaled = Perfect(clean_ND, 4, guidance=3.0, rescale=1.0)
    torch.testing.assert_close(rescaled(hidden).raw_ND, plain(hidden).raw_ND, rtol=1e-4, atol=1e-4)
    head = stirred(DiffusionHead(WIDTH, STATS, hidden=16))
    one = head(hidden).raw_ND
    head.sampling = replace(head.sampling, guidance=1.0 + 1e-6, rescale=0.0)
    torch.testing.assert_close(head(hidden).raw_ND, one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [DiffusionHead, TwoTowerHead])
@pytest.mark.parametrize("every", [False, True])
def test_blind_rows_see_nothing_of_the_context_and_others_do(cls, every):
    head = stirred(cls(WIDTH, STATS, hidden=16))
    answers = []
    for scale in (1.0, -2.0):
        reading = reading_of(every=every)
        reading = replace(reading, hidden_BLH=scale * reading.hidden_BLH)
        rows = len(reading.hidden_NH)
        blind_SN = torch.zeros(2, rows, dtype=torch.bool)
        blind_SN[1] = True
        level_SN = torch.full((2, rows), 50)
        seen = head.condition(reading.hidden_NH, reading)
        answers.append(head.denoise(normal(2, rows, DIM, seed=8), level_SN, seen, blind_SN))
    assert (answers[0][0] - answers[1][0]).abs().amax(-1).min() > 1e-4
    torch.testing.assert_close(answers[0][1], answers[1][1])


@pytest.mark.parametrize("cls", [DiffusionHead, TwoTowerHead])
def test_in_training_a_share_of_rows_is_blind_and_in_judging_none(cls):
    head = stirred(cls(WIDTH, STATS, hidden=16, noise_levels=1, blind_rows=0.5))
    for training, share in ((True, 0.5), (False, 0.0)):
        reading = reading_of(windows=400)
        reading.hidden_BLH.requires_grad_()
        torch.manual_seed(0)
        learnt = head.train(training).learn(reading.hidden_NH, drawn(400, seed=5), reading)
        (gradient,) = torch.autograd.grad(learnt.denoised_SND.sum(), reading.hidden_BLH)
        assert (gradient.flatten(1).abs().sum(1) == 0).float().mean() == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("predict", ["absolute", "delta_last", "delta_mean"])
def test_what_is_denoised_is_the_target_whatever_words_are_added_to(predict, monkeypatch):
    head = DiffusionHead(WIDTH, STATS, hidden=16, predict=predict, noise_levels=2)
    # Without noise, and with a denoiser that has nothing to do, the target has to come back.
    monkeypatch.setattr(head, "_add_noise", lambda clean_SND, noise_SND, level: clean_SND.expand_as(noise_SND))
    monkeypatch.setattr(head, "denoise", lambda noisy_SND, level_SN, seen, blind_SN: noisy_SND)
    reading, target_ND = reading_of(), drawn(6, seed=5)
    denoised_SND = head.learn(reading.hidden_NH, target_ND, reading).denoised_SND
    torch.testing.assert_close(denoised_SND, target_ND.expand(2, -1, -1), atol=1e-5, rtol=1e-5)


def test_a_level_s_error_carries_its_weight():
    head = stirred(DiffusionHead(WIDTH, STATS, hidden=16, snr_clamp=5.0, noise_levels=8))
    reading = reading_of()
    weight_SN = head.learn(reading.hidden_NH, drawn(6, seed=5), reading).noise_weight_SN
    assert weight_SN.unique().numel() > 8
    assert torch.isin(weight_SN, head.weight_T).all()


def test_snr_weights_are_one_on_average():
    plain, clamped = (DiffusionHead(WIDTH, STATS, hidden=16, snr_clamp=c).weight_T for c in (None, 5.0))
    assert (plain == 1).all()
    assert clamped.mean() == pytest.approx(1)
    assert clamped.max() / clamped.min() == pytest.approx(25)
    assert (clamped.diff() <= 0).all()


def test_the_tower_reads_the_zero_vector_and_the_states_before_its_target():
    """A prediction of every position is that of its prefix alone."""
    head = stirred(TwoTowerHead(WIDTH, STATS, hidden=16, steps=2))
    every = reading_of(every=True)
    raw_BLD = head(every.hidden_NH, every).raw_ND.unflatten(0, (-1, LENGTH))
    for t in range(LENGTH):
        prefix = Reading(every.context_BLD[:, : t + 1], every.hidden_BLH[:, : t + 1])
        torch.testing.assert_close(raw_BLD[:, t], head(prefix.hidden_NH, prefix).raw_ND, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="pass the reading"):
        head(every.hidden_NH)


def test_several_noise_levels_of_a_row_do_not_mix():
    head = stirred(TwoTowerHead(WIDTH, STATS, hidden=16))
    reading = reading_of(every=True)
    rows = len(reading.hidden_NH)
    noisy_SND, level_SN = normal(3, rows, DIM, seed=8), torch.tensor([[5], [50], [99]]).expand(-1, rows)
    blind_SN = normal(3, rows, seed=9) > 0.5
    seen = head.condition(reading.hidden_NH, reading)
    together = head.denoise(noisy_SND, level_SN, seen, blind_SN)
    for s in range(3):
        alone = head.denoise(noisy_SND[s : s + 1], level_SN[s : s + 1], seen, blind_SN[s : s + 1])
        torch.testing.assert_close(together[s], alone[0], rtol=1e-4, atol=1e-5)


def test_the_published_layers_of_both_towers_build_and_learn():
    chosen = settings(
        "arch=lcm_two_tower", "arch.layers=5", "head=two_tower", "head.layers=13", "loss=diffusion", "arch.heads=2"
    )
    model = module(chosen, STATS, {})
    batch = Batch(drawn(4, LENGTH, seed=1), drawn(4, seed=2), torch.arange(4))
    prediction, supervised = model.supervised(batch)
    total, _ = model.loss(prediction, supervised, model.stats)
    total.backward()
    assert total.isfinite()
    assert len(model.model.backbone.layers) == 5
    assert len(model.model.head.layers) == 13


# --- what every head promises ---


def head_of(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    if name == "linear":
        return LinearHead(WIDTH, STATS, **changes)
    cls = {"dual": DualHead, "diffusion": DiffusionHead, "two_tower": TwoTowerHead, "energy": EnergyHead}[name]
    return cls(WIDTH, STATS, hidden=16, **changes)


def test_the_heads_here_are_options():
    assert set(HEADS) <= {file.stem for file in (CONF / "head").glob("*.yaml")}


@pytest.mark.parametrize("name", HEADS)
def test_a_prediction_is_a_function_of_the_context_alone(name):
    head, reading = stirred(head_of(name)), reading_of()
    raw_ND = head(reading.hidden_NH, reading).raw_ND
    torch.manual_seed(77)
    assert torch.equal(raw_ND, head(reading.hidden_NH, reading).raw_ND)
    one = Reading(reading.context_BLD[3:4], reading.hidden_BLH[3:4])
    torch.testing.assert_close(head(one.hidden_NH, one).raw_ND[0], raw_ND[3], rtol=1e-4, atol=1e-5)
    # What it learns from is fixed outside of training, and new in every step of it.
    target_ND = drawn(6, seed=9)
    learned = [head.learn(reading.hidden_NH, target_ND, reading).output for _ in range(2)]
    assert torch.equal(*learned)
    head.train()
    learned = [head.learn(reading.hidden_NH, target_ND, reading).output for _ in range(2)]
    assert torch.equal(*learned) == (name == "dual")


@pytest.mark.parametrize("name", HEADS)
def test_draws_that_are_asked_for_are_the_seeds_and_spread_by_temperature(name):
    head, reading = stirred(head_of(name)), reading_of()
    assert head.generative == bool(head.feeds & {"draws", "denoised", "codes"})
    if not head.generative:
        with pytest.raises(NotImplementedError, match="draws nothing"):
            head.draw(reading.hidden_NH, reading, Draws(1.0, 1, torch.Generator()))
        return

    def drawn_by(temperature, count, seed):
        draws = Draws(temperature, count, torch.Generator().manual_seed(seed))
        return head.draw(reading.hidden_NH, reading, draws).raw_ND.detach()

    assert torch.equal(drawn_by(1.0, 2, 5), drawn_by(1.0, 2, 5))
    distance = {
        (temperature, count): float((drawn_by(temperature, count, 5) - drawn_by(temperature, count, 6)).norm())
        for temperature, count in ((1e-6, 1), (0.3, 1), (1.0, 1), (1.0, 64))
    }
    assert distance[1e-6, 1] < distance[0.3, 1] / 100
    assert distance[0.3, 1] < distance[1.0, 1]
    assert distance[1.0, 64] < distance[1.0, 1] / 2


@pytest.mark.parametrize("name", ["diffusion", "energy"])
def test_more_draws_are_colder(name):
    """The mean of many draws hangs less on which noise was drawn."""
    reading = reading_of()
    distance = {}
    for draws in (1, 4, 64):
        head = stirred(head_of(name, draws=draws))
        many = stirred(head_of(name, draws=512))
        raw, settled = (h(reading.hidden_NH, reading).raw_ND for h in (head, many))
        distance[draws] = float((raw - settled).norm().detach())
    assert distance[1] > distance[4] > distance[64] > 0


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_an_untrained_delta_head_copies(name, every):
    reading = reading_of(every=every)
    means = torch.stack([reading.context_BLD[:, : t + 1].mean(1) for t in range(LENGTH)], 1)
    copies = [("delta_last", reading.context_BLD), ("delta_mean", means), ("delta_metric", reading.context_BLD)]
    for predict, expected_BLD in copies:
        expected = expected_BLD.flatten(0, 1) if every else expected_BLD[:, -1]
        for mix in ("fixed", "adaptive") if predict == "delta_metric" else ("fixed",):
            head = head_of(name, predict=predict, mix=mix).eval()
            torch.testing.assert_close(head(reading.hidden_NH, reading).raw_ND, expected, rtol=1e-5, atol=1e-5)
    if name != "two_tower":
        with pytest.raises(ValueError, match="pass the reading"):
            head(reading.hidden_NH)


@pytest.mark.parametrize("name", HEADS)
def test_a_learned_metric_mixes_what_each_prediction_was_read_from(name):
    head, taps = head_of(name, predict="delta_metric", taps=3).eval(), 3
    with torch.no_grad():
        head.metric.weight_T.copy_(torch.tensor([0.7, 0.5, -0.3]))
        head.metric.change.weight.copy_(0.1 * normal(DIM, DIM, seed=8))
    weight_T, turn_DD = head.metric.weight_T, torch.eye(DIM) + head.metric.change.weight.T
    context_BLD = reading_of().context_BLD
    slow_BLD = torch.stack(
        [sum(weight_T[k] * context_BLD[:, t - k] for k in range(min(taps, t + 1))) @ turn_DD for t in range(LENGTH)], 1
    )
    for every, expected in ((True, slow_BLD.flatten(0, 1)), (False, slow_BLD[:, -1])):
        reading = reading_of(every=every)
        torch.testing.assert_close(head(reading.hidden_NH, reading).raw_ND, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*HEADS, "linear"])
@pytest.mark.parametrize("taps", [1, 3, LENGTH, LENGTH + 2])
def test_adaptive_weights_mix_by_the_state_at_each_place(name, taps):
    """Taps that reach before the first vector count as zeros, and a prefix alone says what every place says."""
    head = head_of(name, predict="delta_metric", taps=taps, mix="adaptive").eval()
    with torch.no_grad():
        head.metric.weight_T.copy_(normal(taps, seed=7))
        head.metric.adapt.weight.copy_(normal(taps, WIDTH, seed=8))
        head.metric.change.weight.copy_(0.1 * normal(DIM, DIM, seed=9))
    reading = reading_of(every=True)
    weight_BLT = head.metric.weight_T + reading.hidden_BLH @ head.metric.adapt.weight.T
    turn_DD = torch.eye(DIM) + head.metric.change.weight.T
    sums = [
        sum(weight_BLT[:, t, k, None] * reading.context_BLD[:, t - k] for k in range(min(taps, t + 1)))
        for t in range(LENGTH)
    ]
    slow_BLD = torch.stack(sums, 1) @ turn_DD
    raw_BLD = head(reading.hidden_NH, reading).raw_ND.unflatten(0, (-1, LENGTH))
    torch.testing.assert_close(raw_BLD, slow_BLD, rtol=1e-4, atol=1e-4)
    for t in range(LENGTH):
        prefix = Reading(reading.context_BLD[:, : t + 1], reading.hidden_BLH[:, : t + 1])
        torch.testing.assert_close(head(prefix.hidden_NH, prefix).raw_ND, slow_BLD[:, t], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("length", "taps"), [(1, 1), (3, 7), (7, 3), (9, 3), (64, 16)])
def test_a_banded_sum_is_a_slow_loops_and_so_is_its_gradient(length, taps):
    weight_BLT, x_BLD = (normal(2, length, n, seed=n).double().requires_grad_() for n in (taps, 4))
    slow_BLD = torch.stack(
        [sum(weight_BLT[:, t, k, None] * x_BLD[:, t - k] for k in range(min(taps, t + 1))) for t in range(length)], 1
    )
    banded_BLD = banded_sum(weight_BLT, x_BLD)
    torch.testing.assert_close(banded_BLD, slow_BLD)
    up_BLD = normal(2, length, 4, seed=9).double()
    for banded, slow in zip(
        torch.autograd.grad(banded_BLD, (weight_BLT, x_BLD), up_BLD),
        torch.autograd.grad(slow_BLD, (weight_BLT, x_BLD), up_BLD),
        strict=True,
    ):
        torch.testing.assert_close(banded, slow)


def test_adaptive_weights_hold_nothing_of_length_times_length():
    length, taps = 600, 4
    sizes = []

    def kept(x: Tensor) -> Tensor:
        sizes.append(x.numel())
        return x

    weight_BLT, x_BLD = normal(2, length, taps).requires_grad_(), normal(2, length, 3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda x: x):
        banded_sum(weight_BLT, x_BLD)
    assert 0 < max(sizes) <= 2 * length * 2 * taps


def test_adaptive_weights_without_the_metric_are_refused():
    with pytest.raises(UserError, match=r"head\.predict=absolute; set head\.predict=delta_metric or head\.mix=fixed"):
        module(settings("loss=mse", "head.mix=adaptive"), STATS, {})
    module(settings("loss=mse", "head=residual", "head.mix=adaptive"), STATS, {})


def test_a_model_with_adaptive_weights_begins_as_copy_last_and_learns_them():
    model = module(settings("loss=mse", "head=residual", "head.mix=adaptive"), STATS, {})
    batch = batch_of(drawn(32, seed=6))
    batch = replace(batch, context_BLD=drawn(32, LENGTH, seed=5))
    assert torch.equal(model.eval().predict(batch.context_BLD).raw_ND, batch.context_BLD[:, -1])
    prediction, supervised = model.supervised(batch)
    model.loss(prediction, supervised, model.stats)[0].backward()
    assert model.model.head.metric.adapt.weight.grad.abs().sum() > 0


def test_the_identity_head_says_the_state_in_the_normalisers_units():
    state_ND = normal(6, DIM, seed=9)
    assert torch.equal(IdentityHead(DIM, STATS)(state_ND).raw_ND, state_ND)
    whitened = replace(STATS, centre_D=STATS.mean_D, scale_D=STATS.std_D, basis_DD=None)
    head = IdentityHead(DIM, whitened)
    torch.testing.assert_close(head(Normaliser(whitened)(state_ND)).raw_ND, state_ND, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"as wide as the vectors \(12\) and this one has 8; set head=linear"):
        IdentityHead(WIDTH, STATS)


@pytest.mark.parametrize("normaliser", ["none", "whiten"])
def test_an_untrained_linear_metric_copies_the_last_vector(normaliser):
    chosen = settings("arch=linear_metric", f"normaliser={normaliser}", small=HERE)
    basis_DD = torch.linalg.qr(normal(DIM, DIM, seed=3))[0]
    whitened = replace(STATS, centre_D=STATS.mean_D, scale_D=STATS.std_D, basis_DD=basis_DD)
    model = module(chosen, STATS if normaliser == "none" else whitened, {})
    context_BLD = drawn(4, LENGTH, seed=5)
    torch.testing.assert_close(model.predict(context_BLD).raw_ND, context_BLD[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("predict", ["absolute", "delta_last", "delta_mean", "delta_metric", "adaptive"])
@pytest.mark.parametrize("normaliser", ["none", "whiten"])
@pytest.mark.parametrize(("head", "loss"), PAIRS)
def test_a_checkpoint_comes_back_as_it_was(head, loss, normaliser, predict, tmp_path):
    adaptive = ("head.predict=delta_metric", "head.mix=adaptive", "head.taps=3")
    predicts = adaptive if predict == "adaptive" else (f"head.predict={predict}",)
    # Two denoisings show what eight do.
    short = ("head.steps=2", "head.layers=1") if loss == "diffusion" else ()
    chosen = settings(f"head={head}", f"loss={loss}", f"normaliser={normaliser}", *predicts, *short)
    basis_DD = torch.linalg.qr(normal(DIM, DIM, seed=3))[0]
    stats = (
        STATS if normaliser == "none" else replace(STATS, centre_D=STATS.mean_D, scale_D=STATS.std_D, basis_DD=basis_DD)
    )
    model = module(chosen, stats, {})
    stirred(model)
    saved = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(saved)
    file = tmp_path / "model.ckpt"
    torch.save(saved, file)
    again = lvm_lab.load(file)
    context_BLD = drawn(4, LENGTH, seed=5)
    torch.testing.assert_close(again.predict(context_BLD).raw_ND, model.predict(context_BLD).raw_ND)
    state, stream_BLD = None, drawn(4, LENGTH + 3, seed=6)
    for x_BD in stream_BLD.unbind(1):
        streamed, state = again.step(x_BD, state)
    torch.testing.assert_close(streamed.raw_ND, again.predict(stream_BLD).raw_ND, rtol=1e-4, atol=1e-5)
    saved["lvm_lab"]["golden_output"] = saved["lvm_lab"]["golden_output"] + 1
    with pytest.raises(UserError, match="golden pair"):
        restore(again, saved, "it")


@pytest.mark.parametrize(("head", "loss"), list(itertools.product(HEADS, LOSSES)))
def test_pairs_that_make_no_sense_are_refused_with_those_that_do(head, loss):
    chosen = settings(f"head={head}", f"loss={loss}")
    if head in TOGETHER.get(loss, {"dual"}):
        module(chosen, STATS, {})
        return
    sentence = rf"^loss={loss} does not go with head={head} \(.*\); those that go together: .*head=two_tower.*\.$"
    with pytest.raises(UserError, match=sentence):
        module(chosen, STATS, {})


def test_terms_beside_a_heads_own_are_taken_where_their_gradient_reaches_it():
    cosine = "+loss.terms.cosine={_target_: lvm_lab.losses.cosine.Cosine, weight: 0.1}"
    module(settings("head=energy", "loss=energy", cosine), STATS, {})
    with pytest.raises(UserError, match=r"the term cosine reads prediction, which this head does not feed"):
        module(settings("head=diffusion", "loss=diffusion", cosine), STATS, {})
    with pytest.raises(UserError, match=r"no term with a weight reads draws"):
        module(settings("head=energy", "loss=energy", cosine, "loss.terms.energy.weight=0"), STATS, {})


def test_half_a_model_says_what_its_other_half_is():
    with pytest.raises(UserError, match=r"arch=lcm_two_tower is half .* set head=two_tower loss=diffusion\.$"):
        module(settings("arch=lcm_two_tower", "arch.heads=2"), STATS, {})


def test_every_position_is_denoised_towards_its_own_next_vector():
    model = module(settings("head=two_tower", "loss=diffusion", "trainer.supervision=all"), STATS, {})
    batch = Batch(drawn(4, LENGTH, seed=1), drawn(4, seed=2), torch.arange(4))
    prediction, supervised = model.supervised(batch)
    assert prediction.denoised_SND is not None
    assert prediction.denoised_SND.shape == (4, 4 * LENGTH, DIM)
    assert torch.equal(supervised.target_ND[LENGTH - 1], batch.target_ND[0])
    assert torch.equal(supervised.target_ND[LENGTH], batch.context_BLD[1, 1])


@pytest.mark.parametrize("name", ["diffusion", "two_tower"])
@pytest.mark.parametrize("change", [{"steps": 0}, {"steps": 101}, {"draws": 0}, {"rescale": 1.5}, {"blind_rows": 1.0}])
def test_settings_that_do_not_fit_are_a_sentence(name, change):
    with pytest.raises(UserError, match=rf"head.{next(iter(change))}.*set (it|them)"):
        head_of(name, **change)


# --- the input normaliser ---


@pytest.mark.parametrize("kind", ["none", "standard", "robust", "whiten"])
def test_a_normaliser_comes_back_and_is_fitted_on_the_given_stretches(kind, make_store, cache: Path):
    mix = np.random.default_rng(1).standard_normal((8, 8))
    vectors = (np.random.default_rng(0).standard_normal((3000, 8)) @ mix + 2).astype(np.float32)
    store = make_store([2000, 1000], vectors_ND=np.vstack([vectors[:2000], 50 * vectors[2000:]]))
    stats = training_stats(store, np.array([0]), cache, kind)
    again = training_stats(store, np.array([0]), cache, kind)
    assert all(a is b or torch.equal(a, b) for a, b in zip(vars(stats).values(), vars(again).values(), strict=True))
    assert (stats.centre_D is None) == (kind == "none")
    normaliser, x = Normaliser(stats), torch.from_numpy(vectors[:2000])
    z = normaliser(x)
    torch.testing.assert_close(normaliser.centre_D + normaliser.unscale(z), x, rtol=1e-3, atol=1e-3)
    if kind == "whiten":
        torch.testing.assert_close(torch.cov(z.T, correction=0), torch.eye(8), rtol=0, atol=2e-3)
    elif kind == "robust":
        low, middle, high = np.percentile(vectors[:2000], [25, 50, 75], axis=0)
        np.testing.assert_allclose(normaliser.centre_D, middle, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(normaliser.scale_D, (high - low) / 1.349, rtol=1e-4)
    else:
        torch.testing.assert_close(z.mean(0), torch.zeros(8), rtol=0, atol=1e-3)
        torch.testing.assert_close(z.std(0), torch.ones(8), rtol=0, atol=1e-2)


def test_the_context_is_normalised_on_its_way_in_and_the_prediction_is_not():
    shifted = replace(STATS, centre_D=STATS.mean_D, scale_D=STATS.std_D)
    chosen = settings("loss=mse", "normaliser=standard")
    plain, normalised = (module(settings("loss=mse"), STATS, {}), module(chosen, shifted, {}))
    normalised.load_state_dict(plain.state_dict(), strict=False)
    context_BLD = drawn(4, LENGTH, seed=5)
    z_BLD = STATS.standardise(context_BLD)
    torch.testing.assert_close(normalised.predict(context_BLD).raw_ND, plain.predict(z_BLD).raw_ND)


def test_a_normaliser_that_does_not_exist_is_a_sentence():
    with pytest.raises(UserError, match=r"normaliser='min' does not fit; give it one of none, standard"):
        settings("normaliser=min")


def test_a_unit_twin_goes_with_every_prediction():
    reading = reading_of()
    for name in HEADS:
        prediction = stirred(head_of(name))(reading.hidden_NH, reading)
        torch.testing.assert_close(prediction.unit_ND, F.normalize(prediction.raw_ND, dim=-1))
