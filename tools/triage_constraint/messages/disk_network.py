"""Full disks, and collectives or connections that hang or fail."""

from ..clues import FINAL, LIKELY, STRONG, Message

MESSAGES = (
    Message(
        "disk",
        None,
        FINAL + 1,
        (
            "no space left",
            "disk quota",
            "errno 28",
            "enospc",
            "not enough space",
            "not enough disk",
            "disk full",
            "disk is full",
            "insufficient disk",
            "out of disk",
        ),
        r"no space left on device|\[errno 28\]|\benospc\b|disk quota exceeded|not enough (?:free "
        r")?(?:disk )?space|disk (?:is )?(?:almost )?full"
        r"|insufficient (?:disk|storage)(?: space)?|out of disk(?: space)?|disk usage exceeded|"
        r"evicted[^\n]{0,80}ephemeral[- ]storage",
        "the disk is full",
    ),
    Message(
        "disk",
        "checkpoints",
        FINAL,
        ("pytorchstreamwriter", "inline_container", "file write failed"),
        (
            r"pytorchstreamwriter failed|inline_container[^\n]{0,60}unexpected pos|unexpected pos \d+ vs|file "
            r"write failed"
        ),
        "a checkpoint could not be written in full",
    ),
    Message(
        "network",
        "nccl_timeout",
        FINAL,
        ("collective operation timeout", "watchdog", "nccl"),
        (
            r"watchdog caught collective operation timeout|(?:nccl|collective)[^\n]{0,60}(?:timeout|timed "
            r"out)|timed out waiting \d+ms for (?:send|recv)"
        ),
        "a collective did not finish in time",
    ),
    Message(
        "network",
        "nccl_system_error",
        FINAL,
        ("nccl",),
        r"nccl[^\n]{0,60}unhandled (?:system|cuda) error|ncclsystemerror|nccl error:? ?[25]\b|"
        r"nccl[^\n]{0,60}(?:no route|connection (?:refused|reset|closed))"
        r"|ncclunhandledcudaerror|ncclinternalerror|ncclremoteerror|net/(?:ib|socket)[^\n]{0,80}(?:fail|"
        r"error|refused)",
        "the communication library failed",
    ),
    Message(
        "network",
        "rpc_timeout",
        STRONG,
        (
            "deadline exceeded",
            "deadline_exceeded",
            "rendezvous",
            "tcpstore",
            "connection refused",
            "connection timed out",
            "socket timeout",
            "gloo",
        ),
        r"deadline[ _]exceeded|rendezvous(?:timeouterror|[^\n]{0,60}time)|tcpstore[^\n]{0,80}(?:timeout|"
        r"timed out|refused)"
        r"|socket timeout|gloo[^\n]{0,80}(?:connection|timeout|timed)|connect(?:ion)?\w* timed "
        r"out[^\n]{0,40}(?:master|worker|rank|node)",
        "processes could not reach each other in time",
    ),
    Message(
        "network",
        "download_bandwidth",
        LIKELY,
        ("download", "readtimeout", "connectionpool"),
        r"httpsconnectionpool[^\n]{0,120}(?:timed out|max retries)|readtimeouterror|"
        r"download(?:ing)?[^\n.]{0,60}(?:too slow|very slow|so slow|slow\b|kb/s|kib/s)"
        r"|slow(?:ly)? (?:to )?download",
        "a download is slow or fails",
    ),
)
