from itertools import count
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import MLP, MLPConfig
from artifex.training import ConfigError, Dataset, Network, RunConfig, Trainer, parse_config, read_config
from artifex.training.config.yaml import write_config
from artifex.training.ema import Snapshots
from artifex.training.sharding.mesh import MeshConfig
from tests.training.helpers.tiny import data, dataset, network, same

pytestmark = pytest.mark.slow

TOY = """
data: {kind: toy, name: moons, size: 64}
backbone: {kind: mlp, hidden: 8, depth: 1}
schedule: rectified_flow
prediction: flow_velocity
steps: 6
batch_size: 8
checkpoint: {every: 2}
ema: {kind: power, sigma_rels: [0.1], snapshot_every: 3}
precision: {compute: bfloat16}
"""


def config() -> RunConfig:
    return parse_config(TOY)


def test_a_run_from_its_configuration_and_one_that_goes_on_end_alike(tmp_path: Path) -> None:
    whole = Trainer(config(), tmp_path / "whole").fit()
    assert whole.finished
    assert np.isfinite(whole.losses).all()
    assert read_config(tmp_path / "whole" / "config.yaml") == config()
    assert Snapshots(tmp_path / "whole" / "snapshots").steps() == [3, 6]

    questions = count(-4)
    part = Trainer(config(), tmp_path / "part").fit(stop=lambda: next(questions) >= 0)
    assert (part.steps_done, part.finished) == (4, False)
    rest = Trainer.from_folder(tmp_path / "part").fit(resume=True)
    assert same(rest.state, whole.state)
    assert same(Trainer.from_folder(tmp_path / "part").load().state, whole.state)
    # As eight devices would have left it.
    write_config(config().model_copy(update={"mesh": MeshConfig(fsdp=8)}), tmp_path / "part" / "config.yaml")
    with pytest.raises(ValueError, match="the product of the mesh must be the number of devices, 1"):
        Trainer.from_folder(tmp_path / "part")
    assert same(Trainer.from_folder(tmp_path / "part", any_devices=True).load().state, whole.state)

    parameters = jax.tree.leaves(whole.state.parameters)
    assert {leaf.dtype for leaf in parameters} == {jnp.dtype(jnp.float32)}
    program = jax.make_jaxpr(whole.network.apply)(whole.parameters, jnp.ones((2, 2)), jnp.ones(2), None)
    assert "bf16[2,8] = dot_general" in str(program)
    sample = whole.denoiser(jnp.ones((2, 2)), whole.objective.schedule.at(jnp.full(2, 0.5)), jnp.zeros(2, jnp.int32))
    assert sample.shape == (2, 2)


def test_each_part_can_be_a_users_own() -> None:
    own: Dataset = dataset(data())
    module = network()
    small = config().model_copy(update={"steps": 1})
    trainer = Trainer(small, data=own, network=module)
    assert trainer.network is module
    assert (trainer.data, trainer.objective.num_classes) == (own, 3)
    assert not same(trainer.fit().state.parameters, Network(module).parameters)
    mlp = Trainer(small, network=MLP(MLPConfig(hidden=8, depth=1), rngs=nnx.Rngs(0)))
    assert mlp.objective.num_classes == 2


def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"backbone.kind 'unet' does not take the data's points"):
        Trainer(parse_config("data: toy"), tmp_path / "new")
    with pytest.raises(ConfigError, match=r"config\.yaml could not be read"):
        Trainer.from_folder(tmp_path)
    with pytest.raises(ValueError, match="resume must come with a checkpointer, got None"):
        Trainer(config()).fit(resume=True)
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides_the_first_parameters() -> None:
    one, again, other = (Trainer(config().model_copy(update={"seed": seed})).network for seed in (0, 0, 1))
    assert same(nnx.state(one, nnx.Param), nnx.state(again, nnx.Param))
    assert not same(nnx.state(one, nnx.Param), nnx.state(other, nnx.Param))
