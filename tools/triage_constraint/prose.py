"""What plain sentences speak for: rules over the ideas that stand together in one sentence or one text."""

import re
from dataclasses import dataclass

from .clues import STRONG, Clue
from .concepts import concepts, simplified, spans

PROSE_LIMIT = 4000  # characters of prose that are read: people state their problem early
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")
_SHORT = 150  # characters in which a job need not be described
_TITLE_FACTOR = 1.5  # the first line of an issue or a mail is its summary
_MACHINE_LINE = re.compile(
    r"^\s*(?:file \"|at \S+\(|\^+\s*$|\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d|[ \t]*\d+%\||#\d+ 0x|frame #|"
    r"(?:import|from) \w|\s{8,}\S|[|+=*_~-]{6,}|\[bt\])"
)


@dataclass(frozen=True)
class Rule:
    """`needs` stand together in a sentence (or, with scope "text", anywhere); `without` must not."""

    constraint: str
    sub_cause: str | None
    points: float
    needs: str
    without: str = ""
    scope: str = "sentence"
    shows: str = ""


RULES = (
    # gpu_memory and host_memory
    Rule("gpu_memory", None, 7, "oom gpu", "host nonml nogpu", shows="GPU memory is the complaint"),
    Rule("gpu_memory", None, 4, "oom gpu", "nonml nogpu", shows="memory and a GPU are named together"),
    Rule("gpu_memory", None, 4, "oom", "host nogpu nonml money", shows="memory is the complaint"),
    Rule(
        "gpu_memory",
        None,
        2,
        "oom gpu",
        "host nonml nogpu",
        scope="text",
        shows="memory and a GPU in one text",
    ),
    Rule("host_memory", None, 7, "oom host", "gpu nonml", shows="host memory is the complaint"),
    Rule("host_memory", None, 5, "oom host", "nonml", shows="host memory is the complaint"),
    Rule("host_memory", None, 6, "oom nogpu", "nonml", shows="memory runs out on a machine without a GPU"),
    Rule(
        "host_memory",
        "ram_capacity",
        4,
        "oom nogpu",
        "gpu nonml",
        scope="text",
        shows="memory runs out without a GPU",
    ),
    Rule(
        "host_memory",
        "ram_capacity",
        7,
        "host nogpu bug",
        "nonml",
        shows="crashes where only host memory is at hand",
    ),
    Rule(
        "gpu_memory",
        "true_capacity",
        5,
        "bigmodel gpu",
        "choice slow money multi nonml",
        shows="a large model and one card",
    ),
    Rule(
        "host_memory", "container_limit", 6, "oom smallbox", "gpu nonml", shows="a memory limit is in the way"
    ),
    Rule("gpu_memory", None, 5, "gpumem", "choice nonml money", shows="GPU memory is named"),
    # time
    Rule(
        "compute_time",
        None,
        4,
        "duration train",
        "infer money multi converge",
        shows="says how long training takes",
    ),
    Rule("compute_time", None, 6, "slow train", "infer multi money converge", shows="training is slow"),
    Rule("compute_time", None, 5, "slow train", "money converge", shows="training is slow"),
    Rule(
        "compute_time",
        None,
        3,
        "slow train",
        "infer money multi",
        scope="text",
        shows="slow, and about training",
    ),
    Rule(
        "compute_time",
        "gpu_underused",
        6,
        "lowutil train",
        "infer",
        shows="the GPU is not busy while training",
    ),
    Rule("compute_time", "gpu_underused", 5, "lowutil", "infer", shows="the GPU is not busy"),
    Rule("compute_time", "gpu_underused", 3, "lowutil train", "", scope="text", shows="the GPU is not busy"),
    Rule("compute_time", "data_loader_bound", 6, "loader hang", "", shows="loading data blocks the run"),
    Rule("compute_time", "data_loader_bound", 5, "loader slow", "infer", shows="loading data is slow"),
    Rule("compute_time", "data_loader_bound", 5, "loader lowutil", "infer", shows="the GPU waits for data"),
    Rule(
        "compute_time",
        None,
        2.5,
        "slow",
        "infer money nonml multi netword edge",
        shows="slowness is the complaint",
    ),
    # inference
    Rule("inference_latency", None, 6, "slow infer", "train money netword", shows="inference is slow"),
    Rule("inference_latency", None, 4, "slow infer", "money netword", shows="inference is slow"),
    Rule(
        "inference_latency",
        None,
        3,
        "slow infer",
        "train money netword",
        scope="text",
        shows="slow, and about inference",
    ),
    Rule(
        "inference_latency",
        None,
        4,
        "duration infer",
        "train money netword",
        shows="says how long inference takes",
    ),
    Rule(
        "inference_latency",
        "cpu_inference",
        6,
        "duration infer nogpu",
        "train",
        shows="says how long inference takes on a CPU",
    ),
    Rule(
        "inference_latency",
        "preprocessing_bound",
        6,
        "lowutil infer",
        "train",
        shows="the GPU is not busy while serving",
    ),
    Rule(
        "inference_latency",
        "gpu_not_used",
        3,
        "lowutil infer",
        "train",
        scope="text",
        shows="the GPU is not used",
    ),
    Rule(
        "inference_latency",
        "no_batching",
        6,
        "batching infer",
        "train money",
        shows="inputs are handled one by one",
    ),
    Rule(
        "inference_latency",
        "no_batching",
        4,
        "batching slow",
        "train",
        scope="text",
        shows="inputs are handled one by one",
    ),
    Rule("inference_latency", "warmup", 6, "warm slow", "train", shows="the first call is slow"),
    Rule("inference_latency", "cpu_inference", 6, "slow nogpu", "train", shows="inference on a CPU is slow"),
    Rule(
        "inference_latency",
        "cpu_inference",
        3,
        "slow nogpu infer",
        "train",
        scope="text",
        shows="inference on a CPU is slow",
    ),
    # money
    Rule("budget", None, 7, "money cloud", "", shows="cost is the complaint"),
    Rule("budget", None, 3, "money", "nonml", shows="cost is named"),
    Rule("budget", "idle_resources", 5, "money idle", "", shows="charged without use"),
    Rule("budget", "idle_resources", 3, "money idle cloud", "", scope="text", shows="charged without use"),
    Rule(
        "budget", "inference_cost", 3, "money infer cloud", "train", scope="text", shows="the cost of serving"
    ),
    Rule(
        "budget", "training_cost", 3, "money train cloud", "infer", scope="text", shows="the cost of training"
    ),
    Rule("budget", "spot", 7, "spot money", "choice", scope="text", shows="spot capacity is asked for"),
    # data
    Rule("training_data", "overfitting", 8, "overfit", "nonml bug", shows="overfitting is the complaint"),
    Rule("training_data", "overfitting", 4, "overfit", "", shows="overfitting is named"),
    Rule("training_data", "few_samples", 8, "fewdata", "nonml oom disk", shows="there is little data"),
    Rule(
        "training_data",
        "few_samples",
        4,
        "fewdata train",
        "oom disk",
        scope="text",
        shows="there is little data",
    ),
    # no GPU, edge
    Rule("no_gpu", None, 6, "nogpu", "slow oom money duration", shows="there is no GPU to use"),
    Rule("no_gpu", None, 3, "nogpu howto", "oom", shows="asks to run without a GPU"),
    Rule("edge", "device_latency", 8, "edge slow", "nonml", shows="an edge device is too slow"),
    Rule(
        "edge",
        "device_latency",
        5,
        "edge slow",
        "nonml choice",
        scope="text",
        shows="an edge device is too slow",
    ),
    Rule("edge", "device_memory", 8, "edge oom", "nonml", shows="an edge device runs out of memory"),
    Rule(
        "edge",
        "device_memory",
        5,
        "edge oom",
        "nonml",
        scope="text",
        shows="an edge device runs out of memory",
    ),
    Rule("edge", "size_limit", 6, "edge space", "choice", shows="an edge device's size limit"),
    Rule("edge", "hardware_limit", 3, "edge", "choice", shows="an edge device is named"),
    # disk and network
    Rule("disk", None, 8, "disk space", "money nonml oom", shows="disk space is the complaint"),
    Rule("disk", None, 2, "disk", "money nonml slow", shows="a disk is named"),
    Rule(
        "network",
        "multi_gpu_scaling",
        9,
        "multi slow",
        "money nonml",
        shows="several devices are slower than hoped",
    ),
    Rule(
        "network",
        "multi_gpu_scaling",
        4,
        "multi slow",
        "money nonml",
        scope="text",
        shows="several devices are slower than hoped",
    ),
    Rule("network", "multi_gpu_scaling", 5, "multi lowutil", "", shows="several devices, badly used"),
    Rule("network", "nccl_hang", 9, "multi hang", "nonml", shows="a run over several devices hangs"),
    Rule(
        "network",
        "nccl_hang",
        5,
        "multi hang",
        "nonml",
        scope="text",
        shows="a run over several devices hangs",
    ),
    Rule("network", "multi_gpu_scaling", 6, "multi netword", "money nonml", shows="links between devices"),
    Rule("network", "download_bandwidth", 6, "netword slow", "train infer money", shows="a transfer is slow"),
    # not a resource problem, out of scope
    Rule("not_a_resource_problem", "nan_loss", 12, "nan train", "", shows="the loss is not a number"),
    Rule(
        "not_a_resource_problem",
        "bug_other",
        4,
        "bug",
        "slow oom money disk lowutil nogpu fewdata overfit hang edge howto gpumem",
        shows="something fails",
    ),
    Rule(
        "not_a_resource_problem",
        "bug_other",
        2.5,
        "bug",
        "slow oom money disk lowutil nogpu fewdata hang gpumem",
        shows="something fails",
    ),
    Rule(
        "not_a_resource_problem",
        "bug_other",
        4,
        "stuckloss",
        "fewdata overfit slow",
        shows="the model does not learn",
    ),
    Rule(
        "out_of_scope",
        "how_to",
        5,
        "howto",
        "slow oom money disk lowutil nogpu fewdata overfit hang edge multi bug duration gpumem",
        scope="text",
        shows="asks how something works",
    ),
    Rule("out_of_scope", "how_to", 1, "howto", "", shows="asks how something works"),
    Rule("out_of_scope", "hardware_selection", 9, "buy gpu", "oom", shows="asks what to buy"),
    Rule(
        "out_of_scope", "instance_selection", 8, "choice instance", "money oom", shows="asks which instance"
    ),
    Rule(
        "out_of_scope",
        "hardware_selection",
        7,
        "choice gpu",
        "money oom fewdata",
        shows="asks which hardware to choose",
    ),
    Rule(
        "out_of_scope",
        "architecture_selection",
        4,
        "choice",
        "money oom slow fewdata overfit",
        shows="asks what to choose",
    ),
    Rule("out_of_scope", "non_ml", 9, "nonml slow", "", shows="another kind of program is slow"),
    Rule("out_of_scope", "non_ml", 10, "nonml oom", "", shows="another kind of program runs out of memory"),
    Rule("out_of_scope", "non_ml", 4, "nonml", "", shows="another kind of program is named"),
)


