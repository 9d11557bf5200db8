"""Calls: what a picture depends on, what is compiled, sizes, starts."""

import logging
from collections.abc import Callable
from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.pipelines import LatentSpace, Options, Pipeline, StableDiffusion, load_pipeline
from artifex.pipelines.options import Settings
from tests.pipelines.conftest import Folders
from tests.pipelines.helpers.folders import FOLDERS
from tests.pipelines.helpers.weights import mask, picture

TEXTS = ("the house", "a light")


def programs(pipe: Pipeline) -> int:
    """The number of compiled walks."""
    return pipe.walk._program.count


@pytest.mark.slow
def test_picture_depends_on_prompt_and_seed_alone(stable: StableDiffusion) -> None:
    together = np.asarray(stable.latents(TEXTS, negative=["fog", "rain"], steps=2, seed=3, count=3))
    for index, (text, negative) in enumerate(zip(TEXTS, ("fog", "rain"), strict=True)):
        for i in range(3):
            alone = np.asarray(stable.latents(text, negative=negative, steps=2, seed=3 + i))
            np.testing.assert_array_equal(together[3 * index + i], alone[0])
    assert len(np.unique(together.reshape(6, -1), axis=0)) == 6


@pytest.mark.slow
def test_stochastic_sampler_also_draws_each_picture_alone(read: Callable[[str], Pipeline]) -> None:
    pipe = read("ddpm")
    together = np.asarray(pipe.latents(steps=2, seed=3, count=2))
    np.testing.assert_array_equal(together[1:], np.asarray(pipe.latents(steps=2, seed=4)))
    assert np.any(together[0] != together[1])


@pytest.mark.slow
def test_image_to_image_draws_each_picture_alone(stable: StableDiffusion) -> None:
    images = [picture(16, 16), picture(16, 16).rotate(90)]
    together = np.asarray(stable.latents(TEXTS, image=images, strength=0.5, steps=4, seed=1, count=2))
    alone = np.asarray(stable.latents(TEXTS[1], image=images[1], strength=0.5, steps=4, seed=2))
    np.testing.assert_array_equal(together[3], alone[0])


@pytest.mark.slow
def test_batches_agree_to_rounding(stable: StableDiffusion) -> None:
    one = np.asarray(stable.latents("the house", steps=2, count=3))
    some = np.asarray(stable.latents("the house", steps=2, count=3, batch_size=2))
    np.testing.assert_allclose(some, one, atol=1e-5 * np.abs(one).max())


