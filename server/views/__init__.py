"""Reports as pages: shown by hosts (MCP Apps), or written by the command line with --html FILE.

page     the one self-contained page: style, scripts and, on the command line, the data; no network
beside   what a view shows beside the Report: the data of artifacts, and the runs that were compared
assets/  the page's style and scripts; views/ holds one function from a Report to elements for each tool,
         vendor/ the chart library

A page is the same for all tools and picks its view by the tool's name, so that a button which calls the next tool can
show what came of it. `SHOWN` lists the tools that hosts are offered a page for; other Reports are shown as they are.
"""

from .beside import beside
from .page import app_page, written_page

__all__ = ["SHOWN", "app_page", "beside", "written_page"]

SHOWN = {
    "apply_amp_patch": "The patch, with a reason for each site",
    "augment_series": "Originals and copies",
    "compare_baselines": "Forecasts with intervals, and what augmentation did",
    "detect_hardware": "Hardware at a glance",
    "distill_model": "Accuracy against latency",
    "estimate_cost": "Cost against time, and break-even",
    "estimate_memory": "Memory over a step, and the remedies",
    "measure_run": "A measured run",
    "prune_model": "Accuracy against latency",
    "quantize_model": "Accuracy against latency",
    "review_evidence": "Before and after",
    "triage_constraint": "The binding constraint, its evidence and the plan",
}
