"""How many jobs a scikit-learn model runs its calls with, and the same model with another number.

An ensemble that was fitted with `n_jobs` keeps it, and starts that many threads for every call: at small batches that
takes longer than the trees do.
"""

import os
import pickle
import zipfile

from .sklearn_files import load_sklearn

_PLAIN_PICKLE = b"\x80"  # the first byte; joblib's compressed files start otherwise
_COMPRESSION = 3


def jobs_of(model):
    """The numbers of jobs that its estimators are set to; empty where none of them has such a setting."""
    return {_jobs(estimator) for estimator in _estimators(model)}


def worth_trying(own, threads):
    """Numbers of jobs that the model does not run with everywhere: the threads asked for, and one."""
    return [] if not own else sorted({1, threads} - (own if len(own) == 1 else set()))


def set_jobs(model, jobs):
    """The model itself, with every estimator inside it set to `jobs`."""
    for estimator in _estimators(model):
        estimator.set_params(n_jobs=jobs)
    return model


def build(request, variant, target):
    """The model's file with another number of jobs, in the format that it came in."""
    artifact = request["baseline"]
    path = os.path.join(target, "model" + os.path.splitext(artifact["path"])[1])
    _save(
        set_jobs(load_sklearn(artifact["path"], artifact["trust"]), variant["jobs"]), path, artifact["path"]
    )
    return {"artifact": {**artifact, "path": path, "jobs": variant["jobs"]}}


def _save(model, path, like):
    if zipfile.is_zipfile(like):
        import skops.io

        with zipfile.ZipFile(like) as archive:
            kind = archive.infolist()[0].compress_type
        skops.io.dump(model, path, compression=kind)
        return
    with open(like, "rb") as file:
        is_plain = file.read(1) == _PLAIN_PICKLE
    if is_plain:
        with open(path, "wb") as file:
            pickle.dump(model, file, protocol=4)
        return
    import joblib

    joblib.dump(model, path, compress=_COMPRESSION)


def _estimators(model):
    """Every estimator with `n_jobs`, fitted ones inside others included, which `get_params` does not reach."""
    found, seen, stack = [], set(), [model]
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            stack += thing.values()
        elif isinstance(thing, (list, tuple)):
            stack += thing
        elif hasattr(thing, "__dict__") and not isinstance(thing, type):
            if hasattr(thing, "set_params") and "n_jobs" in vars(thing):
                found.append(thing)
            if hasattr(thing, "set_params") or type(thing).__module__.startswith("sklearn."):
                stack += vars(thing).values()
    return found


def _jobs(estimator):
    """None is one job to scikit-learn, and every core to the libraries that imitate it."""
    import joblib

    jobs = estimator.n_jobs
    if jobs is None and type(estimator).__module__.startswith("sklearn."):
        return 1
    cores = joblib.cpu_count()
    return cores if not jobs else jobs if jobs > 0 else max(1, cores + 1 + jobs)
