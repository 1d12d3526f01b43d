"""open_clip comes without timm and transformers, and what it names of them when it is used."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from bioprobe.encoders.families.later import libraries_when_used

# In a process of its own: here it is there already, or will be.
_LOOK = """
import sys
from bioprobe.encoders.families import open_clip_models
assert not {"timm", "transformers"} & set(sys.modules)
from open_clip import coca_model, hf_model
assert coca_model._has_transformers
config = hf_model.AutoConfig.for_model("bert", num_hidden_layers=1, hidden_size=8,
                                       num_attention_heads=2, intermediate_size=8, vocab_size=9)
import transformers
assert transformers.__version__ and transformers.modeling_outputs
assert isinstance(config, transformers.PretrainedConfig)
assert isinstance(config, hf_model.PretrainedConfig)
text = hf_model.HFTextEncoder("", 4, config=config, pooler_type="cls_pooler", proj_type="linear")
import torch
assert text(torch.ones(2, 3, dtype=torch.long)).shape == (2, 4)
assert "timm" not in sys.modules
from open_clip import timm_model
image = timm_model.TimmModel("resnet10t", 4, image_size=32, proj="mlp")
import timm
assert timm.__version__ and timm_model.timm.create_model is timm.create_model
assert isinstance(image.trunk, timm.models.ResNet)
"""


def test_what_open_clip_names_of_them_is_there_when_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_other_threads_have_the_library_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "string")
    monkeypatch.setattr("bioprobe.encoders.families.later._LIBRARIES", {"string": ()})
    found: list[object] = []

    def look() -> None:
        from string import digits

        found.append(digits)

    with libraries_when_used():
        from string import Template, capwords

        assert "string" in sys.modules
        assert capwords("a badger") == "A Badger"
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == ["0123456789"]
    assert isinstance(Template("$a"), Template)
    with pytest.raises(ModuleNotFoundError), libraries_when_used():
        import library_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401
