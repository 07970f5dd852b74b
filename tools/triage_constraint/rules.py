"""Which ideas of concepts.txt, standing together, speak for which constraint."""

from dataclasses import dataclass
from functools import cached_property


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

    @cached_property
    def needed(self) -> frozenset[str]:
        return frozenset(self.needs.split())

    @cached_property
    def excluded(self) -> frozenset[str]:
        return frozenset(self.without.split())


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
    Rule("budget", "idle_resources", 4, "idletime cloud", "", shows="a rented machine stands idle"),
    Rule("budget", "idle_resources", 3, "money idle cloud", "", scope="text", shows="charged without use"),
    Rule(
        "budget", "inference_cost", 3, "money infer cloud", "train", scope="text", shows="the cost of serving"
    ),
    Rule(
        "budget", "training_cost", 3, "money train cloud", "infer", scope="text", shows="the cost of training"
    ),
    Rule("budget", "spot", 7, "spot money", "choice", scope="text", shows="spot capacity is asked for"),
    # data
    Rule(
        "training_data",
        "overfitting",
        8,
        "overfit",
        "nonml bug overfitcheck",
        shows="overfitting is the complaint",
    ),
    Rule("training_data", "overfitting", 4, "overfit", "overfitcheck", shows="overfitting is named"),
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
    Rule(
        "network",
        "download_bandwidth",
        6,
        "netword duration",
        "train infer money multi",
        shows="says how long a transfer takes",
    ),
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
    Rule(
        "out_of_scope",
        "feature_request",
        16,
        "proposal",
        "oom slow disk lowutil hang",
        scope="text",
        shows="proposes work on a project, its documents or its data",
    ),
    Rule("not_a_resource_problem", "bug_other", 5, "overfitcheck", shows="overfitting is a test of the code"),
    Rule(
        "not_a_resource_problem", "bug_other", 9, "zerometric", "fewdata", shows="a metric of zero is a fault"
    ),
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
