"""Single words as a last resort: what a curt message is probably about, where no sentence of it said anything."""

import re

from .clues import Clue
from .prose import Prose

_POINTS = 0.6  # so that the confidence stays below 0.4
_CURT = 300  # characters of a message that is a phrase or two; what is longer says more than its single words
_ANOTHER_QUESTION = ("nonml", "howto", "choice", "bug", "nan", "converge")
_HINTS = {
    "gpu_memory": r"vram|cards?|allocat\w+|gpu memory|activations|batch size|context length|resolution",
    "host_memory": r"ram|memory|pandas|workers|dataframes?|swap\w*|kernel|notebook|concat\w*|killed",
    "compute_time": r"it/s|s/it|hours?|days|weeks?|months?|overnight|deadline|epochs?|faster|speed|runs?|retrain\w*",
    "inference_latency": r"ms|milliseconds?|seconds?|wait(?:s|ing)?|real[- ]time|repl(?:y|ies)|respon\w+"
    r"|serv(?:e|es|ing)|users|requests?|scor(?:e|es|ing)|generation|fps",
    "training_data": r"label\w*|history|samples?|examples|short|few|scarce|rare|observations|installed|opened"
    r"|positives",
    "budget": r"costs?|spend\w*|spent|overspent|dollars?|euros?|invoice|afford\w*|rent\w*|usd|eur",
    "no_gpu": r"no cuda|xeon|laptop|macbook|cpus?|cores",
    "edge": r"android|ios|iphone|phones?|battery|microcontroller|mcu|flash|watts?|drones?|embedded|robot\w*",
    "disk": r"disks?|full|storage|quota|checkpoints?|inodes?",
    "network": r"nodes?|scaling|all-?reduce|ethernet|infiniband|bandwidth|download\w*|interconnect|\d+ gpus",
}
_PATTERNS = {name: re.compile(rf"(?<![\w.])(?:{words})(?!\w)") for name, words in _HINTS.items()}


def read_hints(prose: Prose) -> list[Clue]:
    """One weak clue for the constraint that most different words hint at; none where two are level."""
    if prose.characters > _CURT or not prose.named.keys().isdisjoint(_ANOTHER_QUESTION):
        return []
    hints = {name: _words(prose, pattern) for name, pattern in _PATTERNS.items()}
    first, second = sorted(hints, key=lambda name: -len(hints[name]))[:2]
    enough = 2 if prose.names_no_machine_learning() else 1
    if len(hints[first]) < max(enough, len(hints[second]) + 1):
        return []
    start = min(hints[first].values())
    shows = f"single words hint at it, no more: {', '.join(sorted(hints[first]))}"
    return [Clue(first, None, _POINTS, start, start + 1, shows, source="prose")]


def _words(prose: Prose, pattern: re.Pattern[str]) -> dict[str, int]:
    """The different words that match, each with its place in the text."""
    return {m.group(): start + m.start() for start, text in prose.sentences for m in pattern.finditer(text)}