def read_prose(text: str, raised: list[Clue]) -> list[Clue]:
    """The clues that the sentences of a text give; lines that machines wrote are left out.

    `raised` are the messages found already: a sentence that quotes one is not counted a second time as prose.
    """
    quoted = [clue for clue in raised if clue.points >= STRONG]
    sentences = _sentences(simplified(text[: 4 * PROSE_LIMIT].lower()))
    prose = "\n".join(sentence for _, sentence in sentences)
    named = {name: spans(name, prose) for name in concepts()}
    everywhere = {name for name, found in named.items() if found}
    clues: dict[Rule, Clue] = {}
    position = 0
    for start, sentence in sentences:
        end = position + len(sentence)
        here = {name for name in everywhere if any(position <= s < end for s, _ in named[name])}
        position = end + 1
        if not here or any(clue.start < start + len(sentence) and start < clue.end for clue in quoted):
            continue
        factor = _TITLE_FACTOR if start == 0 else 1.0
        for rule in RULES:
            if rule.scope == "sentence" and _fires(rule, here):
                _keep(clues, rule, rule.points * factor, start, start + len(sentence))
    for rule in RULES:
        if rule.scope == "text" and _fires(rule, everywhere):
            first = _original(min(named[name][0][0] for name in rule.needs.split()), sentences)
            _keep(clues, rule, rule.points, first, first + 1)
    return _ours(list(clues.values()), everywhere, len(prose))


