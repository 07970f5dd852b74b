"""scikit-learn models from files: skops, whose types are listed before anything is built, or a trusted pickle."""

import zipfile

from .refusal import Refused, first_line

# What scikit-learn's models hold beyond what skops trusts by itself: arrays and settings behind constructors, and the
# score functions of a selection, which only `fit` calls.
HARMLESS = {
    "sklearn.tree._tree.Tree", "sklearn._loss.link.LogitLink", "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.MultinomialLogit", "sklearn._loss.link.LogLink", "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss", "sklearn._loss.loss.HalfSquaredError", "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss._loss.CyHalfBinomialLoss", "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError", "sklearn._loss._loss.CyAbsoluteError",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "numpy.dtype", "sklearn.utils._bunch.Bunch",  # imputers and binning; voting and stacking
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.model_selection._split.KFold", "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.metrics._scorer._PassthroughScorer",
}  # fmt: skip


def load_sklearn(path, trust):
    """A scikit-learn model from skops, whose types are all known to be harmless, or from a trusted pickle."""
    if not zipfile.is_zipfile(path):
        if not trust:
            raise Refused("A pickle runs code when it is loaded", path, "skops.io.dump")
        return _unpickled(path)
    import skops.io

    try:
        found = skops.io.get_untrusted_types(file=path)
        unknown = set(found) - HARMLESS
        if unknown and not trust:
            raise Refused(
                "The skops file uses types that are not known to be harmless",
                ", ".join(sorted(unknown)[:4]),
                "an ONNX export of it, or trust: true for a file of your own",
            )
        return skops.io.load(path, trusted=found)
    except Refused:
        raise
    except Exception as error:  # skops raises KeyError, TypeError, ValueError... on broken files
        raise Refused("The skops file cannot be read", first_line(error), "skops.io.dump again") from error


def _unpickled(path):
    """A pickle that the caller trusts: its code runs here, and may raise anything."""
    import joblib

    try:
        model = joblib.load(path)
    except Exception as error:
        raise Refused(
            "The pickle does not load", first_line(error), "joblib.dump again, with this scikit-learn"
        ) from error
    if not hasattr(model, "predict"):
        raise Refused("The pickle holds no model", type(model).__name__, "an estimator with predict")
    return model
