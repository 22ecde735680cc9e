"""Lays out W&B's page of comparison for mirrored runs: `lvm-lab wandb-dashboard --project P`; no torch."""

from __future__ import annotations

from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.loggers.wandb import GATES_KEY, has_account

VAL = "5cat/val"
MRR = f"{VAL}/B/mrr_unseen"
# Lines by epoch, a section each: what is logged under these names is what history.jsonl holds.
CURVES = {
    "5CAT on VAL": {
        "gates passed": "5cat/passed",
        "A: cosine to the next vector": f"{VAL}/A/cos",
        "A: margin": f"{VAL}/A/margin",
        "B: R@1": f"{VAL}/B/r1",
        "B: MRR, unseen chunks": MRR,
        "D: rollout": f"{VAL}/D/rollout",
    },
    "Loss": {"training": "train/loss", "validation": "val/loss", "cosine on validation": "val/cos", "rate": "lr"},
    "Cost": {"seconds an epoch": "seconds", "windows a second": "windows_per_second"},
}
COLUMNS = ["summary:status", "summary:5cat.passed", "summary:5cat.verdict"]
COLUMNS += [f"config:{key}.value" for key in ("arch.name", "loss.name", "data.name", "seed")]


def create(project: str, entity: str | None, group: str | None) -> str:
    """Save the view through W&B's API; its address.

    Raises UserError without an account, without the package, or where the server refuses.
    """
    if not has_account():
        raise UserError("W&B knows no account on this machine; run `wandb login`, or set WANDB_API_KEY.")
    _package()
    import wandb

    try:
        entity = entity or wandb.Api().default_entity
        if not entity:
            raise UserError("this account has no entity of its own; name one with --entity.")
        view = workspace(project, entity, group)
        view.save()
    except UserError:
        raise
    except Exception as error:  # the server's refusals come as whatever its client happens to raise
        raise UserError(
            f"W&B refused ({type(error).__name__}); check the key, --project {project} and --entity {entity}, and that "
            "the project has runs."
        ) from error
    return str(view.url)


def workspace(project: str, entity: str, group: str | None) -> Any:
    """The view, not saved yet: gates, losses and cost by epoch, then runs side by side and their gate tables."""
    ws, wr = _package()
    sections = [
        ws.Section(name=name, is_open=True, panels=[wr.LinePlot(title=t, x="epoch", y=[y]) for t, y in curves.items()])
        for name, curves in CURVES.items()
    ]
    side_by_side = [
        wr.ScatterPlot(title="ranking against cosine", x=wr.SummaryMetric("val/cos"), y=wr.SummaryMetric(MRR)),
        wr.BarPlot(title="A: margin", metrics=[f"{VAL}/A/margin"]),
        wr.RunComparer(diff_only="split"),
        wr.WeavePanelSummaryTable(table_name=GATES_KEY),
    ]
    sections.append(ws.Section(name="Side by side", is_open=True, panels=side_by_side))
    best_first = ws.Ordering(ws.Summary("5cat.passed"), ascending=False)
    filters = [ws.Metric("Group") == group] if group else []
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"lvm_lab: {group or 'all runs'}",
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(filters=filters, order=[best_first], pinned_columns=COLUMNS),
    )


def _package() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError(
            'the package that writes W&B\'s views is missing; pip install -c constraints.txt -e ".[wandb_dashboard]".'
        ) from error
    return ws, wr
