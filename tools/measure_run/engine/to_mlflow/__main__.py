"""Logs runs to the caller's MLflow; Python 3.9 syntax, mlflow is the caller's own."""


def answer(request, progress):
    """One MLflow run per ledger id (a tag holds it); ids that are there already are skipped."""
    try:
        import mlflow
    except ImportError:
        return {
            "refused": {
                "problem": "MLflow is not installed in that environment",
                "saw": request["python"],
                "try_next": "`python` with the environment that has it, or --export csv",
            }
        }
    experiment = mlflow.set_experiment(request["experiment"])
    logged = 0
    for number, run in enumerate(request["runs"]):
        progress(number, len(request["runs"]), run["id"])
        known = mlflow.search_runs(
            [experiment.experiment_id],
            filter_string="tags.ledger_id = '{}'".format(run["id"]),
            output_format="list",
        )
        if known:
            continue
        with mlflow.start_run(run_name=run["label"] or run["id"], tags={"ledger_id": run["id"]}):
            mlflow.log_params(
                {"outcome": run["outcome"], "device": run["device"], "command": run["command"][:500]}
            )
            mlflow.log_metrics(
                {figure["metric"].replace(":", "/"): figure["value"] for figure in run["figures"]}
            )
            for step, loss in enumerate(run["loss"]):
                if loss is None:
                    continue
                mlflow.log_metric("loss", loss, step=step * run["loss_every"])
        logged += 1
    return {"logged": logged, "where": mlflow.get_tracking_uri()}
