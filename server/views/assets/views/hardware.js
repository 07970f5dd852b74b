// detect_hardware: what this process may use, at a glance.
VIEWS.detect_hardware = (report) => {
  const { cpu, memory, accelerators, disk, limits, software } = report;
  const seen = accelerators.filter((one) => one.is_visible);
  const cards = seen.length ? `${seen.length} \u00d7 ${seen[0].name}` : "no GPU";
  const title = `${count(cpu.usable_cores ?? cpu.logical_cores, "core")}, ${bytes(memory.usable_bytes)} of memory, ${cards}`;
  return [
    heading(
      "Hardware at a glance",
      title,
      "What this process may use, under every limit that was found.",
      limitTags(limits),
    ),
    warnings(report.warnings),
    h(
      "div",
      { class_: "cards two" },
      cpuCard(cpu),
      memoryCard(memory),
      accelerators.length ? accelerators.map(gpuCard) : noGpuCard(software),
      disk.map(diskCard),
    ),
    accelerators.some((one) => one.processes.length) &&
      section("Processes on the GPUs", null, processTable(accelerators)),
    section("First settings", report.recommended.basis, settings(report.recommended)),
    section("Software", null, pairs(softwareRows(software))),
    h(
      "div",
      {},
      more("Where the readings are from", pairs(Object.entries(report.sources))),
      more("What could not be read", pairs(Object.entries(report.missing))),
    ),
  ];
};

const usage = (title, share, text, ...rest) =>
  h(
    "div",
    { class_: "card" },
    h("div", { class_: "row apart" }, h("h2", {}, title), h("span", { class_: "quiet small" }, text)),
    meter(share, `${title}: ${text}`),
    rest,
  );

const cpuCard = (cpu) =>
  usage(
    "CPU",
    (cpu.usable_cores ?? 0) / (cpu.logical_cores || 1),
    `${number(cpu.usable_cores)} of ${number(cpu.logical_cores)} cores usable`,
    pairs([
      ["Model", cpu.model],
      ["Physical cores", number(cpu.physical_cores)],
      ["Extensions", cpu.isa.join(", ")],
    ]),
  );

const memoryCard = (memory) =>
  usage(
    "Memory",
    (memory.usable_bytes || 0) / (memory.total_bytes || 1),
    `${bytes(memory.usable_bytes)} of ${bytes(memory.total_bytes)} usable`,
    pairs([
      ["Available", bytes(memory.available_bytes)],
      ["Limit", memory.limit_bytes ? bytes(memory.limit_bytes) : "none found"],
      ["Swap", bytes(memory.swap_bytes)],
      ["/dev/shm", bytes(memory.shm_bytes)],
    ]),
  );

const diskCard = (disk) =>
  usage(
    "Disk",
    disk.free_bytes / disk.total_bytes,
    `${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)} free`,
    pairs([["Folder", disk.path]]),
  );

function gpuCard(one) {
  const marks = [
    one.is_visible ? null : tag("hidden from this process", "fair"),
    one.is_mig_slice && tag(`MIG slice ${one.mig_profile || ""}`),
    one.is_unified_memory && tag("unified memory"),
    one.supports_bf16 && tag("bf16"),
    one.throttle_reasons.map((why) => tag(`throttled: ${plain(why)}`, "fair")),
    one.ecc_errors ? tag(count(one.ecc_errors, "ECC error"), "poor") : null,
  ]
    .flat()
    .filter(Boolean);
  return usage(
    `GPU ${one.index}`,
    (one.free_bytes || 0) / (one.memory_bytes || 1),
    `${bytes(one.free_bytes)} of ${bytes(one.memory_bytes)} free`,
    h("h3", {}, one.name),
    marks.length ? h("div", { class_: "row" }, marks) : null,
    pairs([
      ["Compute capability", one.compute_capability],
      ["Busy", known(one.utilization_percent) ? `${number(one.utilization_percent)} %` : null],
      ["Power limit", known(one.power_limit_watts) ? `${number(one.power_limit_watts)} W` : null],
    ]),
  );
}

const noGpuCard = (software) =>
  h(
    "div",
    { class_: "card" },
    h("h2", {}, "GPU"),
    h("p", { class_: "quiet small" }, sentence(software.cuda_unavailable_reason || "None was found.")),
  );

const processTable = (accelerators) =>
  table(
    "Processes on the GPUs",
    [
      { name: "process", cell: (row) => row.name || DASH },
      { name: "GPU", cell: (row) => number(row.gpu) },
      { name: "pid", number: true, cell: (row) => String(row.pid) },
      { name: "memory", number: true, cell: (row) => bytes(row.memory_bytes) },
      { name: "yours", cell: (row) => (known(row.is_own) ? (row.is_own ? "yes" : "no") : "cannot be told") },
    ],
    accelerators.flatMap((one) => one.processes.map((process) => ({ ...process, gpu: one.index }))),
  );

function limitTags(limits) {
  const found = {
    container: limits.container,
    scheduler: limits.scheduler,
    "visible devices": limits.visible_devices,
    "CPU quota": limits.cgroup_cpu_cores && `${number(limits.cgroup_cpu_cores)} cores`,
    "memory limit": limits.cgroup_memory_bytes && bytes(limits.cgroup_memory_bytes),
    "address space": limits.address_space_bytes && bytes(limits.address_space_bytes),
  };
  return Object.entries(found)
    .filter(([, value]) => known(value) && value !== 0)
    .map(([name, value]) => tag(`${name}: ${value}`));
}

const settings = (found) =>
  h(
    "div",
    { class_: "cards" },
    ["precision", "dataloader_workers", "threads"]
      .filter((name) => known(found[name]))
      .map((name) =>
        h(
          "div",
          { class_: "card" },
          figures([{ label: sentence(plain(name)), value: String(found[name]) }]),
          h("p", { class_: "small quiet" }, sentence(found[`${name}_reason`])),
        ),
      ),
  );

const softwareRows = (software) => [
  ["System", software.os],
  ["Python", software.python && `${software.python_version} (${software.python})`],
  ["NVIDIA driver", software.nvidia_driver],
  ["CUDA of the driver", software.driver_cuda_version],
  ["torch", software.torch_version],
  ["CUDA of torch", software.torch_cuda_version],
  [
    "Frameworks",
    Object.entries(software.frameworks)
      .filter(([name]) => name !== "torch")
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
  ],
];
