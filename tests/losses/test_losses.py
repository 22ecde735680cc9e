"""Every term is 1 for its trivial predictor, 0 for the right answer, and does what its formula says.

Shape suffixes: B windows or segments, P supervised positions, N = B x P or the places of segments, L context length,
D vector dim, M negatives.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvm_lab.errors import UserError
from lvm_lab.heads.dual import DualHead
from lvm_lab.losses.cosine import Cosine
from lvm_lab.losses.infonce import InfoNCE
from lvm_lab.losses.moment import Moment
from lvm_lab.losses.mse import MSE
from lvm_lab.losses.variance import Variance
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Batch, Prediction, Stats

DIM = 64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STATS = Stats(mean_D=3 * normal(DIM, seed=1), std_D=0.2 + normal(DIM, seed=2).abs())


def batch_of(target_ND: Tensor, documents: list[int] | None = None, length: int = 5, windows: int = 0, **more) -> Batch:
    windows = windows or len(target_ND)
    document_N = torch.tensor(documents) if documents else torch.arange(len(target_ND))
    return Batch(normal(windows, length, target_ND.shape[1], seed=5), target_ND, document_N, **more)


def drawn(rows: int, seed: int) -> Tensor:
    """Vectors of the encoder's own distribution."""
    return STATS.mean_D + STATS.std_D * normal(rows, DIM, seed=seed)


def value(term: torch.nn.Module, raw_ND: Tensor, batch: Batch, stats: Stats = STATS) -> float:
    return float(term(Prediction.from_raw(raw_ND), batch, stats).detach())


def constant(rows: int) -> Tensor:
    return STATS.mean_D.expand(rows, DIM)


def test_each_term_is_one_for_a_trivial_predictor():
    batch = batch_of(drawn(512, seed=3))
    assert value(MSE(), constant(512), batch) == pytest.approx(1, rel=0.05)
    assert value(Moment(), constant(512), batch) == pytest.approx(1, rel=1e-3)
    assert value(Variance(), constant(512), batch) == pytest.approx(1, rel=1e-4)
    centred = batch_of(normal(512, DIM, seed=3))
    assert value(Cosine(), normal(512, DIM, seed=4), centred) == pytest.approx(1, abs=0.05)
    unrelated = InfoNCE(temperature=0.5)
    assert value(unrelated, normal(512, DIM, seed=4), centred) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("symmetric", [True, False])
