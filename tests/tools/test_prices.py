"""The price catalog, and `prices`: shown, and refreshed from a replay of each provider's shape and of bad replies."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.tools._catalog.prices import shipped
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_cost import EstimateCostRequest, estimate_cost
from optimizing_resources.tools.estimate_cost.command import PricesReport, PricesRequest, prices
from optimizing_resources.tools.estimate_cost.refresh import PROVIDERS

Reply = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path) -> Iterator[None]:
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    yield
    CALL.reset(token)


@pytest.fixture
def replay() -> Iterator[Callable[[dict[str, Any]], str]]:
    """A server on 127.0.0.1 that answers each path (its query included, else without it) with what the test says."""
    servers: list[ThreadingHTTPServer] = []

    def start(replies: dict[str, Any]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reply = replies.get(self.path, replies.get(self.path.split("?")[0]))
                assert reply is not None, self.path
                status, headers, body = reply if isinstance(reply, tuple) else (200, {}, text(reply, address))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return address

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def text(reply: Any, address: str) -> bytes:
    written = reply if isinstance(reply, str) else json.dumps(reply)
    return written.replace("{address}", address).encode()


def refresh(provider: str, endpoint: str, *regions: str) -> Any:
    report = prices.run(PricesRequest(words=["refresh", provider], regions=list(regions), endpoint=endpoint))
    assert isinstance(report, PricesReport)
    return report.refreshed[0]


def show(*names: str, **fields: Any) -> PricesReport:
    report = prices.run(PricesRequest(words=["show", *names], **fields))
    assert isinstance(report, PricesReport)
    return report


def held_table(tmp_path: Path) -> list[Path]:
    return list((tmp_path / ".optimizing-resources").glob("prices/*"))


# The catalog


def test_the_catalog_holds_what_it_claims() -> None:
    table = shipped()
    assert len(table) > 11_900 and len(table.providers) == 15
    assert not {"lambda", "nebius", "verda", "runpod"} & set(table.providers)
    for offer in table.offers():
        paid = (offer.on_demand_usd_per_hour, offer.spot_usd_per_hour, offer.commit_1y_usd_per_hour)
        assert all(price is None or 0 < price < 1000 for price in paid), offer
        assert (offer.spot_usd_per_hour is None) == (
            offer.source.spot_as_of is None
        ) or offer.source.name in (
            "karpenter-aws",  # 48 machines without an entry in the advisor file
            "gcp-calculator",
        )
        assert offer.source.as_of < date.today() and offer.source.licence


def test_the_summary_dates_every_provider_and_old_offers_come_last() -> None:
    summary = prices.run(PricesRequest())
    assert "azure" in summary.readable() and "2026-06-18" in summary.readable()
    ages = [offer.age_days > 365 for offer in show("T4", limit=1000).offers]
    assert ages == sorted(ages) and any(ages)


@pytest.mark.parametrize(
    ("words", "regions", "said"),
    [
        (["show", "g5.xlage"], [], "g5.xlarge"),
        (["show", "g5.xlarge"], ["westeurope"], "prices show g5.xlarge"),
        (["show"], ["nowhere"], "us-east-1"),
        (["refresh", "hal"], [], "one of aws"),
        (["refresh", "aws"], [], "--regions"),
    ],
)
def test_what_is_not_held_is_said_with_what_is(words: list[str], regions: list[str], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        prices.run(PricesRequest(words=words, regions=regions))


# Refreshing

AWS_HEADER = (
    '"SKU","TermType","Unit","PricePerUnit","Instance Type","vCPU","Memory","Tenancy","Operating System",'
    '"CapacityStatus","GPU","Pre Installed S/W"'
)


def aws_row(machine: str, price: str, gpus: str = "", **other: str) -> str:
    cells = {"SKU": "S", "TermType": "OnDemand", "Unit": "Hrs", "PricePerUnit": price, "Instance Type": machine,
             "vCPU": "4", "Memory": "16 GiB", "Tenancy": "Shared", "Operating System": "Linux",
             "CapacityStatus": "Used", "GPU": gpus, "Pre Installed S/W": "NA", **other}  # fmt: skip
    return ",".join(f'"{cell}"' for cell in cells.values())


def aws(*rows: str, header: str = AWS_HEADER) -> dict[str, Any]:
    lines = ['"FormatVersion","v1.0"', '"Disclaimer","x"', '"Publication Date","2026-11-01T00:00:00Z"',
             '"Version","1"', '"OfferCode","AmazonEC2"', header, *rows]  # fmt: skip
    advisor = {
        "ranges": [{"index": 0, "label": "<5%", "max": 5}, {"index": 4, "label": ">20%", "max": 100}],
        "spot_advisor": {"eu-west-1": {"Linux": {"g5.xlarge": {"s": 50, "r": 4}}}},
    }
    return {
        "/index.json": {"regions": {"eu-west-1": {"currentVersionUrl": "/v/eu-west-1/index.json"}}},
        "/v/eu-west-1/index.csv": "\n".join(lines) + "\n",
        "/spot-advisor-data.json": advisor,
    }


def test_aws_brings_a_new_region_and_leaves_the_others(replay: Any) -> None:
    rows = [
        aws_row("g5.xlarge", "1.123", "1"),
        aws_row("m7i.xlarge", "0.2"),
        aws_row("g5.xlarge", "1.9", "1", **{"Operating System": "Windows"}),
        aws_row("g5.xlarge", "0.7", "1", TermType="Reserved"),
        aws_row("c5.large", "0.0"),
        aws_row("zz9.xlarge", "5.0", "4"),  # a GPU nobody has heard of
    ]
    found = refresh("aws", replay(aws(*rows)) + "/index.json", "eu-west-1")
    assert (found.outcome, found.rows, found.rows_from_before, found.without_price) == ("replaced", 2, 324, 1)
    (offer,) = show("g5.xlarge", regions=["eu-west-1"]).offers
    assert (offer.usd_per_hour, offer.spot_usd_per_hour, offer.accelerator, offer.age_days) == (
        1.123,
        0.5615,
        "A10G",
        0,
    )
    assert show("g5.xlarge", regions=["us-east-1"]).offers[0].usd_per_hour == 1.006
    asked = {"workload": {"kind": "training", "hours": 10}, "options": [{"name": "g5.xlarge"}],
             "constraints": {"regions": ["eu-west-1"], "spot": "forbid"}}  # fmt: skip
    assert estimate_cost(EstimateCostRequest.model_validate(asked)).plans[0].expected_usd == pytest.approx(
        11.23
    )


def azure_item(machine: str, price: float, sku: str = "D2 v5", **other: Any) -> dict[str, Any]:
    return {"retailPrice": price, "currencyCode": "USD", "armSkuName": machine, "skuName": sku, "type": "Consumption",
            "productName": "Virtual Machines", "unitOfMeasure": "1 Hour", **other}  # fmt: skip


def azure_offers(factor: float = 1.0) -> list[dict[str, Any]]:
    held = shipped().offers(providers=["azure"], regions=["eastus"])
    return [azure_item(one.machine.name, one.on_demand_usd_per_hour * factor) for one in held]


def test_azure_pages_are_followed_and_spot_is_told_apart(replay: Any) -> None:
    first, *others = azure_offers()
    more = [
        azure_item("Standard_NC4as_T4_v3", 0.1, "NC4as T4 v3 Spot"),
        azure_item("Standard_NC4as_T4_v3", 9.9, productName="Virtual Machines Windows"),
    ]
    endpoint = replay({
        "/api": {"Items": [first], "NextPageLink": "{address}/api?skip=1"},
        "/api?skip=1": {"Items": others + more, "NextPageLink": None},
    })  # fmt: skip
    found = refresh("azure", f"{endpoint}/api", "eastus")
    assert (found.outcome, found.rows) == ("replaced", 292)
    (offer,) = show("Standard_NC4as_T4_v3", regions=["eastus"]).offers
    assert (offer.usd_per_hour, offer.spot_usd_per_hour) == (0.526, 0.1)


def test_one_price_that_jumps_is_held_back(replay: Any) -> None:
    items = azure_offers()
    items[0]["retailPrice"] *= 12
    name = items[0]["armSkuName"]
    before = show(name, regions=["eastus"]).offers[0].usd_per_hour
    found = refresh("azure", replay({"/": {"Items": items}}) + "/", "eastus")
    assert found.outcome == "replaced" and found.held_back == [f"{name} eastus (12-fold)"]
    assert show(name, regions=["eastus"]).offers[0].usd_per_hour == before


GCP = """---
about:
  generated: today
