"""Copies of cases (one series a row), and the table or arrays that hold originals and copies."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .apply import Donors, apply, draw_donors, fates, finish
from .arrays.streams import Floats
from .block import COPY_ID, bridge, with_marks
from .intake.cases import Cases, as_lists
from .intake.files import PARQUET
from .methods import Wish

Copy = tuple[int, str, int, Floats]  # case, method, number, values


def copies_of_cases(
    cases: Cases, wishes: list[Wish], copies: int, seed: int
) -> tuple[list[Copy], dict[Any, int]]:
    """All copies, in order of the cases, and how many were left out and why."""
    members = np.nonzero(cases.train)[0]
    drawn = [members[i] for i in draw_donors([cases.ids[m] for m in members], seed)]
    donors = Donors([cases.ids[i] for i in drawn], [bridge(cases.values[i][None])[0] for i in drawn])
    made: list[Copy] = []
    dropped: dict[Any, int] = {}
    shapes = [cases.values[i].shape for i in members]
    for shape in sorted(set(shapes)):
        alike = [m for m, s in zip(members, shapes, strict=True) if s == shape]
        x, names = np.stack([cases.values[i] for i in alike]), [cases.ids[i] for i in alike]
        for wished in wishes:
            for copy in range(1, copies + 1):
                seen = bridge(x) if wished.method.kind == "whole" else x
                new = finish(apply(wished, seen, names, copy, seed=seed, season=1, donors=donors), wished)
                new = np.where(np.isnan(x), np.nan, new) if wished.method.kind == "whole" else new
                for i, values, why in zip(alike, new, fates(x, new, wished, 1), strict=True):
                    if why:
                        dropped[wished.name, why] = dropped.get((wished.name, why), 0) + 1
                    else:
                        made.append((int(i), wished.name, copy, values))
    order = {w.name: k for k, w in enumerate(wishes)}
    return sorted(made, key=lambda c: (c[0], order[c[1]], c[2])), dropped


def tables_of_cases(cases: Cases, made: list[Copy], id_column: str) -> list[pa.Table]:
    """The original rows, then one row a copy."""
    table = cases.table
    assert table is not None
    own = pa.array(cases.ids, pa.string())
    if id_column not in table.column_names:
        table = table.append_column(id_column, own)
    originals = table.set_column(table.column_names.index(id_column), id_column, own)
    rows = originals.take(pa.array([c[0] for c in made], pa.int64()))
    kind = table[cases.column].type
    values = pa.array([as_lists(c[3], kind) for c in made], kind)
    ids = pa.array(
        [COPY_ID.format(cases.ids[i], method, number) for i, method, number, _ in made], pa.string()
    )
    origin = rows[id_column]
    rows = rows.set_column(rows.column_names.index(cases.column), cases.column, values)
    rows = rows.set_column(rows.column_names.index(id_column), id_column, ids)
    return [
        with_marks(originals, False, own, PARQUET),
        with_marks(rows, True, pc.cast(origin, pa.string()), PARQUET),
    ]


def arrays_of_cases(cases: Cases, made: list[Copy]) -> dict[str, Any]:
    """The arrays of an npz file, those with a row a series lengthened by the copies."""
    count, picked = len(cases.ids), [c[0] for c in made]
    arrays = {
        name: np.concatenate([array, array[picked]]) if array.ndim and len(array) == count else array
        for name, array in cases.arrays.items()
    }
    flat = cases.arrays["x"].ndim == 2
    copies = [c[3][:, 0] if flat else c[3] for c in made]
    arrays["x"] = np.concatenate(
        [cases.arrays["x"], np.array(copies).reshape(-1, *cases.arrays["x"].shape[1:])]
    )
    arrays["ids"] = np.array([*cases.ids, *[COPY_ID.format(cases.ids[i], m, n) for i, m, n, _ in made]])
    arrays["is_synthetic"] = np.arange(count + len(made)) >= count
    arrays["source_id"] = np.array([*cases.ids, *[cases.ids[i] for i in picked]])
    return arrays
