"""augment_series: no leakage, repeatable files, originals unchanged, and hard input handled by a rule or refused."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optimizing_resources.tools._core import leftovers
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools._series.intake.roles import Asked
from optimizing_resources.tools._series.methods import METHODS, wish
from optimizing_resources.tools._series.stream import augment_block, plan_for
from optimizing_resources.tools.augment_series import AugmentSeriesRequest, augment_series
from optimizing_resources.tools.augment_series.augment_file import augment_file

pd = pytest.importorskip("pandas")
Augment = Callable[..., tuple[dict[str, Any], Any]]


@pytest.fixture
def augment(tmp_path: Path) -> Augment:
    """Run the engine here, without its child process; gives the reply and the table it wrote."""

    def work(path: Path, output: str = "", **asked: Any) -> tuple[dict[str, Any], Any]:
        target = tmp_path / (output or f"out-{len(list(tmp_path.iterdir()))}{path.suffix}")
        request = AugmentSeriesRequest(path=path, output=target, **asked).model_dump(mode="json")
        reply = augment_file({**request, "root": str(tmp_path)}, lambda *_: None)
        if asked.get("recipe_only") or output == "text.csv":
            return reply, None
        return reply, pd.read_csv(target) if target.suffix == ".csv" else pd.read_parquet(target)

    return work


def long_table(series: int = 6, steps: int = 40, start: str = "2020-01-01") -> Any:
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range(start, periods=steps - i, freq="MS"),
                "y": 50 + rng.normal(size=steps - i).cumsum(),
                "price": rng.uniform(1, 2, steps - i).round(3) + 0.0005,
                "month": (np.arange(steps - i) % 12) + 1,
                "shop": "north" if i % 2 else "south",
            }
        )
        for i in range(series)
    ]
    return pd.concat(frames, ignore_index=True)


def stored(table: Any, path: Path) -> Path:
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path, index=False)
    return path


def originals(result: Any, like: Any) -> Any:
    return result[~result["is_synthetic"]][list(like.columns)].reset_index(drop=True)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_originals_come_first_and_unchanged_then_flagged_copies(
    ending: str, augment: Augment, tmp_path: Path
) -> None:
    table = long_table()
    path = tmp_path / f"in{ending}"
    table.to_feather(path) if ending == ".feather" else stored(table, path)
    reply, result = augment(
        path,
        f"out{'.parquet' if ending == '.feather' else ending}",
        methods=["jitter", "time_warp"],
        copies=2,
    )
    expected = pd.read_csv(path) if ending == ".csv" else table
    pd.testing.assert_frame_equal(originals(result, table), expected)
    assert result["is_synthetic"].is_monotonic_increasing and len(result) == 5 * len(table) == reply["rows"]
    copies = result[result["is_synthetic"]]
    assert {"s0__jitter_1", "s0__jitter_2", "s5__time_warp_2"} <= set(copies["unique_id"])
    assert (copies["unique_id"].str.split("__").str[0] == copies["source_id"]).all()
    assert copies.groupby("unique_id").size()["s3__jitter_1"] == 37


def test_a_text_file_keeps_every_cell_of_its_originals(augment: Augment, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    rows = [f'007;2020-01-{day:02d};1,5{day:02d};"a;b"' for day in range(1, 21)]
    path.write_text("\ufeff" + "\n".join(["id;date;wert;note", *rows]) + "\n", encoding="utf-8")
    reply, _ = augment(path, "text.csv", methods=["jitter"])
    lines = (tmp_path / "text.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[1] == '007;2020-01-01;1,501;"a;b";False;007'
    made = lines[21].split(";")
    assert made[0] == "007__jitter_1" and made[-2:] == ["True", "007"]
    assert 1.4 < float(made[2].replace(",", ".")) < 1.6 and reply["series"] == 1


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(12, 30),
    poison=st.sampled_from([1e9, np.nan, -1e300, np.inf]),
    names=st.lists(st.sampled_from(sorted(set(METHODS) - {"identity"})), min_size=3, max_size=5, unique=True),
)
def test_nothing_after_the_cut_changes_a_copy(
    cut: int, poison: float, names: list[str], augment: Augment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("poison")
    clean = long_table()
    until = pd.date_range("2020-01-01", periods=50, freq="MS")[cut]
    dirty = clean.copy()
    dirty.loc[dirty["ds"] > until, ["y", "price"]] = poison
    results = []
    for name, table in (("clean", clean), ("dirty", dirty)):
        path = stored(table, folder / f"{name}.parquet")
        _, result = augment(path, methods=names, train_until=str(until), copies=2)
        assert (result["ds"][result["is_synthetic"]] <= until).all()
        results.append(result[result["is_synthetic"]])
    pd.testing.assert_frame_equal(*results, check_exact=True)


def test_text_after_the_cut_is_not_even_parsed(augment: Augment, tmp_path: Path) -> None:
    table = long_table().drop(columns="price").astype({"y": object})
    table.loc[table["ds"] > "2021-06-01", "y"] = "poison"
    reply, result = augment(stored(table, tmp_path / "in.csv"), methods=["jitter"], train_until="2021-06-01")
    assert reply["series"] == 6 and (result["y"] == "poison").sum() == (table["y"] == "poison").sum()


def test_the_order_of_rows_changes_no_copy(augment: Augment, tmp_path: Path) -> None:
    table = long_table()
    names = [n for n in METHODS if n != "identity"]
    results = []
    for number, seen in enumerate((table, table.sample(frac=1, random_state=3))):
        _, result = augment(stored(seen, tmp_path / f"in{number}.parquet"), methods=names)
        results.append(result[result["is_synthetic"]].sort_values(["unique_id", "ds"]).reset_index(drop=True))
    pd.testing.assert_frame_equal(*results, check_exact=True)


def test_the_same_request_gives_the_same_bytes_and_another_seed_does_not(
    augment: Augment, tmp_path: Path
) -> None:
    path = stored(long_table(), tmp_path / "in.parquet")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        augment(path, f"{name}.parquet", methods=["jitter", "mixup"], seed=seed)
    first, again, other = ((tmp_path / f"{n}.parquet").read_bytes() for n in "abc")
    assert first == again != other


def test_measured_covariates_bend_with_the_target_and_the_calendar_does_not(
    augment: Augment, tmp_path: Path
) -> None:
    table = long_table(series=1)
    table["price"] = table["y"] * 2 + 0.25
    _, result = augment(
        stored(table, tmp_path / "in.parquet"),
        methods=["time_warp"],
        id_column="unique_id",
        target_columns=["y"],
    )
    made = result[result["is_synthetic"]].reset_index(drop=True)
    np.testing.assert_allclose(made["price"], made["y"] * 2 + 0.25)
    assert not np.allclose(made["y"], table["y"])
    pd.testing.assert_series_equal(made["month"], table["month"])
    assert (made["shop"] == "south").all()


def test_hours_in_a_column_of_their_own_space_the_series(augment: Augment, tmp_path: Path) -> None:
    rows = [f"2020-01-{d:02d},{h},{h}.5" for d in range(1, 9) for h in range(24) if (d, h) != (3, 7)]
    reply, result = augment(_csv(tmp_path, *rows, header="day,hour,load"), train_until="2020-01-05T11:00")
    assert any("1 steps of one hour have no row" in w for w in reply["warnings"])
    assert (~result["is_synthetic"].astype(bool)).sum() == len(rows) and result[
        "is_synthetic"
    ].sum() == 4 * 24 + 11


def test_labels_per_step_follow_the_bend(augment: Augment, tmp_path: Path) -> None:
    table = long_table(series=1)[["unique_id", "ds", "y"]]
    table["y"], table["state"] = np.arange(40.0), ["low"] * 20 + ["high"] * 20
    _, result = augment(
        stored(table, tmp_path / "in.parquet"), methods=["time_warp"], label_column="state", copies=5
    )
    made = result[result["is_synthetic"]]
    assert ((made["y"] > 19.5) == (made["state"] == "high")).mean() > 0.97
    assert (made["state"].to_numpy() != np.tile(table["state"], 5)).any()


def test_the_manifest_names_the_source_rows_of_each_copy(augment: Augment, tmp_path: Path) -> None:
    table = long_table()
    reply, result = augment(stored(table, tmp_path / "in.parquet"), methods=["jitter"], seed=5)
    manifest = json.loads(Path(reply["manifest_path"]).read_text(encoding="utf-8"))
    entry = manifest["synthetic"][2]
    assert manifest["seed"] == 5 and manifest["methods"][0]["sigma"] == 0.1 and entry["id"] == "s2__jitter_1"
    ((first, last),) = entry["source_rows"]
    assert (table["unique_id"][first : last + 1] == "s2").all() and last - first + 1 == entry["rows"] == 38
    assert result["unique_id"][entry["first_row"]] == "s2__jitter_1"


def test_whole_numbers_stay_whole_and_positive_on_request(augment: Augment, tmp_path: Path) -> None:
    table = long_table()
    table["y"] = np.random.default_rng(0).poisson(2, len(table))
    wish = {"name": "jitter", "sigma": 1.0, "round": True, "minimum": 0}
    _, result = augment(stored(table, tmp_path / "in.parquet"), methods=[wish], target_columns=["y"])
    assert result["y"].dtype == np.int64 and (result["y"] >= 0).all()


def test_a_wide_table_is_one_series_of_many_channels(augment: Augment, tmp_path: Path) -> None:
    table = long_table(series=1)[["ds", "y"]]
    table["double"] = 2 * table["y"]
    _, result = augment(stored(table, tmp_path / "in.parquet"), methods=["window_slice"])
    pd.testing.assert_frame_equal(originals(result, table), table)
    made = result[result["is_synthetic"]]
    np.testing.assert_allclose(made["double"], 2 * made["y"])
    assert set(made["unique_id"]) == {"series__window_slice_1"}


def test_what_a_method_cannot_change_is_left_out_and_said(augment: Augment, tmp_path: Path) -> None:
    table = long_table(series=4)
    table.loc[table["unique_id"] == "s0", "y"] = 3.0
    table.loc[table["unique_id"] == "s1", "y"] = np.nan
    table.loc[table["unique_id"] == "s2", "y"] *= 1e305
    table = pd.concat([table, table[table["unique_id"] == "s3"].head(2).assign(unique_id="tiny")])
    reply, result = augment(
        stored(table, tmp_path / "in.parquet"), methods=["jitter", "magnitude_warp"], target_columns=["y"]
    )
    kept = set(result["unique_id"][result["is_synthetic"]])
    assert (
        "s3__jitter_1" in kept
        and not {"s0__jitter_1", "s1__jitter_1", "s2__jitter_1", "tiny__magnitude_warp_1"} & kept
    )
    said = " ".join(reply["warnings"])
    assert "too large" in said and "constant" in said and "shorter than the 4 points" in said
    alone = long_table(series=1)[["unique_id", "ds", "y"]]
    reply, _ = augment(stored(alone, tmp_path / "alone.parquet"), methods=["mixup"])
    assert reply["synthetic_rows"] == 0 and "no other donor" in " ".join(reply["warnings"])


def test_infinite_and_missing_values_pass_through_and_stay_missing_in_copies(
    augment: Augment, tmp_path: Path
) -> None:
    table = long_table(series=2)
    table.loc[[3, 7], "y"] = [np.inf, np.nan]
    reply, result = augment(
        stored(table, tmp_path / "in.parquet"), methods=["moving_block_bootstrap"], target_columns=["y"]
    )
    assert np.isinf(originals(result, table)["y"][3])
    made = result[result["unique_id"] == "s0__moving_block_bootstrap_1"]["y"].to_numpy()
    assert list(np.nonzero(np.isnan(made))[0]) == [3, 7] and "infinite" in " ".join(reply["warnings"])


def test_a_split_column_counts_as_the_cut(augment: Augment, tmp_path: Path) -> None:
    table = long_table()
    table["split"] = np.where(table["ds"] < "2022-01-01", "train", "test")
    _, result = augment(stored(table, tmp_path / "in.parquet"), methods=["jitter"])
    assert (result["ds"][result["is_synthetic"]] < "2022-01-01").all()
    with pytest.raises(ToolError, match="validation or test rows only"):
        augment(stored(table.assign(split="test"), tmp_path / "b.parquet"), methods=["jitter"])


def _csv(tmp_path: Path, *rows: str, header: str = "unique_id,ds,y") -> Path:
    path = tmp_path / "hard.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


DAYS = [f"a,2020-01-{d:02d},{d}.5" for d in range(1, 13)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([*DAYS, "a,2020-01-13,12%"], r"'y' holds something that is no number .*12%.* line 14"),
        ([*DAYS, 'a,2020-01-13,"1,234"'], r"comma as decimal mark or as thousands mark .*line 14"),
        ([*DAYS, "a,2020-01-13,=1+1"], "no number"),
        ([*DAYS, "a,2020-01-12,99"], "same time stamp and differ .*line 13 and hard.csv line 14"),
        ([*DAYS, "a,someday,3"], "no time stamp .*someday.*line 14"),
        ([*DAYS, "a,2020-01-13T00:00:00Z,3"], "with and without a UTC offset"),
        ([*DAYS, "a,2020-01-13"], "2 cells where the header has 3 .*line 14"),
        ([f"a,0{d}/0{d + 1}/2020,{d}" for d in range(1, 8)], "the day or the month first"),
        ([f"a,0{d}-0{d + 1}-2020,{d}" for d in range(1, 8)], "the day or the month first"),
        ([f"a,{d}-01-20,{d}" for d in range(8, 20)], "the day or the month first"),  # or the year
        (["a,13/01/2020,1", "a,01/13/2020,2"], "the day or the month first"),
        (["a,12:30,1", "a,12:31,2"], "no time stamp .*12:30.*line 2"),  # of no day
        ([f"a,{1600000000 + d},{d}" for d in range(5)] + ["a,1600000006000,3"], "mixes epoch seconds"),
        ([], "no data rows|empty"),
    ],
)  # fmt: skip
def test_hard_text_is_refused_with_place_and_fix(
    rows: list[str], says: str, augment: Augment, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match=says) as refused:
        augment(_csv(tmp_path, *rows), methods=["jitter"])
    assert "; try " in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "series"),
    [
        ([*DAYS, "a,2020-01-13,n/a", "a,2020-01-14,", "a,2020-01-15,NaN"], 1),
        ([*DAYS, DAYS[-1]], 1),  # the same row twice
        ([f"a,{d},{d}" for d in range(20240101, 20240115)], 1),
        ([f"a,{d}.01.2020,{d}" for d in range(1, 20)], 1),
        ([f"a,2020-{m:02d},{m}" for m in range(1, 13)], 1),
        ([f"a,{y} Q{q},{y + q}" for y in (2019, 2020) for q in (1, 2, 3, 4)], 1),
        ([f"a,2020-10-25T0{h}:00:00+0{2 - (h > 2)}:00,{h}" for h in range(1, 6)], 1),  # clocks change
        ([f'a,2020-01-{d:02d},"1,234.5{d}"' for d in range(1, 12)], 1),
        (
            [
                *DAYS,
                *[r.replace("a,", "-2+3,", 1) for r in DAYS],
                *[r.replace("a,", "../../x,", 1) for r in DAYS],
            ],
            3,
        ),
        ([f"{k},2020-01-{d:02d},{d * k}" for k in (1, 2) for d in range(1, 9)], 2),
    ],
)
def test_hard_text_is_read_by_a_rule(rows: list[str], series: int, augment: Augment, tmp_path: Path) -> None:
    reply, result = augment(_csv(tmp_path, *rows), methods=["jitter"])
    assert (
        reply["series"] == series
        and result["is_synthetic"].any()
        and len(originals(result, pd.read_csv(tmp_path / "hard.csv"))) == len(rows)
    )


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        ("Filiale;Datum;Umsatz", "Köln {k};{d}.01.2020;1,{d}", (["Filiale"], "Datum", ["Umsatz"])),
        (",0", "2020-01-{d:02d},{d}.5", ([], "", ["0"])),  # an index written without a name
        (",0", "19{d},{d}.5", ([], "", ["0"])),
        ("Obs,YEAR,people", "{d},19{d},{d}.5", ([], "YEAR", ["people"])),
        ("Data,T,RH", "2020-01-{d:02d},{d}.5,7.{d}", ([], "Data", ["T", "RH"])),  # T is a temperature
        ("city,mood,date,y", "a{k},m{d},2020-01-{d:02d},{d}.5", (["city"], "date", ["y"])),
        ("date,store,item,sales", "2020-01-{d:02d},{k},7,{d}", (["store"], "date", ["sales"])),
        ("Date,Time,kwh", "2020-01-01,10:{d}:00,{d}.5", ([], "Date", ["kwh"])),  # one stamp in two columns
        ("year,month,day,hour,wind,pm", "2020,1,{d},{k},a{d},{d}.5", ([], "year", ["pm"])),
        ("Year,Month,sales", "19{d},3,{d}.5", ([], "Year", ["sales"])),
        ("dteday,hr,cnt", "2020-01-{d:02d},{k},{d}.5", ([], "dteday", ["cnt"])),
        ("shop,date,peak,y", "a{k},2020-01-{d:02d},10:{d},{d}.5", (["shop"], "date", ["y"])),
    ],
)
def test_roles_are_found_under_any_header(
    header: str, row: str, found: tuple[Any, ...], augment: Augment, tmp_path: Path
) -> None:
    rows = [row.format(d=d, k=k) for k in range(2 if "{k}" in row else 1) for d in range(12, 30)]
    reply, _ = augment(_csv(tmp_path, *rows, header=header), recipe_only=True)
    columns = json.loads(Path(reply["manifest_path"]).read_text(encoding="utf-8"))["columns"]
    assert (columns["id"], columns["time"], columns["targets"]) == found


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("place,2019,2020,2021", "time steps stand in the header"),
        ("place,1/22/20,1/23/20,1/24/20", "time steps stand in the header"),
        (
            "place," + ",".join(f"d_{k}" for k in range(1, 9)),
            r"time steps stand in the header.*melt\(\['place'\]",
        ),
        ("place,,", "Two columns have no name .*columns 2 and 3"),
        ("place,y", "Each row would be a series of its own"),
    ],
)
def test_a_header_that_cannot_be_meant_is_refused(
    header: str, says: str, augment: Augment, tmp_path: Path
) -> None:
    rows = [f"p{i}" + f",{i}.5" * header.count(",") for i in range(4)]
    with pytest.raises(ToolError, match=says):
        augment(_csv(tmp_path, *rows, header=header))


def test_whole_numbers_that_name_nothing_tell_no_series_apart(augment: Augment, tmp_path: Path) -> None:
    rows = [f"2020-01-{d:02d},{k},{d}.5{k}" for k in range(1, 9) for d in range(1, 20)]
    with pytest.raises(ToolError, match="same time stamp and differ"):
        augment(_csv(tmp_path, *rows, header="date,settlement_period,demand"))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("packing", ["", ".gz", ".zip"])
def test_encodings_and_packed_files_are_read(
    encoding: str, packing: str, augment: Augment, tmp_path: Path
) -> None:
    table = long_table(series=2)[["unique_id", "ds", "y"]].assign(unique_id="köln")
    table = table.drop_duplicates(["unique_id", "ds"])
    path = tmp_path / f"in.csv{packing}"
    table.to_csv(path, index=False, encoding=encoding)
    reply, _ = augment(path, "text.csv", methods=["jitter"])
    written = (tmp_path / "text.csv").read_bytes().decode(encoding)
    assert reply["series"] == 1 and "köln__jitter_1" in written


def test_further_inputs_are_refused_in_one_sentence(augment: Augment, tmp_path: Path) -> None:
    table = long_table()
    cases = {
        "was augmented already": (table.assign(is_synthetic=False), {}),
        "true and false": (table.assign(y=table["y"] > 50), {"target_columns": ["y"]}),
        "id that a copy would get": (pd.concat([table, table.assign(unique_id="s1__jitter_1").head(9)]), {}),
        "No such column": (table, {"time_column": "when"}),
        "row without id": (table.assign(unique_id=table["unique_id"].where(table.index > 3)), {}),
        "row without time": (table.assign(ds=table["ds"].where(table.index > 3)), {}),
        "Several columns could be": (table.rename(columns={"y": "sold"}).assign(other=1.5), {}),
        "No row lies in the training part": (table, {"train_until": "1999-01-01"}),
        "offset or neither": (table, {"train_until": "2021-01-01T00:00:00Z"}),
        "No such method": (table, {"methods": ["jiter"]}),
        "has no parameter": (table, {"methods": [{"name": "jitter", "sgma": 1}]}),
        "named twice": (table, {"methods": ["jitter", "jitter"]}),
    }
    for number, (says, (seen, asked)) in enumerate(cases.items()):
        path = stored(seen, tmp_path / f"case{number}.parquet")
        with pytest.raises(ToolError, match=says):
            augment(path, **{"methods": ["jitter"], **asked})


def test_an_output_with_other_content_is_never_replaced(augment: Augment, tmp_path: Path) -> None:
    path = stored(long_table(), tmp_path / "in.parquet")
    (tmp_path / "taken.parquet").write_bytes(b"mine")
    with pytest.raises(ToolError, match="exists and differs"):
        augment(path, "taken.parquet", methods=["jitter"])
    assert (tmp_path / "taken.parquet").read_bytes() == b"mine" and not list(tmp_path.glob("tmp*"))


def test_decimals_keep_their_scale(augment: Augment, tmp_path: Path) -> None:
    from decimal import Decimal

    table = long_table(series=1)
    table["y"] = [Decimal(f"{v:.2f}") for v in table["y"]]
    _, result = augment(stored(table, tmp_path / "in.parquet"), methods=["jitter"], target_columns=["y"])
    assert all(isinstance(v, Decimal) and v.as_tuple().exponent == -2 for v in result["y"])


def test_a_file_streamed_by_row_group_gives_the_same_rows(
    augment: Augment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optimizing_resources.tools._series import stream

    table = long_table(series=9)
    table.to_parquet(tmp_path / "in.parquet", index=False, row_group_size=50)
    asked = {"methods": ["jitter", "moving_block_bootstrap"], "copies": 2, "train_until": "2022-06-01"}
    _, whole = augment(tmp_path / "in.parquet", "whole.parquet", **asked)
    monkeypatch.setattr(stream, "LARGE_BYTES", 0)
    reply, streamed = augment(tmp_path / "in.parquet", "streamed.parquet", **asked)
    pd.testing.assert_frame_equal(streamed, whole, check_exact=True)
    assert reply["series"] == 9 and reply["rows"] == len(whole)
    table.sort_values("ds").to_parquet(tmp_path / "mixed.parquet", index=False, row_group_size=50)
    with pytest.raises(ToolError, match="not grouped by series"):
        augment(tmp_path / "mixed.parquet", "never.parquet", **asked)


def test_blocks_of_whole_series_give_the_same_copies() -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(long_table(), preserve_index=False)
    plan = plan_for(table, Asked(), None, [wish("time_warp"), wish("jitter")], 2, seed=1)
    whole = augment_block(table, plan).to_pandas()
    parts = [
        augment_block(table.filter(pa.compute.equal(table["unique_id"], f"s{i}")), plan) for i in range(6)
    ]
    split = pa.concat_tables(parts).to_pandas()
    key = ["unique_id", "ds"]
    left, right = (t.sort_values(key).reset_index(drop=True) for t in (whole, split))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_recipe_gives_fresh_copies_each_epoch_and_the_same_in_every_run(
    augment: Augment, tmp_path: Path
) -> None:
    from optimizing_resources.tools.augment_series.recipe import Fresh

    path = stored(long_table(), tmp_path / "in.parquet")
    reply, _ = augment(path, "r.parquet", methods=["jitter", "window_slice"], recipe_only=True)
    assert not (tmp_path / "r.parquet").exists()
    x = np.random.default_rng(0).normal(size=(20, 30, 2)).cumsum(axis=1)
    one, two = (Fresh(reply["manifest_path"], x, range(20)) for _ in range(2))
    first = [one[i] for i in range(20)]
    np.testing.assert_array_equal(first, [two[i] for i in reversed(range(20))][::-1])
    two.epoch = 1
    assert any(not np.array_equal(first[i], two[i]) for i in range(20))
    assert 3 < sum(np.array_equal(first[i], x[i]) for i in range(20)) < 17


@pytest.mark.parametrize("channels", [1, 2])
def test_one_series_a_row_is_augmented_too(channels: int, augment: Augment, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = [20, 20, 25, 30]
    lists = [rng.normal(size=(channels, n)).cumsum(axis=1).tolist() for n in lengths]
    table = pd.DataFrame({"unique_id": list("abcd"), "label": list("xyxy"), "values": lists})
    path = stored(table, tmp_path / "in.parquet")
    _, result = augment(path, methods=["jitter", "window_slice"], label_column="label", train_until=2)
    made = result[result["is_synthetic"]]
    assert list(made["unique_id"])[:2] == ["a__jitter_1", "a__window_slice_1"] and "d" not in set(
        made["source_id"]
    )
    assert list(made["label"]) == ["x", "x", "y", "y", "x", "x"] and len(made["values"].iloc[5][0]) == 25
    x = rng.normal(size=(4, 20, channels))
    np.savez(tmp_path / "in.npz", x=x, y=np.array(list("xyxy")))
    asked = AugmentSeriesRequest(path=tmp_path / "in.npz", output=tmp_path / "out.npz", methods=["jitter"])
    request = {**asked.model_dump(mode="json"), "root": str(tmp_path)}
    augment_file(request, lambda *_: None)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["x"][:4], x)
        assert (
            out["ids"][4] == "0__jitter_1"
            and list(out["y"][4:]) == list("xyxy")
            and out["is_synthetic"].sum() == 4
        )
    np.savez(tmp_path / "objects.npz", x=np.array([1, None], dtype=object))
    with pytest.raises(ToolError, match="could run code"):
        augment_file({**request, "path": str(tmp_path / "objects.npz")}, lambda *_: None)


def test_a_folder_of_files_is_one_table_with_a_series_a_file(augment: Augment, tmp_path: Path) -> None:
    (tmp_path / "shops").mkdir()
    for name in ("north", "south"):
        stored(long_table(series=1)[["ds", "y"]], tmp_path / "shops" / f"{name}.csv")
    reply, result = augment(tmp_path / "shops", "all.csv", methods=["jitter"])
    assert reply["series"] == 2 and {"north", "south__jitter_1"} <= set(result["unique_id"])


def test_gaps_are_told_and_a_row_without_id_is_refused(augment: Augment, tmp_path: Path) -> None:
    table = long_table().drop(index=[5, 6])
    reply, _ = augment(stored(table, tmp_path / "in.csv"), methods=["jitter"])
    assert any(w.startswith("2 steps of one month have no row") for w in reply["warnings"])
    table.loc[7, "unique_id"] = ""
    with pytest.raises(ToolError, match=r"row without id.*line 7"):
        augment(stored(table, tmp_path / "empty.csv"), methods=["jitter"])


def test_a_file_of_validation_data_is_refused(augment: Augment, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="validation or test data"):
        augment(stored(long_table(), tmp_path / "sales_test.parquet"), methods=["jitter"])


def test_what_a_killed_augmentation_leaves_beside_its_output_is_swept_by_the_next_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(long_table(), tmp_path / "in.csv")
    asked = AugmentSeriesRequest(path=path, output=tmp_path / "out.csv").model_dump(mode="json")
    dies = (  # as kill -9 would have it, once the file is written and not yet in its place
        "import json, os, sys\n"
        "from optimizing_resources.tools._series.intake import writing\n"
        "from optimizing_resources.tools.augment_series.augment_file import augment_file\n"
        "writing.place = lambda fresh, target: os._exit(9)\n"
        "augment_file(json.loads(sys.argv[1]), lambda *_: None)\n"
    )
    request = json.dumps({**asked, "root": str(tmp_path)})
    assert subprocess.run([sys.executable, "-c", dies, request], check=False).returncode == 9
    assert list(tmp_path.glob(".out.csv.*.fresh"))
    monkeypatch.setattr(leftovers, "_YOUNG_SECONDS", 0.0)
    leftovers.sweep(Workspace.of_a_server(tmp_path))
    assert not list(tmp_path.glob(".out.csv.*.fresh")) and not (tmp_path / "out.csv").exists()


def test_the_tool_stays_in_its_workspace_and_says_what_comes_next(tmp_path: Path) -> None:
    stored(long_table(), tmp_path / "in.parquet")
    token = CALL.set(Call(Workspace.of_a_server(tmp_path)))
    try:
        report = augment_series(AugmentSeriesRequest(path=Path("in.parquet"), methods=["jitter"]))
        with pytest.raises(ToolError, match="outside the workspace"):
            augment_series(AugmentSeriesRequest(path=Path("in.parquet"), output=Path("../out.parquet")))
    finally:
        CALL.reset(token)
    assert report.output_path and report.output_path.is_relative_to(tmp_path / ".optimizing-resources")
    assert len(report.brief()) <= 1500 and "compare_baselines" in report.brief()
    assert report.picture_path and report.picture_path.read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of ray itself
def test_blocks_on_a_local_ray_cluster_give_the_bytes_of_one_table() -> None:
    ray = pytest.importorskip("ray")
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pandas(long_table(12).sort_values("unique_id"), preserve_index=False)
    plan = plan_for(table, Asked(), None, [wish("jitter"), wish("moving_block_bootstrap")], 2, 7)
    whole = augment_block(table, plan)
    ids = table["unique_id"].to_pylist()
    first = [i for i, name in enumerate(ids) if not i or name != ids[i - 1]]
    cuts = [0, first[3], first[8], len(ids)]
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        data = ray.data.from_arrow(parts)
        made = data.map_batches(lambda t: augment_block(t, plan), batch_format="pyarrow", batch_size=None)
        found = pa.concat_tables(ray.get(made.to_arrow_refs()))
    finally:
        ray.shutdown()
    order = [("unique_id", "ascending"), ("ds", "ascending")]
    assert found.select(whole.column_names).sort_by(order).equals(whole.sort_by(order))
