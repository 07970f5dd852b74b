"""All rules together, on a patched script and on what it was made from."""

import ast

from .forwards import Forwards
from .full import FullPrecision
from .replicas import Replicas
from .sequences import Sequences
from .settings import Settings
from .steps import Steps
from .stripped import compare
from .words import Fault


class Judge(Settings, Steps, Sequences, Forwards, FullPrecision, Replicas):
    """All rules, in turn."""

    def run(self) -> list[Fault]:
        self.autocasts()
        self.scaler_building()
        self.names_bound()
        self.backwards_and_steps()
        self.sequences()
        self.forwards()
        self.full_precision_losses()
        self.islands()
        self.numpy()
        self.replicas()
        return self.found


def faults(patched: str, original: str | None = None) -> list[Fault]:
    """Everything wrong with a patched script; an empty list where nothing was found."""
    try:
        tree = ast.parse(patched)
    except SyntaxError as error:
        return [Fault(error.lineno or 1, "does_not_parse", error.msg)]
    found = Judge(tree).run()
    if original is not None:
        known = {f.detail for f in Judge(ast.parse(original)).run() if f.code == "unbound_name"}
        found = [f for f in found if not (f.code == "unbound_name" and f.detail in known)]
        before = Judge(ast.parse(original))
        if (
            before.scalers or before.casts
        ):  # mixed precision that was there is judged by what the patch changed
            old = {f.code for f in before.run()} - {"deprecated_name", "no_device_type"}
            found = [f for f in found if f.code not in old]
        found += compare(patched, original)
    return sorted(set(found), key=lambda f: (f.line, f.code))