@pytest.mark.slow
def test_nothing_is_compiled_again(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    pipe = load_pipeline(folders("sd"))
    pipe.compile("a", steps=2, guidance=3.0)
    assert programs(pipe) == 1
    pipe("the house", steps=2, guidance=3.0)
    jax.config.update("jax_log_compiles", True)  # type: ignore[no-untyped-call]
    try:
        with caplog.at_level(logging.WARNING):
            pipe("a light", negative="fog", steps=2, guidance=8.5, seed=9, count=2)
    finally:
        jax.config.update("jax_log_compiles", False)  # type: ignore[no-untyped-call]
    compiled = [r.message for r in caplog.records if r.message.startswith("Compiling")]
    assert not [line for line in compiled if "_run" in line or "_decoded" in line]
    assert programs(pipe) == 1


@pytest.mark.slow
def test_compiled_ahead(folders: Folders) -> None:
    pipe = load_pipeline(folders("sd"))
    assert isinstance(pipe, StableDiffusion)
    assert isinstance(pipe.space, LatentSpace)
    assert pipe.encoder is not None
    given: Options = {"steps": 2, "image": picture(16, 16), "strength": 0.5}
    pipe.compile("a", **given)
    programs = (pipe.walk._program, pipe.space._encode, pipe.space._decode, pipe.encoder._program)
    assert [program.count for program in programs] == [1, 1, 1, 1]
    pipe("the house", **given)
    assert [program.count for program in programs] == [1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd", "xl"])
def test_encoders_may_be_dropped(name: str, folders: Folders) -> None:
    pipe = load_pipeline(folders(name))
    expected = np.asarray(pipe.latents(TEXTS, negative="fog", steps=1))
    encoded = pipe.encode(TEXTS, negative="fog")
    pipe.drop_encoders()
    np.testing.assert_array_equal(np.asarray(pipe.latents(encoded, steps=1)), expected)
    with pytest.raises(ValueError, match="have been dropped"):
        pipe("the house", steps=1)


def test_image_to_image_begins_at_the_first_remaining_level(stable: StableDiffusion) -> None:
    settings = stable.settings({"steps": 10, "image": picture(16, 16), "strength": 0.3})
    level = stable.tableau(settings).level
    times = stable.walk.scheduler.times(10)
    assert len(level.t) == 3
    np.testing.assert_array_equal(level.t, times[7:10])


@pytest.mark.slow
def test_full_strength_paints_from_pure_noise_and_keeps_the_rest(stable: StableDiffusion) -> None:
    """Unlike diffusers, whose known part begins in pure noise too, it is on its noisy path from the first step."""
    image, painted = picture(16, 16), mask(16, 16)
    settings = stable.settings({"steps": 3, "image": image, "mask": painted, "strength": 1.0})
    start, beside = stable.begin(settings, image, painted, (16, 16), [0], None)
    clean = np.asarray(stable.encoded(np.asarray(image, np.float32) / 127.5 - 1, [0], None))
    kept = 1 - (np.asarray(painted)[None, ::2, ::2, None] > 127)
    assert beside is None
    np.testing.assert_allclose(np.asarray(start.clean), kept * clean, atol=1e-6)
    out = np.asarray(stable.latents("a", image=image, mask=painted, steps=3))
    np.testing.assert_allclose(out * kept, clean * kept, atol=1e-6 * np.abs(clean).max())


@pytest.mark.slow
def test_split_walk_is_the_whole_one(stable: StableDiffusion) -> None:
    """For a solver without a memory."""
    whole = np.asarray(stable.latents("a", steps=5, sampler="ddim"))
    half = stable.latents("a", steps=5, sampler="ddim", end=0.6)
    rest = np.asarray(stable.latents("a", steps=5, sampler="ddim", begin=0.6, latents=half))
    np.testing.assert_allclose(rest, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.slow
def test_progress(stable: StableDiffusion) -> None:
    steps: list[int] = []
    stable.latents("a", steps=3, count=2, progress=steps.append)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert steps == [1, 2, 3, 1, 2, 3]


@pytest.mark.slow
def test_tiles(stable: StableDiffusion) -> None:
    latents = jax.random.normal(jax.random.key(0), (1, 16, 24, 4))
    space = stable.space
    assert isinstance(space, LatentSpace)
    network = nnx.merge(space._graph, space.parameters)
    expected = network.decode_tiled(latents / 0.4, tile=8, overlap=2)
    np.testing.assert_allclose(np.asarray(stable.decode(latents, tile=16)), expected, atol=1e-4)
    whole = np.asarray(stable.decode(latents))
    assert np.abs(whole - np.asarray(stable.decode(latents, tile=16))).max() > 1e-3
    np.testing.assert_array_equal(np.asarray(stable.decode(latents, tile=48)), whole)


def test_sizes(stable: StableDiffusion) -> None:
    assert stable.size(stable.settings({}), None) == (16, 16)
    assert stable.size(stable.settings({}), picture(21, 33)) == (20, 32)
    assert stable.size(stable.settings({"size": (8, 12)}), picture(21, 33)) == (8, 12)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_option_is_taken_or_refused(name: str, read: Callable[[str], Pipeline]) -> None:
    pipe = read(name)
    values = {field.name: getattr(pipe.defaults, field.name) for field in fields(Settings)}
    assert set(values) == set(Options.__annotations__)
    values["image"] = picture(16, 16)
    for option, value in values.items():
        given: Options = {option: value}  # type: ignore[misc]
        if name == "pix2pix":
            given = {"image": picture(16, 16), **given}
        if option in pipe.taken:
            pipe.settings(given)
        else:
            with pytest.raises(ValueError, match=f"got {option}"):
                pipe.settings(given)


def test_what_the_families_take(read: Callable[[str], Pipeline]) -> None:
    texts = {"negative", "clip_skip", "long", "weighted"}
    sizes = {"original_size", "crop", "target_size", "aesthetic_score", "negative_aesthetic_score"}
    every = set(Options.__annotations__)
    assert every - read("sd").taken == sizes | {"image_guidance"}
    assert every - read("xl").taken == {"image_guidance"}
    assert every - read("pix2pix").taken == sizes | {"mask", "strength", "rescale"}
    assert every - read("dit").taken == sizes | texts | {"image_guidance"}
    assert every - read("ddpm").taken == sizes | texts | {"image_guidance", "guidance", "rescale"}


def test_names_of_classes(read: Callable[[str], Pipeline]) -> None:
    dit = read("dit")
    (by_name, _), (by_number, _) = dit.conditions(["kitten", 3], [None, None], dit.settings({}), (16, 16))
    assert isinstance(by_name.cond, jax.Array)
    assert isinstance(by_number.cond, jax.Array)
    assert jnp.array_equal(by_name.cond, by_number.cond)
    assert int(by_number.cond[0]) == 3