compute:
  instance:
    g2-standard-4:
      cost:
        us-central1:
          hour: 0.8
          hour_spot: 0.3
          month: 584
          month_1y: 365
        mars-north1:
          hour: 0.1
      cpu: 4
      l4: 1
  license:
    rhel:
      cost: 1
"""


def test_gcp_is_read_by_its_indentation(replay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizing_resources.tools.estimate_cost.refresh.judge._LEAST_SHARE", 0.0)
    found = refresh("gcp", replay({"/": GCP}) + "/")
    assert (found.outcome, found.rows) == ("replaced", 1)
    (offer,) = show("g2-standard-4", regions=["us-central1"]).offers
    assert (offer.usd_per_hour, offer.spot_usd_per_hour, offer.accelerator) == (0.8, 0.3, "L4")


def test_lambda_reads_cents_and_asks_for_a_key(replay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "gpu_1x_a10", "description": "1x A10 (24 GB PCIe)", "gpu_description": "A10 (24 GB PCIe)",
             "price_cents_per_hour": 75, "specs": {"vcpus": 30, "memory_gib": 200, "gpus": 1}}  # fmt: skip
    endpoint = replay({"/": {"data": {"gpu_1x_a10": {"instance_type": entry}}}})
    monkeypatch.delenv("LAMBDA_API_KEY", raising=False)
    assert "LAMBDA_API_KEY" in refresh("lambda", endpoint + "/").why
    monkeypatch.setenv("LAMBDA_API_KEY", "k")
    assert refresh("lambda", endpoint + "/").outcome == "replaced"
    (offer,) = show("gpu_1x_a10").offers
    assert (offer.usd_per_hour, offer.accelerator, offer.count) == (0.75, "A10", 1)


def test_runpod_leaves_out_what_it_does_not_offer(replay: Any) -> None:
    types = [
        {
            "id": "NVIDIA L4",
            "displayName": "L4",
            "memoryInGb": 24,
            "securePrice": 0.44,
            "secureSpotPrice": 0.27,
        },
        {
            "id": "NVIDIA L40",
            "displayName": "L40",
            "memoryInGb": 48,
            "securePrice": None,
            "secureSpotPrice": None,
        },
    ]
    assert refresh("runpod", replay({"/": {"data": {"gpuTypes": types}}}) + "/").rows == 1
    (offer,) = show("NVIDIA L4").offers
    assert (offer.usd_per_hour, offer.spot_usd_per_hour, offer.accelerator) == (0.44, 0.27, "L4")


@pytest.mark.parametrize(
    ("info", "size"),
    [
        ("\"{'Gpus': [{'Name': 'H100', 'MemoryInfo': {'SizeInMiB': 81920}}]}\"", "literal"),
        ('"{""Gpus"": [{""MemoryInfo"": {""SizeInMiB"": 80}}]}"', "GiB in the MiB field"),
    ],
)
def test_skypilot_files_are_read_by_their_header(replay: Any, tmp_path: Path, info: str, size: str) -> None:
    header = "Region,Price,InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,SpotPrice"
    table = f"{header}\neu-north1,2.95,h100,H100,1,16,200,{info},1.25\n"
    assert refresh("nebius", replay({"/": table}) + "/").rows == 1
    (offer,) = show("h100").offers
    assert (offer.usd_per_hour, offer.spot_usd_per_hour, offer.accelerator) == (2.95, 1.25, "H100")
    assert str(80 * 1024**3) in (tmp_path / ".optimizing-resources/prices/nebius.csv").read_text(
        encoding="utf-8"
    )


# Bad replies change nothing


def cut(body: bytes) -> Reply:
    return (200, {"Content-Length": str(len(body) + 500)}, body)


def looping() -> dict[str, Any]:
    return {"/": {"Items": azure_offers()[:1], "NextPageLink": "{address}/?again"},
            "/?again": {"Items": [], "NextPageLink": "{address}/?again"}}  # fmt: skip


SKY = "InstanceType,Region,Price\n"
BAD = {
    "a web page": ("nebius", {"/": "<html>Sign in</html>"}, "web page"),
    "a web page for JSON": ("runpod", {"/": "<!doctype html>"}, "web page"),
    "no JSON": ("runpod", {"/": "sorry"}, "does not send JSON"),
    "a limit": ("runpod", {"/": (429, {"Retry-After": "30"}, b"")}, "again in 30 s"),
    "an error": ("nebius", {"/": (503, {}, b"")}, "HTTP 503"),
    "half a file": ("nebius", {"/": cut(f"{SKY}a,b,1.0\n".encode())}, "broke off"),
    "half a row": ("nebius", {"/": f"{SKY}a,b,1.0\nc,d"}, "broke off inside a row"),
    "a missing column": ("nebius", {"/": "InstanceType,Region\na,b\n"}, "no column Price"),
    "only zeros": ("nebius", {"/": f"{SKY}a,b,0.0\n"}, "no prices"),
    "nothing": ("nebius", {"/": SKY}, "no prices"),
    "a missing field": ("runpod", {"/": {"data": {}}}, "gpuTypes"),
    "a loop": ("azure", looping(), "loop"),
    "another host": ("azure", {"/": {"Items": [], "NextPageLink": "http://127.0.0.2/x"}}, "another host"),
    "another currency": ("azure", {"/": {"Items": [azure_item("x", 1.0, currencyCode="EUR")]}}, "another currency"),
    "half the rows": ("azure", {"/": {"Items": azure_offers()[:100]}}, "less than half"),
    "another unit": ("azure", {"/": {"Items": azure_offers(730)}}, "730-fold"),
    "a missing AWS column": ("aws", aws(header=AWS_HEADER.replace('"Tenancy"', '"Tenure"')), "no column Tenancy"),
    "a cut AWS file": ("aws", aws('"S","OnDemand","Hrs"'), "broke off inside a row"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_reply_keeps_the_prices_held(replay: Any, tmp_path: Path, case: str) -> None:
    provider, replies, said = BAD[case]
    endpoint = replay(replies) + ("/index.json" if provider == "aws" else "/")
    region = {"aws": "eu-west-1", "azure": "eastus"}.get(provider)
    found = refresh(provider, endpoint, *([region] if region else []))
    assert found.outcome == "kept" and said in found.why
    assert not held_table(tmp_path)


def test_an_address_where_nobody_listens_keeps_the_prices_held(tmp_path: Path) -> None:
    assert "cannot be reached" in refresh("runpod", "http://127.0.0.1:9/").why
    assert not held_table(tmp_path)


def test_every_source_is_fetched_over_https() -> None:
    assert all(provider.endpoint.startswith("https://") for provider in PROVIDERS.values())
