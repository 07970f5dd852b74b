"""Batches loaded ahead by workers, into pinned memory.

    DataLoader(train_set, batch_size=64, shuffle=True)
    ->  DataLoader(train_set, batch_size=64, shuffle=True, num_workers=loader_workers, persistent_workers=..., ...)

Workers need a script that can be imported: its training stands in functions or under `if __name__ == "__main__"`.
https://docs.pytorch.org/docs/stable/data.html#multi-process-data-loading
"""

import ast

from ..arguments import further_argument
from ..context import Context
from ..datasets import changes, gpu_line, kind_of_data, unpicklable
from ..edits import Edit, Span
from ..patch import Patch, Site
from ..prelude import free_name, header

REMEDY = "dataloader"
_LOADERS = {
    "torch.utils.data.DataLoader",
    "torch.utils.data.dataloader.DataLoader",
    "torch_geometric.loader.DataLoader",
}
_NOT_SENT = (
    "the training runs on import, or what is loaded holds a lambda or inner function, which worker processes cannot "
    "receive where they do not fork"
)
_UNKNOWN = "the dataset may be a stream, which each worker would yield as a whole"
_WARNINGS = [
    "with workers the same seed gives another order of batches and other random transforms than before"
]
_MOST_WORKERS = 4  # beyond, the bottleneck is usually elsewhere; measure before going higher


def propose(context: Context) -> Patch:
    """Edits for every DataLoader of the file."""
    script = context.script
    loaders = [c for c in script.calls if script.called(c) in _LOADERS]
    if not loaders:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_loader", "no DataLoader is built in this file")]
        )
    edits: list[Edit] = []
    sites: list[Site] = []
    workers = free_name(script, "loader_workers")
    used = False
    for call in loaders:
        more, site, counted = _loader(context, call, workers)
        edits += more
        sites.append(site)
        used = used or counted
    if edits:
        torch = [] if script.torch_name() else ["import torch"]
        count = [f"{workers} = min({_MOST_WORKERS}, os.cpu_count() or 1)"] if used else []
        lines = [*(["import os"] if used else []), *torch, *([""] if used else []), *count]
        edits += [header(script, lines)] if lines else []
        return Patch("patched", sites, edits, _WARNINGS if used else [])
    outcome = "declined" if any(s.action == "decline" for s in sites) else "already"
    return Patch(outcome, sites)


def _loader(context: Context, call: ast.Call, workers: str) -> tuple[list[Edit], Site, bool]:
    """The edits of one loader, its site, and whether they use the number of workers."""
    script, line = context.script, call.lineno
    kind = kind_of_data(context, call)
    refusal = _refusal(context, call, kind)
    if refusal is not None:
        return [], Site(line, REMEDY, "decline", *refusal), False
    given = {k.arg: k.value for k in call.keywords}
    torch = script.torch_name() or "torch"
    texts: list[str] = []
    edits: list[Edit] = []
    present = given.get("num_workers")
    none = present is None or (isinstance(present, ast.Constant) and present.value == 0)
    can = _importable(context, call) and not unpicklable(context, call)
    more = none and can and kind == "map"
    if more:
        if present is not None:
            edits.append(Span(script.start(present), script.end(present), workers))
        else:
            texts.append(f"num_workers={workers}")
        if "persistent_workers" not in given and not changes(context, call):
            texts.append(f"persistent_workers={workers} > 0")
    if "pin_memory" not in given:
        texts.append(f"pin_memory={torch}.cuda.is_available()")
    if texts:
        edits.append(further_argument(script, call, ", ".join(texts)))
    refused = ("no_main_guard", _NOT_SENT) if not can else ("data_unknown", _UNKNOWN)
    if edits:
        pinned = "batches are put into pinned memory" + (f"; no workers: {refused[1]}" if none else "")
        note = "batches are loaded ahead" if more else pinned
        return edits, Site(line, REMEDY, "edit", "loader_options", note), more
    if none:
        return [], Site(line, REMEDY, "decline", *refused), False
    return [], Site(line, REMEDY, "keep", "already", "workers and pinning are set"), False


def _refusal(context: Context, call: ast.Call, kind: str) -> tuple[str, str] | None:
    """Code and note of why a loader is left alone."""
    if len(call.args) > 4 or any(k.arg is None for k in call.keywords):
        return "framework_flag", "its options come from a dictionary or by position"
    if kind == "memory":
        return "data_in_memory", "the data are in memory: workers would only copy them"
    if kind == "shared":
        note = (
            "the dataset keeps a file open or changes as it is read, and each worker would do so in its copy"
        )
        return "data_has_state", note
    if _fresh_each_time(context, call):
        note = "an iterator is made for one batch at a time, which would throw away what workers loaded ahead"
        return "data_has_state", note
    if kind == "stream":
        return "data_streams", "each worker would yield the whole stream; let it ask get_worker_info() first"
    device = gpu_line(context, call)
    if device is not None:
        note = f"what line {device} loads is put on the GPU, which neither workers nor pinning can do"
        return "data_on_gpu", note
    return None


def _fresh_each_time(context: Context, call: ast.Call) -> bool:
    """`next(iter(loader))` inside of a loop."""
    script = context.script
    statement = script.parents[call]
    names = {ast.unparse(t) for t in statement.targets} if isinstance(statement, ast.Assign) else set()
    return any(
        script.called(outer) == "builtins.next"
        and script.loop(outer) is not None
        and outer.args
        and script.called(outer.args[0]) == "builtins.iter"
        and any(ast.unparse(a) in names for a in getattr(outer.args[0], "args", []))
        for outer in script.calls
    )


def _importable(context: Context, call: ast.Call) -> bool:
    """The loader is built inside a function that is not called on import, or under the main guard."""
    script = context.script
    for above in script.ancestors(call):
        if isinstance(above, ast.If) and "__name__" in ast.unparse(above.test):
            return True
    function = script.function(call)
    if function is None:
        return False
    sites = context.roles.call_sites(function)
    if script.method_class(function) is not None and not sites:
        return True
    return all(_importable(context, site) for site in sites if site is not call)
