"""Limits of devices that models are sent to. Their latency is measured on the device or not at all."""

from dataclasses import dataclass

from .._core.contract import ToolError

MIB = 1024**2


@dataclass(frozen=True)
class Profile:
    """What a model may use there: the memory left for one process is assumed, the rest is the vendor's."""

    name: str
    isa: str
    ram_bytes: int
    process_bytes: int
    source: str


# process_bytes: half of the memory on shared devices, three quarters in a container; assumed.
PROFILES = {
    p.name: p
    for p in (
        Profile(
            "raspberry_pi_4", "arm_neon", 4096 * MIB, 2048 * MIB, "Cortex-A72, 1 to 8 GB variants; 4 GB taken"
        ),
        Profile(
            "raspberry_pi_5",
            "arm_dotprod",
            8192 * MIB,
            4096 * MIB,
            "Cortex-A76, 2 to 16 GB variants; 8 GB taken",
        ),
        Profile(
            "jetson_orin_nano",
            "arm_dotprod",
            8192 * MIB,
            4096 * MIB,
            "Cortex-A78AE, 8 GB shared with the GPU",
        ),
        Profile("phone", "arm_dotprod", 4096 * MIB, 512 * MIB, "mid-range class; 512 MiB for one app"),
        Profile("container_512mb", "host", 512 * MIB, 384 * MIB, "a container limited to 512 MiB"),
    )
}
ISAS = ("host", "avx2", "avx512_vnni", "arm_neon", "arm_dotprod")


def find_profile(name: str | None) -> Profile | None:
    """The profile of that name; None when none was asked for."""
    if name is None:
        return None
    if name not in PROFILES:
        raise ToolError("Unknown device_profile", saw=name, try_next=", ".join(PROFILES))
    return PROFILES[name]
