"""The diffusion models with a denoiser that is exact, against closed forms."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import DDIMModel, DDPMModel, DiffusionModel
from artifex.guidance import ClassifierFree
from artifex.samplers import Ddim, Ddpm, Sampler
from artifex.schedules import Discrete, Host, betas, grid
from tests.models.exact import LABEL_MEANS, MEAN, STD, ExactNoise, config, moments

N = 1024
SCHEDULE = Discrete(betas.linear(1000))


def exact(model_config: object, *, rngs: nnx.Rngs) -> ExactNoise:
    return ExactNoise(SCHEDULE.alphas_cumprod, rngs)


def ddpm(**parameters: object) -> DDPMModel:
    return DDPMModel(config("DDPMModel", **parameters), backbone_fn=exact, rngs=nnx.Rngs(0))


def ddim(**parameters: object) -> DDIMModel:
    return DDIMModel(config("DDIMModel", **parameters), backbone_fn=exact, rngs=nnx.Rngs(0))


WALKS: list[tuple[str, Callable[[], Array], Sampler, Host]] = [
    ("ddpm", lambda: ddpm().generate(N, clip_denoised=False), Ddpm(), grid.every(1000)),
    ("ddpm 50", lambda: ddpm().sample(N, steps=50), Ddpm(), grid.trailing(1000, 50)),
    ("ddim 50", lambda: ddpm().sample(N, "ddim", 50), Ddim(), grid.trailing(1000, 50)),
    ("ddim model", lambda: ddim().generate(N, clip_denoised=False), Ddim(), grid.trailing(1000, 50)),
    ("ddim 10 eta 0.5", lambda: ddim().ddim_sample(N, 10, 0.5), Ddim(0.5), grid.trailing(1000, 10)),
    ("quadratic", lambda: ddim(skip_type="quadratic").ddim_sample(N, 20, 1.0), Ddim(1.0), grid.quadratic(1000, 20)),
]


@pytest.mark.parametrize(("walk", "sampler", "times"), [w[1:] for w in WALKS], ids=[w[0] for w in WALKS])
def test_samples_have_the_moments_that_the_table_says(walk: Callable[[], Array], sampler: Sampler, times: Host) -> None:
    samples = np.asarray(walk(), np.float64)
    mean, std = moments(sampler.tableau(SCHEDULE, times))
    error = std / np.sqrt(samples.size)
    # four standard errors, and what clipping at one, 2.7 standard deviations off, can move
    assert abs(samples.mean() - mean) < 4 * error + 1e-3
    assert abs(samples.std() - std) < 4 * error + 4e-3


def test_the_whole_chain_gives_the_data_back() -> None:
    mean, std = moments(Ddpm().tableau(SCHEDULE, grid.every(1000)))
    assert mean == pytest.approx(MEAN, abs=2e-3)
    assert std == pytest.approx(STD, abs=6e-3)


def test_the_recursion_knows_the_bias_of_few_steps() -> None:
    """DDIM with 50 of 1,000 steps at 980, 960 ... 0 narrows a standard deviation of 0.3 to 0.275: known from peers."""
    times = np.append(np.arange(980.0, -1, -20), -1)
    assert moments(Ddim().tableau(SCHEDULE, times), mean=0.0)[1] == pytest.approx(0.275, abs=5e-4)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.0])
def test_conditions_and_guidance_steer(w: float) -> None:
    labels = jnp.arange(N) % 2
    samples = ddim().ddim_sample(N, conditioning=labels, guidance=ClassifierFree(w))
    table = Ddim().tableau(SCHEDULE, grid.trailing(1000, 50))
    for label, centre in enumerate(LABEL_MEANS):
        mean, std = moments(table, mean=MEAN + w * (centre - MEAN))
        part = np.clip(np.random.default_rng(0).normal(mean, std, 10**6), -1, 1)
        assert float(samples[labels == label].mean()) == pytest.approx(part.mean(), abs=0.02)


def test_forward_process_is_the_papers() -> None:
    model, rngs = ddpm(), nnx.Rngs(3)
    x0 = jax.random.normal(rngs(), (5, 4, 4, 2))
    eps = jax.random.normal(rngs(), x0.shape)
    t = np.array([0, 10, 250, 998, 999])
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - beta)[t].reshape(5, 1, 1, 1)
    x_t = np.sqrt(abar) * np.asarray(x0, np.float64) + np.sqrt(1 - abar) * np.asarray(eps, np.float64)
    np.testing.assert_allclose(model.q_sample(x0, jnp.asarray(t), eps), x_t, atol=1e-6)
    back = model.predict_start_from_noise(jnp.asarray(x_t[:3], jnp.float32), jnp.asarray(t[:3]), eps[:3])
    np.testing.assert_allclose(back, x0[:3], atol=5e-6)
    noisy, noise = model.forward_diffusion(x0, jnp.asarray(t), rngs=rngs)
    np.testing.assert_allclose(noisy, model.q_sample(x0, jnp.asarray(t), noise), atol=1e-6)


def test_tables_are_the_papers() -> None:
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - beta)
    posterior = beta * (1 - np.append(1.0, abar[:-1])) / (1 - abar)
    model = ddpm()
    for name, table in (
        ("betas", beta),
        ("alphas", 1 - beta),
        ("alphas_cumprod", abar),
        ("sqrt_alphas_cumprod", np.sqrt(abar)),
        ("sqrt_one_minus_alphas_cumprod", np.sqrt(1 - abar)),
        ("posterior_variance", posterior),
    ):
        np.testing.assert_allclose(getattr(model, name), table, rtol=1e-6, atol=1e-12, err_msg=name)


def test_p_sample_draws_from_the_posterior() -> None:
    model = ddpm()
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.append(1.0, np.cumprod(1 - beta))  # abar[t + 1] is that of t
    t = 300
    x_t, eps = jnp.full((50_000,), 0.7), jnp.full((50_000,), 0.2)
    x0 = (0.7 - np.sqrt(1 - abar[t + 1]) * 0.2) / np.sqrt(abar[t + 1])
    mean = np.sqrt(abar[t]) * beta[t] / (1 - abar[t + 1]) * x0
    mean += np.sqrt(1 - beta[t]) * (1 - abar[t]) / (1 - abar[t + 1]) * 0.7
    std = np.sqrt(beta[t] * (1 - abar[t]) / (1 - abar[t + 1]))
    draws = model.denoise_step(x_t, jnp.array(t), eps)
    assert float(draws.mean()) == pytest.approx(mean, abs=5 * std / np.sqrt(50_000))
    assert float(draws.std()) == pytest.approx(std, rel=0.02)
    last = model.p_sample(eps, x_t, jnp.array(0))
    np.testing.assert_allclose(last, (0.7 - 0.01 * 0.2) / np.sqrt(1 - 1e-4), atol=1e-6)
    clipped = model.p_sample(-eps, 3 * x_t, jnp.array(0))
    np.testing.assert_allclose(clipped, 1.0, atol=1e-6)


def test_ddim_step_is_the_documents_formula() -> None:
    model = ddim()
    abar = np.append(1.0, SCHEDULE.alphas_cumprod)
    t, s = np.array([999, 500, 20]), np.array([979, 100, -1])
    at, a_s = abar[t + 1], abar[s + 1]
    x_t, eps = np.array([0.3, -1.0, 0.5]), np.array([0.1, -0.5, 0.7])
    x0 = (x_t - np.sqrt(1 - at) * eps) / np.sqrt(at)
    args = (jnp.asarray(x_t, jnp.float32), jnp.asarray(t), jnp.asarray(s), jnp.asarray(eps, jnp.float32))
    expected = np.sqrt(a_s) * x0 + np.sqrt(1 - a_s) * eps
    np.testing.assert_allclose(model.ddim_step(*args), expected, rtol=2e-5, atol=2e-6)
    sigma = 0.5 * np.sqrt((1 - a_s) / (1 - at)) * np.sqrt(1 - at / a_s)
    x_many, t_many, s_many, eps_many = (jnp.repeat(a, 20_000) for a in args)
    many = model.ddim_step(x_many, t_many, s_many, eps_many, eta=0.5).reshape(3, -1)
    expected = np.sqrt(a_s) * x0 + np.sqrt(1 - a_s - sigma**2) * eps
    np.testing.assert_allclose(many.mean(axis=1), expected, rtol=2e-5, atol=0.02)
    np.testing.assert_allclose(many.std(axis=1), sigma, rtol=0.02, atol=1e-6)


def test_ddim_timesteps_are_the_documented_ones() -> None:
    steps = ddim().get_ddim_timesteps(50)
    np.testing.assert_array_equal(steps, [*range(999, 0, -20), 0])
    quadratic = np.asarray(ddim(skip_type="quadratic").get_ddim_timesteps(50))
    assert quadratic[0] == 999
    assert quadratic[-2:].tolist() == [0, 0]
    assert np.all(np.diff(quadratic[:-1]) < 0)


def test_loss_finds_the_noise_again() -> None:
    model, rngs = ddpm(), nnx.Rngs(5)
    x = jax.random.normal(rngs(), (6, 4, 4, 2))
    noise = jax.random.normal(rngs(), x.shape)
    t = jnp.array([0, 1, 100, 500, 900, 999])
    outputs = model(model.q_sample(x, t, noise), t, training=True)
    with_noise = model.loss_fn({"x": x, "noise": noise}, outputs)
    for batch in ({"x": x}, x):
        np.testing.assert_allclose(model.loss_fn(batch, outputs)["loss"], with_noise["loss"], rtol=1e-5)
    expected = np.mean((np.asarray(outputs["predicted_noise"], np.float64) - np.asarray(noise)) ** 2)
    np.testing.assert_allclose(with_noise["mse"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"missing: \['x_t', 'timesteps'\]"):
        model.loss_fn(x, {"predicted_noise": noise})


def test_equal_programs_agree_and_two_calls_differ() -> None:
    first, second = ddim(), ddim()
    a, b = first.ddim_sample(2, 5), first.ddim_sample(2, 5)
    assert float(jnp.abs(a - b).max()) > 0.01
    np.testing.assert_array_equal(second.ddim_sample(2, 5), a)
    np.testing.assert_array_equal(first.ddim_sample(2, 5, rngs=nnx.Rngs(7)), second.ddim_sample(2, 5, rngs=nnx.Rngs(7)))


def test_initial_noise_is_where_the_walk_begins() -> None:
    noise = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    a, b = (ddim().ddim_sample(3, initial_noise=noise, rngs=nnx.Rngs(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(a, b)
    assert ddim().sample((3, 4, 4, 2), "ddim", 5, initial_noise=noise).shape == (3, 4, 4, 2)


@pytest.mark.parametrize("conditioning", [None, jnp.array([0, 1, 1])], ids=["plain", "conditional"])
def test_inversion_closes_the_circle(conditioning: Array | None) -> None:
    model = ddim()
    centre = MEAN if conditioning is None else jnp.asarray(LABEL_MEANS)[conditioning].reshape(3, 1, 1, 1)
    x0 = centre + STD * 0.5 * jax.random.normal(jax.random.key(2), (3, 4, 4, 2))
    options = {} if conditioning is None else {"conditioning": conditioning}
    rms = []
    for steps in (100, 200, 400):
        noise = model.ddim_reverse(x0, steps, **options)  # type: ignore[arg-type]
        back = model.ddim_sample(3, steps, initial_noise=noise, **options)  # type: ignore[arg-type]
        rms.append(float(jnp.sqrt(jnp.mean((back - x0) ** 2))))
    assert rms[1] < 0.02
    assert rms[0] / rms[1] == pytest.approx(2, abs=0.4)
    assert rms[1] / rms[2] == pytest.approx(2, abs=0.4)
    if conditioning is None:
        np.testing.assert_allclose(model.ddim_reverse(x0[0], 400), noise[0], atol=1e-5)


def test_sampling_compiles_once() -> None:
    traces = []

    class Counting(ExactNoise):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            traces.append(x.shape)
            return super().__call__(x, t, cond, deterministic=deterministic)

    def backbone(model_config: object, *, rngs: nnx.Rngs) -> Counting:
        return Counting(SCHEDULE.alphas_cumprod, rngs)

    model = DDIMModel(config("DDIMModel"), backbone_fn=backbone, rngs=nnx.Rngs(0))
    labels = jnp.array([0, 1])
    model.ddim_sample(2, conditioning=labels, guidance=ClassifierFree(2.0))
    seen = len(traces)
    model.ddim_sample(2, conditioning=1 - labels, guidance=ClassifierFree(5.0), rngs=nnx.Rngs(9))
    assert len(traces) == seen


def test_works_inside_the_users_jit() -> None:
    model = ddim()
    inside = nnx.jit(lambda m, rngs: m.ddim_sample(2, 5, rngs=rngs))(model, nnx.Rngs(4))
    np.testing.assert_allclose(inside, model.ddim_sample(2, 5, rngs=nnx.Rngs(4)), atol=1e-6)


def test_base_class_takes_any_backbone() -> None:
    model = DiffusionModel(config("DiffusionModel"), exact, rngs=nnx.Rngs(0))
    assert model.generate(2, shape=(3,)).shape == (2, 3)


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("steps", lambda: ddim().ddim_sample(1, 1001), r"steps must be in \[1, 1000\], got 1001"),
    ("no steps", lambda: ddpm().sample(1, steps=0), r"steps must be in \[1, 1000\], got 0"),
    ("scheduler", lambda: ddpm().sample(1, "euler"), "scheduler must be 'ddpm' or 'ddim', got 'euler'"),  # type: ignore[arg-type]
    ("count", lambda: ddpm().generate(0), "n_samples must be at least 1, got 0"),
    ("eta", lambda: ddim().ddim_sample(1, 5, 2.0), r"eta must be in \[0, 1\], got 2.0"),
    ("late", lambda: ddpm()(jnp.ones((1, 2)), jnp.array([1000])), r"timesteps must be in \[0, 999\], got .* to 1000"),
    (
        "early",
        lambda: ddpm().q_sample(jnp.ones((1, 2)), jnp.array([-1])),
        r"timesteps must be in \[0, 999\], got values from -1",
    ),
    (
        "up",
        lambda: ddim().ddim_step(jnp.ones((1, 2)), jnp.array(5), jnp.array(5), jnp.ones((1, 2))),
        r"t_prev must be in",
    ),
    (
        "noise",
        lambda: ddim().ddim_sample(2, 5, initial_noise=jnp.ones((1, 4, 4, 2))),
        r"shape \(2, 4, 4, 2\), got \(1,",
    ),
    ("nan", lambda: ddim().ddim_sample(1, 5, initial_noise=jnp.full((1, 4, 4, 2), jnp.nan)), "must be finite"),
    ("unguided", lambda: ddim().ddim_sample(1, 5, guidance=ClassifierFree(2.0)), "conditioning must be given"),
    ("labels", lambda: ddim().ddim_sample(2, 5, conditioning=jnp.array([0])), r"each of 2 samples, got \(1,\)"),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_says_got_and_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_option_is_no_silence() -> None:
    with pytest.raises(TypeError, match="unknown argument 'stepz'"):
        ddim().ddim_sample(1, 5, stepz=3)  # type: ignore[call-arg]
