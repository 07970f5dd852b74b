"""Pre-trained models behind their real loaders: tiny random checkpoints, forecasts equal to direct library calls.

Each skips where its library (extras `chronos`, `timesfm`, `nhits`) is not installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools.compare_baselines.models.forecast import LEVELS, Task
from optimizing_resources.tools.compare_baselines.models.menu import MENU

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries' own imports
_T5 = {
    "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
}  # fmt: skip
_PATCHES = {"context_length": 64, "input_patch_size": 8, "input_patch_stride": 8, "use_reg_token": True}


def walks() -> list[Any]:
    rng = np.random.default_rng(0)
    return [10 + rng.normal(size=n).cumsum() for n in (30, 50, 80)]


def checkpoint(name: str, folder: Path) -> Path:
    """A random model of one layer, saved as its library saves it."""
    import transformers

    if name == "chronos":
        config = transformers.T5Config(vocab_size=256, **_T5)
        config.chronos_config = {
            "tokenizer_class": "MeanScaleUniformBins", "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
            "context_length": 64, "prediction_length": 16, "n_tokens": 256, "n_special_tokens": 2, "pad_token_id": 0,
            "eos_token_id": 1, "use_eos_token": True, "model_type": "seq2seq", "num_samples": 20, "temperature": 1.0,
            "top_k": 50, "top_p": 1.0,
        }  # fmt: skip
        config.architectures = ["T5ForConditionalGeneration"]
        model: Any = transformers.T5ForConditionalGeneration(config)
    elif name == "chronos_bolt":
        from chronos.chronos_bolt import ChronosBoltModelForForecasting

        config = transformers.T5Config(vocab_size=2, feed_forward_proj="relu", **_T5)
        config.chronos_config = {**_PATCHES, "prediction_length": 16, "quantiles": list(LEVELS)}
        config.chronos_pipeline_class = "ChronosBoltPipeline"
        config.architectures = ["ChronosBoltModelForForecasting"]
        model = ChronosBoltModelForForecasting(config)
    else:
        from chronos.chronos2 import Chronos2Model
        from chronos.chronos2.config import Chronos2CoreConfig

        small = {k: _T5[k] for k in ("d_model", "d_kv", "d_ff", "num_layers", "num_heads")}
        more = {
            "output_patch_size": 8,
            "max_output_patches": 8,
            "use_arcsinh": True,
            "time_encoding_scale": 64,
        }
        config = Chronos2CoreConfig(**small, chronos_config={**_PATCHES, **more, "quantiles": list(LEVELS)})
        config.chronos_pipeline_class, config.architectures = "Chronos2Pipeline", ["Chronos2Model"]
        model = Chronos2Model(config)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["chronos", "chronos_bolt", "chronos_2"])
def test_chronos_equals_a_direct_call_of_its_pipeline(name: str, tmp_path: Path) -> None:
    chronos, torch = pytest.importorskip("chronos"), pytest.importorskip("torch")
    folder, lines = str(checkpoint(name, tmp_path)), walks()
    mine = MENU[name].run(Task(lines, 12, 1, checkpoint=folder))
    pipeline = chronos.BaseChronosPipeline.from_pretrained(folder, device_map="cpu")
    torch.manual_seed(0)
    asked = {"prediction_length": 12, "quantile_levels": list(LEVELS)}
    found, _ = pipeline.predict_quantiles([torch.tensor(y, dtype=torch.float32) for y in lines], **asked)
    for own, direct in zip(mine.quantiles, found, strict=True):
        np.testing.assert_allclose(own.T, np.asarray(direct.detach()).reshape(12, len(LEVELS)), rtol=1e-6)
    np.testing.assert_array_equal(mine.mean, mine.quantiles[:, 4])
    other = next(n for n in ("chronos", "chronos_bolt") if n != name)
    with pytest.raises(ToolError, match="another kind"):
        MENU[other].run(Task(lines, 12, 1, checkpoint=folder))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    with pytest.raises(ToolError, match="No checkpoint there"):
        MENU["chronos"].run(Task(walks(), 12, 1, checkpoint=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ToolError, match="does not load"):
        MENU["chronos"].run(Task(walks(), 12, 1, checkpoint=str(tmp_path)))


@pytest.mark.slow
def test_timesfm_equals_a_direct_call_of_its_library(tmp_path: Path) -> None:
    library, torch = pytest.importorskip("timesfm"), pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    random = library.TimesFM_2p5_200M_torch(torch_compile=False)  # its size is fixed: 0.9 GB
    save_file(random.model.state_dict(), tmp_path / "model.safetensors")
    lines = walks()
    mine = MENU["timesfm"].run(Task(lines, 12, 1, checkpoint=str(tmp_path)))
    direct = library.TimesFM_2p5_200M_torch.from_pretrained(str(tmp_path), torch_compile=False)
    direct.compile(library.ForecastConfig(max_context=1024, max_horizon=128, normalize_inputs=True))
    _, spread = direct.forecast(horizon=12, inputs=[y.copy() for y in lines])
    np.testing.assert_allclose(mine.quantiles, np.asarray(spread)[:, :, 1:].transpose(0, 2, 1), rtol=1e-6)


@pytest.mark.slow
def test_nhits_equals_a_direct_call_of_neuralforecast() -> None:
    neuralforecast = pytest.importorskip("neuralforecast")
    pd = pytest.importorskip("pandas")
    from neuralforecast.models import NHITS
    from optimizing_resources.tools.compare_baselines.models.neural import _QUIET, settings

    lines = [y[:30] for y in walks()]
    mine = MENU["nhits"].run(Task(lines, 4, 1))
    table = pd.concat(
        [pd.DataFrame({"unique_id": i, "ds": np.arange(30), "y": y}) for i, y in enumerate(lines)]
    )
    direct = neuralforecast.NeuralForecast(models=[NHITS(**settings(Task(lines, 4, 1)), **_QUIET)], freq=1)
    direct.fit(table)
    expected = direct.predict().sort_values(["unique_id", "ds"])["NHITS"]
    np.testing.assert_allclose(mine.mean.ravel(), expected, rtol=1e-6)