def test_infonce_is_exactly_one_where_all_cosines_are_equal(symmetric):
    target = torch.eye(DIM)[: DIM // 2]
    orthogonal = torch.eye(DIM)[DIM // 2 :]
    assert value(InfoNCE(symmetric=symmetric), orthogonal, batch_of(target)) == pytest.approx(1, abs=1e-6)
    # The number of candidates is what chance is measured by, masked ones and harder ones included.
    more = batch_of(
        target,
        documents=[i // 2 for i in range(DIM // 2)],
        negatives_BMD=torch.eye(DIM)[:3].expand(DIM // 2, 3, DIM),
        negatives_mask_BM=torch.tensor([True, False, True]).expand(DIM // 2, 3),
    )
    assert value(InfoNCE(symmetric=symmetric), orthogonal, more) == pytest.approx(1, abs=1e-6)


def test_infonce_is_exactly_one_where_all_cosines_within_a_document_are_equal():
    target = torch.eye(DIM)[: DIM // 2]
    orthogonal = torch.eye(DIM)[DIM // 2 :]
    negatives_BMD = torch.eye(DIM)[1:5].repeat(DIM // 2, 1, 1)
    # One of the window's negatives is its target again, and masked.
    negatives_BMD[:, 0] = target
    batch = batch_of(target, negatives_BMD=negatives_BMD, negatives_mask_BM=torch.ones(DIM // 2, 4, dtype=torch.bool))
    term = InfoNCE(symmetric=False, in_batch=False)
    assert value(term, orthogonal, batch) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_a_constant_prediction_costs_more_than_chance_by_the_spread_of_its_cosines(temperature):
    batch = batch_of(normal(256, DIM, seed=3))
    raw = normal(1, DIM, seed=4).expand(256, DIM)
    # ln of the mean of exp(score) is above the mean of the scores wherever they differ.
    score = F.cosine_similarity(raw, batch.target_ND, dim=-1) / temperature
    forwards = float((score.logsumexp(0) - score.mean()) / math.log(256))
    assert value(InfoNCE(temperature, symmetric=False), raw, batch) == pytest.approx(forwards, abs=1e-5)
    assert value(InfoNCE(temperature), raw, batch) == pytest.approx((forwards + 1) / 2, abs=1e-5)
    assert forwards > (1.2 if temperature == 0.07 else 1.003)


def test_a_target_without_a_rival_costs_nothing():
    batch = batch_of(normal(6, DIM, seed=3), documents=[0] * 6)
    assert value(InfoNCE(), normal(6, DIM, seed=4), batch) == 0


def test_each_term_is_nothing_for_the_right_answer():
    target = drawn(4000, seed=3)
    batch = batch_of(target)
    assert value(MSE(), target, batch) == 0
    assert value(Cosine(), target, batch) == pytest.approx(0, abs=1e-5)
    for term in (Moment(), Variance()):
        assert value(term, target, batch) < 0.02
    few = batch_of(normal(32, DIM, seed=3))
    assert value(InfoNCE(temperature=0.05), few.target_ND, few) < 0.01


def test_cosine_sees_unit_and_mse_sees_raw():
    target = drawn(20, seed=3)
    batch = batch_of(target)
    prediction = Prediction(raw_ND=drawn(20, seed=4), unit_ND=F.normalize(target, dim=-1))
    assert float(Cosine()(prediction, batch, STATS)) == pytest.approx(0, abs=1e-5)
    prediction = Prediction(raw_ND=target, unit_ND=F.normalize(drawn(20, seed=4), dim=-1))
    assert float(MSE()(prediction, batch, STATS)) == 0


def test_cosine_and_mse_are_their_formulas():
    target, raw = drawn(7, seed=3), drawn(7, seed=4)
    batch = batch_of(target)
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(raw, target, strict=True)]
    assert value(Cosine(), raw, batch) == pytest.approx(1 - sum(cosines) / 7, abs=1e-5)
    errors = [float((raw[n, d] - target[n, d]) ** 2 / STATS.std_D[d] ** 2) for n in range(7) for d in range(DIM)]
    assert value(MSE(), raw, batch) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


@given(shift=st.floats(-2, 2), scale=st.floats(0.05, 3))
def test_moment_is_squared_mean_and_squared_distance_of_the_std_to_one(shift, scale):
    z = normal(300, DIM, seed=6)
    z = (z - z.mean(0)) / z.std(0, unbiased=False)
    raw = STATS.mean_D + STATS.std_D * (shift + scale * z)
    assert value(Moment(), raw, batch_of(raw)) == pytest.approx(shift**2 + (scale - 1) ** 2, abs=1e-3)


@given(scale=st.floats(0.01, 3))
def test_variance_is_a_hinge_on_the_targets_own_std(scale):
    z = normal(300, DIM, seed=6)
    z = (z - z.mean(0)) / z.std(0, unbiased=False)
    raw = 5 + STATS.std_D * scale * z
    assert value(Variance(), raw, batch_of(raw)) == pytest.approx(max(0, 1 - scale), abs=1e-3)


@pytest.mark.parametrize("term", [Moment(), Variance()])
def test_a_constant_prediction_has_a_finite_gradient(term):
    raw = constant(8).clone().requires_grad_()
    term(Prediction.from_raw(raw), batch_of(drawn(8, seed=3)), STATS).backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def slow_infonce(
    unit: Tensor,
    batch: Batch,
    temperature: float,
    symmetric: bool,
    own_context: bool,
    same: float,
    in_batch: bool = True,
) -> float:
    """The docstring again, a candidate at a time, in float64."""
    unit, target = unit.double(), F.normalize(batch.target_ND.double(), dim=-1)
    rows, length = len(unit), batch.context_BLD.shape[1]
    positions = rows // len(batch.context_BLD)

    def direction(of: Tensor, among: Tensor, harder: bool) -> float:
        total = 0.0
        for n in range(rows):
            candidates = [float(of[n] @ among[n])]
            for m in range(n % positions, rows, positions) if in_batch else ():
                other_document = batch.document_N[m] != batch.document_N[n]
                if m != n and other_document and float(target[n] @ target[m]) <= same:
                    candidates.append(float(of[n] @ among[m]))
            window, position = divmod(n, positions)
            extra = []
            if harder and batch.negatives_BMD is not None and batch.negatives_mask_BM is not None:
                real = batch.negatives_mask_BM[window]
                extra += [x for x, keep in zip(batch.negatives_BMD[window], real, strict=True) if keep]
            if harder and own_context:
                extra += list(batch.context_BLD[window][: length - positions + position + 1])
            for other in extra:
                other = F.normalize(other.double(), dim=-1)
                if float(target[n] @ other) <= same:
                    candidates.append(float(of[n] @ other))
            scores = [math.exp(c / temperature) for c in candidates]
            total += -math.log(scores[0] / sum(scores)) / math.log(max(len(candidates), 2))
        return total / rows

    forwards = direction(unit, target, harder=True)
    return (forwards + direction(target, unit, harder=False)) / 2 if symmetric else forwards


@pytest.mark.parametrize("positions", [1, 3, 5])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("own_context", [True, False])
@pytest.mark.parametrize("negatives", [0, 4])
@pytest.mark.parametrize("in_batch", [True, False])
def test_infonce_is_a_slow_loops(positions, symmetric, own_context, negatives, in_batch):
    if not in_batch and (symmetric or not (negatives or own_context)):
        pytest.skip("refused")
    windows, dim = 6, 16
    rows = windows * positions
    target = normal(rows, dim, seed=7)
    target[-positions] = target[0] + 0.01
    documents = [window // 2 for window in range(windows) for _ in range(positions)]
    more = {}
    if negatives:
        hard = normal(windows, negatives, dim, seed=8)
        # One that is as good as the right answer, and one that is not there.
        hard[0, 0] = 2 * target[0]
        mask = torch.ones(windows, negatives, dtype=torch.bool)
        mask[1, 2:] = mask[5] = False
        more = {"negatives_BMD": hard, "negatives_mask_BM": mask}
    batch = batch_of(target, documents, windows=windows, **more)
    if own_context:
        batch.context_BLD[2, 1] = target[2 * positions]
    prediction = Prediction.from_raw(target + normal(rows, dim, seed=9))
    term = InfoNCE(0.2, symmetric=symmetric, own_context=own_context, same_above=0.9, in_batch=in_batch)
    expected = slow_infonce(prediction.unit_ND, batch, 0.2, symmetric, own_context, 0.9, in_batch)
    assert float(term(prediction, batch, STATS).detach()) == pytest.approx(expected, abs=1e-5)


def test_infonce_without_the_batch_needs_other_negatives_and_one_direction():
    with pytest.raises(UserError, match=r"symmetric=true asks .* set symmetric=false too\.$"):
        InfoNCE(in_batch=False)
    with pytest.raises(UserError, match=r"leaves no negatives; set loss\.negatives to 1 or more"):
        value(InfoNCE(symmetric=False, in_batch=False), drawn(4, seed=1), batch_of(drawn(4, seed=2)))


def test_infonce_without_the_batch_has_nothing_to_say_of_a_window_without_negatives():
    hard = normal(4, 3, DIM, seed=8)
    mask = torch.zeros(4, 3, dtype=torch.bool)
    batch = batch_of(drawn(4, seed=2), negatives_BMD=hard, negatives_mask_BM=mask)
    raw = drawn(4, seed=1).requires_grad_()
    loss = InfoNCE(symmetric=False, in_batch=False)(Prediction.from_raw(raw), batch, STATS)
    loss.backward()
    assert float(loss.detach()) == 0
    assert raw.grad is not None
    assert not raw.grad.any()


def test_infonce_does_not_care_for_lengths():
    target, raw = normal(12, 16, seed=1), normal(12, 16, seed=2)
    batch, longer = batch_of(target), batch_of(target * 40)
    assert value(InfoNCE(), raw, batch) == pytest.approx(value(InfoNCE(), raw * 7, longer), abs=1e-5)


@pytest.mark.parametrize("documents", [[0] * 6, [0, 0, 0, 1, 1, 2]], ids=["one document", "few documents"])
def test_masked_candidates_leave_gradients_finite(documents):
    raw = normal(6, 16, seed=2).requires_grad_()
    hard = normal(6, 2, 16, seed=3)
    batch = batch_of(
        normal(6, 16, seed=1),
        documents,
        negatives_BMD=hard,
        negatives_mask_BM=torch.zeros(6, 2, dtype=torch.bool),
    )
    term = InfoNCE()
    loss = term(Prediction.from_raw(raw), batch, STATS)
    loss.backward()
    assert loss.isfinite()
    for gradient in (raw.grad, term.log_temperature.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_the_temperature_is_kept_between_its_edges_and_can_come_back():
    term = InfoNCE()
    assert float(term.temperature().detach()) == pytest.approx(0.07)
    for wild, edge in ((-20.0, 0.01), (5.0, 0.5)):
        term.log_temperature.data.fill_(wild)
        batch = batch_of(normal(8, 16, seed=1))
        term.log_temperature.grad = None
        term(Prediction.from_raw(normal(8, 16, seed=2)), batch, STATS).backward()
        assert float(term.log_temperature.detach().exp()) == pytest.approx(edge, rel=1e-5)
        assert term.log_temperature.grad is not None
        assert term.log_temperature.grad != 0
    assert not InfoNCE(learn_temperature=False).log_temperature.requires_grad


@pytest.mark.parametrize("temperature", [0.0, 0.009, 0.51])
def test_a_temperature_outside_its_edges_is_refused(temperature):
    with pytest.raises(UserError, match=r"temperature=.* is outside .01 to .5; set one between"):
        InfoNCE(temperature=temperature)


def weighted() -> WeightedTerms:
    terms = {"mse": MSE(), "cosine": Cosine(), "variance": Variance()}
    return WeightedTerms(terms, {"mse": 1.0, "cosine": 0.5, "variance": 0.0})


def test_the_total_is_the_weighted_sum_and_parts_are_before_their_weights():
    loss, batch, prediction = weighted(), batch_of(drawn(9, seed=3)), Prediction.from_raw(0.1 * drawn(9, seed=4))
    total, parts = loss(prediction, batch, STATS)
    assert list(parts) == ["mse", "cosine", "variance"]
    for name, part in parts.items():
        assert float(part) == float(loss.terms[name](prediction, batch, STATS)) > 0
    assert float(total) == pytest.approx(float(parts["mse"] + 0.5 * parts["cosine"]), rel=1e-6)


def test_gradient_shares_are_of_the_weighted_norms_at_raw():
    loss, batch = weighted(), batch_of(drawn(9, seed=3))
    raw = drawn(9, seed=4).requires_grad_()
    prediction = Prediction.from_raw(raw)
    _, parts = loss(prediction, batch, STATS)
    shares = loss.gradient_shares(prediction, parts)
    assert sum(shares.values()) == pytest.approx(1)
    norms = [
        float(torch.autograd.grad(parts[name], raw, retain_graph=True)[0].norm()) * weight
        for name, weight in (("mse", 1.0), ("cosine", 0.5))
    ]
    assert [shares["mse"], shares["cosine"]] == pytest.approx([n / sum(norms) for n in norms], rel=1e-5)
    assert shares["variance"] == 0
    # The graph is still there for the training step's own backward.
    parts["mse"].backward()


def test_a_term_that_does_not_touch_raw_has_no_share():
    loss = WeightedTerms({"cosine": Cosine(), "mse": MSE()}, {"cosine": 1.0, "mse": 1.0})
    raw, unit = drawn(4, seed=4).requires_grad_(), F.normalize(drawn(4, seed=5), dim=-1).requires_grad_()
    prediction = Prediction(raw, unit)
    _, parts = loss(prediction, batch_of(drawn(4, seed=3)), STATS)
    assert loss.gradient_shares(prediction, parts) == {"cosine": 0.0, "mse": 1.0}


def test_the_dual_head_speaks_in_the_encoders_units():
    torch.manual_seed(0)
    head = DualHead(width=12, stats=STATS, hidden=256)
    hidden = normal(500, 12, seed=1)
    prediction = head(hidden)
    assert prediction.raw_ND.shape == prediction.unit_ND.shape == (500, DIM)
    torch.testing.assert_close(prediction.unit_ND, F.normalize(prediction.raw_ND, dim=-1))
    spoken = head.project(hidden)
    torch.testing.assert_close(STATS.standardise(prediction.raw_ND), spoken, rtol=1e-4, atol=1e-4)
    last = head.project[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    torch.testing.assert_close(head(normal(2, 12)).raw_ND, STATS.mean_D.expand(2, DIM))
    assert {"units.centre_D", "units.scale_D"} <= set(head.state_dict())
    with pytest.raises(UserError, match=r"head.hidden=0"):
        DualHead(width=12, stats=STATS, hidden=0)


# Three segments of two documents: places 1, 2 and 3 of the first are supervised, 3 of the second, 0 of the last.
PLACES = [(0, 1), (0, 2), (0, 3), (1, 3), (2, 0)]
SEGMENTS, PLACE_LENGTH = 3, 4


def of_segments(negatives: int = 5, seed: int = 1, **more) -> Batch:
    mask_BM = torch.rand(SEGMENTS, negatives, generator=torch.Generator().manual_seed(9)) > 0.2
    return Batch(
        context_BLD=normal(SEGMENTS, PLACE_LENGTH, DIM, seed=seed),
        target_ND=normal(len(PLACES), DIM, seed=seed + 1),
        document_N=torch.tensor([7, 7, 7, 4, 7]),
        index_N=torch.tensor([b * PLACE_LENGTH + t for b, t in PLACES]),
        pool_B=torch.tensor([1, 3, 4]),
        negatives_BMD=normal(SEGMENTS, negatives, DIM, seed=seed + 2) if negatives else None,
        negatives_mask_BM=mask_BM if negatives else None,
        # Before the segment, its first vector, within it, behind it.
        place_BM=torch.tensor([-3, 0, 2, 3, 4]).repeat(SEGMENTS, 1)[:, :negatives] if negatives else None,
        **more,
    )


def by_hand(term: InfoNCE, unit_ND: Tensor, batch: Batch) -> float:
    """Place by place, candidate by candidate."""
    cos = lambda a, b: float(F.cosine_similarity(a, b, dim=0))  # noqa: E731
    assert batch.pool_B is not None
    temperature = float(term.temperature().detach())
    forwards, backwards = [], []
    for n, (b, t) in enumerate(PLACES):
        target = batch.target_ND[n]
        one = [cos(unit_ND[n], target)]
        two = [*one]
        for m in batch.pool_B.tolist() if term.in_batch else []:
            if batch.document_N[m] != batch.document_N[n] and cos(target, batch.target_ND[m]) <= term.same_above:
                one.append(cos(unit_ND[n], batch.target_ND[m]))
                two.append(cos(target, unit_ND[m]))
        others = []
        if batch.negatives_BMD is not None:
            assert batch.negatives_mask_BM is not None
            assert batch.place_BM is not None
            for m in range(batch.negatives_BMD.shape[1]):
                if batch.negatives_mask_BM[b, m] and not 0 <= int(batch.place_BM[b, m]) <= t + 1:
                    others.append(batch.negatives_BMD[b, m])
        if term.own_context:
            others += list(batch.context_BLD[b, : t + 1])
        one += [cos(unit_ND[n], other) for other in others if cos(target, other) <= term.same_above]
        for cosines, losses in ((one, forwards), (two, backwards)):
            scores = torch.tensor(cosines) / temperature
            losses.append(float(scores.logsumexp(0) - scores[0]) / math.log(max(2, len(cosines))))
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    return (mean(forwards) + mean(backwards)) / 2 if term.symmetric else mean(forwards)


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize(
    "options",
    [{}, {"symmetric": False}, {"own_context": True}, {"symmetric": False, "in_batch": False, "own_context": True}],
)
def test_infonce_of_segments_is_its_formula(options, negatives):
    term, batch, raw_ND = InfoNCE(**options), of_segments(negatives), normal(len(PLACES), DIM, seed=8)
    # A chunk that nobody has read and one of the pool that are as good as a target.
    batch.target_ND[3] = 0.9 * batch.target_ND[1] + 0.01 * normal(DIM, seed=3)
    if batch.negatives_BMD is not None:
        batch.negatives_BMD[0, 4] = batch.target_ND[2]
    expected = by_hand(term, F.normalize(raw_ND, dim=-1), batch)
    assert value(term, raw_ND, batch) == pytest.approx(expected, abs=1e-5)


def test_infonce_of_segments_within_documents_alone():
    term, batch = InfoNCE(symmetric=False, in_batch=False), of_segments()
    raw_ND = normal(len(PLACES), DIM, seed=8)
    assert value(term, raw_ND, batch) == pytest.approx(by_hand(term, F.normalize(raw_ND, dim=-1), batch), abs=1e-5)
    with pytest.raises(UserError, match=r"leaves no negatives; set loss.negatives to 1 or more"):
        value(term, raw_ND, of_segments(0))


@pytest.mark.parametrize("symmetric", [True, False])
def test_infonce_of_segments_is_exactly_one_where_all_cosines_are_equal(symmetric):
    axes = torch.eye(DIM)
    batch = of_segments()
    batch.context_BLD[:] = axes[0]
    batch.target_ND[:] = axes[1 : 1 + len(PLACES)]
    assert batch.negatives_BMD is not None
    batch.negatives_BMD[:] = axes[10:15]
    raw_ND = axes[30].expand(len(PLACES), -1)
    # The last two places have rivals in the batch too, of the other document.
    assert value(InfoNCE(symmetric=symmetric), raw_ND, batch) == pytest.approx(1, abs=1e-6)


def test_infonce_of_segments_of_one_place_is_that_of_windows():
    raw_ND, windows = normal(6, DIM, seed=1), batch_of(normal(6, DIM, seed=2), documents=[0, 0, 1, 2, 3, 3])
    index_N = torch.arange(6) * 5 + 4
    negatives = {
        "negatives_BMD": normal(6, 3, DIM, seed=3),
        "negatives_mask_BM": torch.tensor([True, True, False]).expand(6, 3),
    }
    windows = replace(windows, **negatives)
    segments = replace(windows, index_N=index_N, pool_B=torch.arange(6), place_BM=torch.full((6, 3), -1))
    for own_context in (False, True):
        term = InfoNCE(own_context=own_context)
        assert value(term, raw_ND, segments) == pytest.approx(value(term, raw_ND, windows), abs=1e-6)


def test_infonce_of_segments_reads_nothing_behind_a_place():
    """Chunks that a place has read and its target are no negatives, later ones are: one candidate moved at a time."""
    term, batch, raw_ND = InfoNCE(symmetric=False, in_batch=False), of_segments(), normal(len(PLACES), DIM, seed=8)
    assert batch.negatives_mask_BM is not None
    assert batch.negatives_BMD is not None
    assert batch.place_BM is not None
    batch.negatives_mask_BM[:] = True
    before = value(term, raw_ND, batch)
    # The first segment supervises places 1, 2 and 3: what lies at 0 and at 2 each of them has read, or has to tell.
    for m, known_to_all in enumerate([False, True, True, False, False]):
        moved_BMD = batch.negatives_BMD.clone()
        moved_BMD[0, m] = normal(DIM, seed=20)
        assert (value(term, raw_ND, replace(batch, negatives_BMD=moved_BMD)) == before) == known_to_all
