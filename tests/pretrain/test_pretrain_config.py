"""One sentence for each mistake in a configuration, and nothing computed before it is found."""

from __future__ import annotations

import json

import pytest

from tessera_core.cli import main
from tessera_core.pretrain.config import CONFIGS, PretrainConfig, PretrainError, completed, differences

GOOD = {"data": {"simulated": 100}}


def mistake(**sections) -> str:
    with pytest.raises(PretrainError) as caught:
        PretrainConfig.from_mapping({**GOOD, **sections}, "run.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert "run.toml" in message
    return message


def test_defaults_are_the_published_recipe():
    config = PretrainConfig.from_mapping(GOOD)
    assert config.objective.lambda_ == 5e-3
    assert config.objective.mixup == 1.0
    assert (config.optimiser.learning_rate, config.optimiser.warmup, config.optimiser.clip) == (2e-3, 0.1, 2.0)
    assert config.optimiser.weight_decay == 1e-6
    assert config.views.s2 == config.views.s1 == (40, 40)
    assert json.dumps(config.to_json())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_load_by_name(path):
    assert PretrainConfig.load(path.stem) == PretrainConfig.load(path)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"optimizer": {}}, ("optimizer is not a setting", "optimiser")),
        ({"run": {"step": 5}}, ("run.step is not a setting", "run.steps")),
        ({"run": {"steps": "many"}}, ("run.steps", "whole number", "'many'")),
        ({"run": {"steps": 2.5}}, ("run.steps", "whole number")),
        ({"run": {"steps": 0}}, ("run.steps = 0", "at least 1")),
        ({"run": {"steps": True}}, ("run.steps", "whole number")),
        ({"run": {"dtype": "fp8"}}, ("run.dtype", "fp32, bf16")),
        ({"run": 3}, ("run must be a section",)),
        ({"views": {"s2": 40}}, ("views.s2", "list of 2 values")),
        ({"views": {"s2": [24, 8]}}, ("views.s2", "[fewest, most]")),
        ({"views": {"s1": [8, 200]}}, ("views.s1 asks for 200", "data.max_s1")),
        ({"views": {"gain": float("nan")}}, ("views.gain", "between")),
        ({"views": {"drop_s1": 0.9}}, ("views.drop_s1", "between 0 and 0.5")),
        ({"model": {"preset": "v3"}}, ("model.preset", "v2-nano")),
        ({"objective": {"prefixes": [128]}}, ("objective.prefixes", "shorter")),
        ({"optimiser": {"warmup": 0.7, "plateau": 0.7}}, ("warmup + optimiser.plateau",)),
        ({"data": {"simulated": 9, "climates": ["borael"]}}, ("data.climates", "'borael'", "did you mean 'boreal'")),
        ({"data": {"simulated": 9, "climates": []}}, ("data.climates names no climate",)),
        ({"data": {}}, ("data needs simulated above 0, or tiles",)),
        ({"data": {"simulated": 100, "holdout_worlds": 0}, "run": {"probe_every": 5}}, ("holdout_worlds",)),
    ],
)
def test_each_mistake_has_its_sentence(sections, words):
    message = mistake(**sections)
    for word in words:
        assert word in message


def test_files_that_are_no_configuration(tmp_path, capsys):
    broken = tmp_path / "broken.toml"
    broken.write_text("[run\nsteps = 1")
    assert main(["pretrain", str(broken), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "not valid TOML" in error
    assert "Traceback" not in error
    assert main(["pretrain", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run")]) == 2
    assert "none.toml does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_differences_are_named():
    first = PretrainConfig.from_mapping(GOOD).to_json()
    second = PretrainConfig.from_mapping({**GOOD, "run": {"steps": 7}, "seed": 3}).to_json()
    assert differences(first, second) == ["run.steps", "seed"]
    assert differences(first, json.loads(json.dumps(first))) == []


def test_a_setting_may_have_its_former_name_but_not_both():
    now = PretrainConfig.from_mapping({"data": {"simulated": 100, "randomised": 0.5}})
    assert PretrainConfig.from_mapping({"data": {"simulated": 100, "imagined": 0.5}}) == now
    saved = now.to_json()
    saved["data"]["imagined"] = saved["data"].pop("randomised")
    assert differences(completed(saved), now.to_json()) == []
    both = mistake(data={"simulated": 100, "imagined": 0.5, "randomised": 0.4})
    assert "data.imagined is not a setting" in both