def about_another_program(text: str) -> bool:
    """Whether a text names other kinds of programs and no word of machine learning."""
    prose = "\n".join(sentence for _, sentence in _sentences(simplified(text[: 4 * PROSE_LIMIT].lower())))
    return bool(spans("nonml", prose)) and not any(spans(name, prose) for name in ("ml", "gpu", "train"))


def _ours(found: list[Clue], everywhere: set[str], characters: int) -> list[Clue]:
    """The clues; where no word of machine learning falls, slowness is taken for ours only in a short cry for help."""
    if everywhere & {"ml", "gpu", "train"}:
        return found
    foreign: tuple[str, ...] = ()
    if everywhere & {"nonml", "service"}:
        foreign = (
            "compute_time",
            "inference_latency",
            "gpu_memory",
            "host_memory",
            "disk",
            "edge",
            "network",
        )
    elif characters > _SHORT:
        foreign = ("compute_time", "inference_latency")
    return [clue.of_another_program() if clue.constraint in foreign else clue for clue in found]


def _fires(rule: Rule, concepts: set[str]) -> bool:
    return concepts.issuperset(rule.needs.split()) and concepts.isdisjoint(rule.without.split())


def _keep(clues: dict[Rule, Clue], rule: Rule, points: float, start: int, end: int) -> None:
    if rule not in clues or clues[rule].points < points:
        clues[rule] = Clue(rule.constraint, rule.sub_cause, points, start, end, rule.shows, source="prose")


def _sentences(lowered: str) -> list[tuple[int, str]]:
    """The sentences that people wrote with their offsets: lines of machines left out, PROSE_LIMIT characters in all."""
    found, room, offset = [], PROSE_LIMIT, 0
    for line in lowered.split("\n"):
        if room > 0 and line.strip() and not _MACHINE_LINE.match(line):
            ends = [m.end() for m in _SENTENCE_END.finditer(line)] + [len(line)]
            starts = [0, *ends]
            found += [(offset + s, line[s:e]) for s, e in zip(starts, ends, strict=False) if e - s > 1]
            room -= len(line)
        offset += len(line) + 1
    return found


def _original(position: int, sentences: list[tuple[int, str]]) -> int:
    """Where a position of the joined sentences stands in the text."""
    for start, sentence in sentences:
        if position <= len(sentence):
            return start + position
        position -= len(sentence) + 1
    return 0
