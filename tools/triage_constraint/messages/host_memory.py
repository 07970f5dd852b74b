"""What operating systems, containers, schedulers and array libraries print when host memory runs out."""

from ..clues import FINAL, LIKELY, STRONG, Message

HOST = "host_memory"
SURE = (
    FINAL + 4
)  # host markers outrank device words: "CUDA_ERROR_OUT_OF_MEMORY ... bytes on host" is host memory

MESSAGES = (
    Message(
        HOST,
        "pinned_memory",
        SURE,
        ("pinned host memory", "bytes on host", "cudahostalloc", "pin_memory"),
        r"failed to allocate pinned host memory|alloc(?:ate)? \d+ bytes on host|cudahostalloc[^\n]{0,60}fail",
        "pinned host memory could not be allocated",
    ),
    Message(
        HOST,
        "shm_limit",
        SURE + 2,
        ("bus error", "shared memory", "shm", "/torch_"),
        r"out of shared memory|insufficient shared memory|unable to (?:write to file|open shared "
        r"memory)[^\n]{0,60}(?:/torch_|shm)"
        r"|unable to (?:write|mmap|allocate)[^\n]{0,40}shared memory|no space left on "
        r"device[^\n]{0,60}(?:/dev/shm|/torch_)"
        r"|(?:/dev/shm|/torch_)[^\n]{0,80}no space left|shared memory limit|error 28[^\n]{0,40}shm|shm[- _]size",
        "the shared-memory file system of the data-loader workers is full",
    ),
    Message(
        HOST,
        "shm_limit",
        STRONG,
        ("/dev/shm", "shared memory"),
        (
            r"(?:capacity|size|increase|limit|more|raise|small|64 ?m)[^\n]{0,60}(?:/dev/shm|shared memory)|"
            r"(?:/dev/shm|shared memory)[^\n]{0,60}(?:64m|too small|size|limit|increase)"
        ),
        "the size of the shared-memory file system is in question",
    ),
    Message(
        HOST,
        None,
        STRONG + 2,
        ("requested buffer of size",),
        r"requested buffer of size[\s\S]{0,200}\b(?:ram|cpu)\b",
        "ONNX Runtime's arena could not grow in host memory",
    ),
    Message(
        HOST,
        None,
        STRONG,
        ("bus error", "sigbus", "exit code 135"),
        r"bus error|\bsigbus\b|exit(?:ed with)? code 135",
        "a memory-mapped page could not be provided",
    ),
    Message(
        HOST,
        "dataloader_workers",
        SURE,
        ("dataloader worker",),
        (
            r"dataloader worker[^\n]{0,60}(?:killed by signal: killed|exited unexpectedly with exit code:? "
            r"?-?9|out of memory)"
        ),
        "a data-loader worker was killed",
    ),
    Message(
        HOST,
        "slurm_limit",
        SURE + 2,
        ("slurm", "oom-kill", "oom_kill", "srun:", "exceeded memory limit", "out_of_memory"),
        r"(?:slurm\S*|stepid|srun)[^\n]{0,120}(?:oom[-_ ]?kill|out of memory)|oom[-_]kill event|exceeded "
        r"(?:job |step )?memory limit"
        r"|\bout_of_memory\b[^\n]{0,20}0:125|out_of_me\+",
        "the scheduler ended the job at its memory limit",
    ),
    Message(
        HOST,
        "slurm_limit",
        SURE,
        ("pbs:", "mem_limit", "term_memlimit"),
        r"term_memlimit|pbs: job killed: (?:v?mem|mem)[^\n]{0,60}exceeded",
        "the scheduler ended the job at its memory limit",
    ),
    Message(
        HOST,
        "container_limit",
        SURE,
        ("oomkilled", "oom killed", "137"),
        (
            r"\boom[-_ ]?killed\b|(?:exit(?:ed)?(?: with)?(?: status| code)?|exitcode|exit_code|returned|"
            r"code)[ :=(]*137\b|error:? 137\b"
        ),
        "the container was ended at its memory limit (exit code 137)",
    ),
    Message(
        HOST,
        None,
        STRONG,
        ("killed", "sigkill", "signal 9", "exit code -9", "exitcode", "被杀", "被kill"),
        r"(?m)^\W*killed\W*$|\d+ killed\b|\|\s*killed\s*$|\bsigkill\b|signal 9\b|exit ?code:?[ (=:]*-9\b|"
        r"negsignal|died with <signals\.sigkill"
        r"|oom[- ]killer|out of memory: kill(?:ed)? process|memory cgroup out of memory|"
        r"[\"'`]killed[\"'`]|(?:process|it|job|script|training) (?:is |was |gets? |got |being )(?:just "
        r")?killed|被(?:杀|kill)",
        "the operating system killed the process",
    ),
    Message(
        HOST,
        "ram_capacity",
        SURE,
        ("out of memory: kill", "oom-killer", "oom killer"),
        r"out of memory: kill(?:ed)? process|invoked oom-killer",
        "the kernel's out-of-memory killer acted",
    ),
    Message(
        HOST,
        None,
        FINAL,
        ("memoryerror", "memory error"),
        r"\b(?:numpy\S*\.?)?_?(?:array)?memoryerror\b|arraymemoryerror",
        "Python could not allocate host memory",
    ),
    Message(
        HOST,
        "single_huge_array",
        SURE,
        ("unable to allocate",),
        r"unable to allocate [\"']?[\d.,]+ ?[kmgtp]i?b[\"']? for an array|unable to allocate array with shape",
        "NumPy could not allocate one array",
    ),
    Message(
        HOST,
        "single_huge_array",
        SURE,
        ("you tried to allocate",),
        r"not enough memory: you tried to allocate[^\n]{0,60}|defaultcpuallocator",
        "PyTorch's CPU allocator could not allocate one tensor",
    ),
    Message(
        HOST,
        None,
        SURE,
        ("allocator cpu", "mklcpu", "device:cpu:0", "allocator (cpu", "cpu_allocator"),
        r"oom when allocating tensor[^\n]{0,200}(?:cpu:0|mklcpu|allocator cpu)|allocator \((?:mkl)?_?cpu",
        "TensorFlow's CPU allocator ran out of memory",
    ),
    Message(
        HOST,
        None,
        LIKELY,
        ("exceeds 10% of", "exceeds 10 % of"),
        r"exceeds 10 ?% of (?:free )?system memory",
        "large host allocations",
    ),
    Message(
        HOST,
        None,
        FINAL,
        (
            "cannot allocate memory",
            "can't allocate memory",
            "unable to mmap",
            "errno 12",
            "cannot malloc",
            "std::bad_alloc",
            "bad allocation",
            "insufficient memory",
            "not enough memory",
            "could not allocate",
        ),
        r"cannot allocate memory|can't allocate memory|errno 12\]|unable to mmap|cannot malloc|"
        r"std::bad_alloc(?!: (?:out_of|cuda))"
        r"|bad allocation|insufficient memory|malloc(?:\(\))? failed",
        "the system refused a host allocation",
    ),
    Message(
        HOST,
        "container_limit",
        SURE,
        ("more system memory",),
        r"requires more system memory",
        "the model needs more system memory than is available",
    ),
    Message(
        HOST,
        "ram_capacity",
        FINAL,
        ("ram", "kernel died", "kernel crashed", "kernel has died"),
        r"(?:used|using|uses?|exceed\w*|after using) all (?:available |of the )?ram|ran out of (?:cpu |"
        r"system )?ram|out of (?:cpu|system|host) (?:memory|ram)"
        r"|(?:not enough|insufficient|run(?:s|ning)? out of|exhaust\w*) (?:the )?(?:cpu |system |host )?ram\b"
        r"|(?:cpu|host|system) (?:ram|memory) (?:is )?(?:full|exhausted|overflow|leak)|cpu oom",
        "host memory is exhausted",
    ),
    Message(
        HOST,
        None,
        LIKELY,
        ("kernel", "notebook", "session crashed"),
        r"kernel (?:appears to have |has |keeps? |was )?(?:died|dying|dead|crash\w*|restart\w*)|session crashed",
        "the notebook's kernel died",
    ),
    Message(
        HOST,
        "jvm_heap",
        STRONG,
        ("gc overhead", "java heap", "outofmemoryerror: java", "outofmemoryerror: gc"),
        r"gc overhead limit exceeded|java heap space|java\.lang\.outofmemoryerror",
        "the JVM's heap is full",
    ),
)
