import json
from decimal import Decimal, localcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file

from artifex.training.ema import (
    EMA,
    Average,
    Constant,
    EMAConfig,
    Latest,
    NoEMA,
    Power,
    PowerEMA,
    Snapshots,
    gamma,
    inner_products,
    reconstruction,
    sigma_rel,
)

STEPS, EVERY = 2048, 32
KEPT, UNSEEN = (0.05, 0.10), (0.07, 0.15)
Tree = dict[str, Array]
Tracked = tuple[Tree, ...]


def exact_gamma(width: str) -> float:
    """The same equation by bisection, in 50 digits."""
    with localcontext(prec=50):
        target, low, high = Decimal(width) ** 2, Decimal(0), Decimal(10) ** 6
        for _ in range(180):
            middle = (low + high) / 2
            wider = (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > target
            low, high = (middle, high) if wider else (low, middle)
        return float(low)


def profile(t: float, g: float, tau: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    out: Float[np.ndarray, " n"] = np.where(tau <= t, (g + 1) * tau**g / t ** (g + 1), 0.0)
    return out


@pytest.mark.parametrize(("width", "published"), [("0.05", 16.9721986), ("0.10", 6.937203938), ("0.25", None),
                                                  ("0.001", None), ("0.2886", None)])  # fmt: skip
def test_exponents_are_those_of_exact_arithmetic(width: str, published: float | None) -> None:
    assert np.isclose(gamma(float(width)), exact_gamma(width), rtol=1e-13, atol=1e-14)
    assert published is None or np.isclose(gamma(float(width)), published, rtol=0, atol=1e-8)
    assert np.isclose(sigma_rel(gamma(float(width))), float(width), rtol=1e-14)


def test_the_width_is_the_standard_deviation_of_the_weights() -> None:
    tau = (np.arange(200_000) + 0.5) / 200_000
    for width in (0.02, 0.1, 0.25):
        weight = tau ** gamma(width)
        mean = np.average(tau, weights=weight)
        assert np.isclose(np.sqrt(np.average((tau - mean) ** 2, weights=weight)), width, rtol=1e-6)
    assert gamma(12**-0.5) < 1e-14


def test_inner_products_are_the_integrals() -> None:
    gammas, times = np.array([0.0, 6.9, 17.0, 2.5]), np.array([3.0, 8.0, 5.0, 8.0])
    nodes, weights = np.polynomial.legendre.leggauss(200)
    found = inner_products(gammas, times, gammas[:3], times[:3])
    for i in range(4):
        for j in range(3):
            # Gauss-Legendre, to where the shorter profile ends: there both are smooth.
            tau = (nodes + 1) / 2 * min(times[i], times[j])
            product = np.sum(weights * profile(times[i], gammas[i], tau) * profile(times[j], gammas[j], tau))
            assert np.isclose(found[i, j], product * min(times[i], times[j]) / 2, rtol=1e-9)


@pytest.fixture(scope="module")
def path() -> Float[np.ndarray, "steps d"]:
    """Parameters that wander, on top of noise that keeps no memory: worse than any training."""
    rng = np.random.default_rng(0)
    wander = np.cumsum(rng.normal(size=(STEPS, 64)), axis=0) / np.sqrt(STEPS)
    return np.asarray(1 + wander + rng.normal(size=(STEPS, 64)), np.float32)


@pytest.fixture(scope="module")
def tracked(path: np.ndarray) -> Tracked:
    """Averages of every width after each update; each leaf ``(steps, ...)``."""
    ema = PowerEMA(KEPT + UNSEEN)

    @jax.jit
    def track(path: Array) -> Tracked:
        def step(averages: Tracked, one: tuple[Array, Array]) -> tuple[Tracked, Tracked]:
            k, row = one
            new = ema.update(averages, split(row), k)
            return new, new

        first = ema.init(split(jnp.full(64, 1e6)))
        out: Tracked = jax.lax.scan(step, first, (jnp.arange(1, STEPS + 1), path))[1]
        return out

    out: Tracked = track(jnp.asarray(path))
    return out


def split(row: Array) -> Tree:
    return {"kernel": row[..., :60].reshape(*row.shape[:-1], 6, 10), "bias": row[..., 60:]}


def joined(tree: Tree) -> Float[np.ndarray, "64"]:
    return np.concatenate([np.ravel(tree["kernel"]), np.ravel(tree["bias"])]).astype(np.float64)


def at(tracked: Tracked, step: int) -> Tracked:
    out: Tracked = jax.tree.map(lambda leaf: leaf[step - 1], tracked)
    return out


@pytest.fixture(scope="module")
def stored(tracked: Tracked, tmp_path_factory: pytest.TempPathFactory) -> Snapshots:
    """Two of the widths, every 32 of 2048 updates."""
    snapshots = Snapshots(tmp_path_factory.mktemp("run") / "snapshots")
    for step in range(EVERY, STEPS + 1, EVERY):
        snapshots.save(step, PowerEMA(KEPT), at(tracked, step)[:2])
    return snapshots


@pytest.mark.slow
def test_every_update_weighs_what_the_integral_says(path: np.ndarray, tracked: Tracked) -> None:
    """A path that stays at one value from k - 1 to k, under the profile; what was there before is forgotten."""
    for width, average in zip(KEPT + UNSEEN, at(tracked, 1500), strict=True):
        edges = (np.arange(1501) / 1500) ** (exact_gamma(str(width)) + 1)
        assert np.allclose(joined(average), np.diff(edges) @ path[:1500].astype(np.float64), rtol=2e-5, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("spacing", "end"), [(EVERY, STEPS), (EVERY, 1024), (128, STEPS)])
@pytest.mark.parametrize("index", [2, 3])
def test_a_width_that_was_not_kept_is_made_of_two_that_were(
    tmp_path: Path, tracked: Tracked, stored: Snapshots, spacing: int, end: int, index: int
) -> None:
    """From 64 stored averages a run, half of those, and 16."""
    some = Snapshots(tmp_path)
    for step in range(spacing, STEPS + 1, spacing):
        (tmp_path / f"{step:08d}.safetensors").symlink_to(stored.folder / f"{step:08d}.safetensors")
    truth = at(tracked, end)[index]
    made, left = some.reconstruct((KEPT + UNSEEN)[index], truth, end)
    error = np.linalg.norm(joined(made) - joined(truth))
    assert left < 1e-2
    assert error < 1e-3 * np.linalg.norm(joined(truth))
    # Much nearer than what was kept.
    assert error < 0.05 * min(np.linalg.norm(joined(kept) - joined(truth)) for kept in at(tracked, end)[:2])


def test_a_width_that_was_kept_comes_back(tracked: Tracked, stored: Snapshots) -> None:
    truth = at(tracked, 960)[1]
    made, left = stored.reconstruct(KEPT[1], jax.eval_shape(lambda: truth), 960)
    assert left < 1e-6
    assert made["kernel"].dtype == jnp.float32
    assert np.allclose(joined(made), joined(truth), rtol=2e-6, atol=2e-7)


def test_what_is_left_is_the_distance_of_the_profiles() -> None:
    gammas, times = np.array([6.0, 6.0, 17.0, 17.0]), np.array([50.0, 100.0, 50.0, 100.0])
    x, left = reconstruction(gammas, times, 2.0, 100.0)
    tau = (np.arange(400_000) + 0.5) / 4000
    p = [profile(t, g, tau) for g, t in zip(gammas, times, strict=True)]
    goal = profile(100.0, 2.0, tau)

    def distance(x: np.ndarray) -> float:
        return float(np.linalg.norm(x @ np.stack(p) - goal) / np.linalg.norm(goal))

    assert np.isclose(distance(x), left, rtol=1e-4)
    for i in range(4):
        assert distance(x + 1e-2 * np.eye(4)[i]) > left


def test_resuming_forgets_what_came_later(tmp_path: Path) -> None:
    snapshots, ema = Snapshots(tmp_path / "new"), PowerEMA((0.1,))
    assert snapshots.steps() == []
    for step in (10, 20, 30):
        snapshots.save(step, ema, (jnp.full(2, float(step)),))
    (snapshots.folder / "00000030.safetensors").write_bytes(b"")
    assert np.allclose(snapshots.reconstruct(0.1, jnp.zeros(2), 20)[0], 20)
    snapshots.drop_after(20)
    assert snapshots.steps() == [10, 20]
    assert {path.name for path in snapshots.folder.iterdir()} == {"00000010.safetensors", "00000020.safetensors"}
    snapshots.drop_after(0)
    assert snapshots.steps() == []


def test_broken_and_missing_snapshots_are_named(tmp_path: Path) -> None:
    snapshots, ema, like = Snapshots(tmp_path), PowerEMA((0.1, 0.2)), {"a": jnp.ones(3)}
    with pytest.raises(FileNotFoundError, match="must hold stored averages, got none"):
        snapshots.reconstruct(0.15, like)
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        snapshots.save(0, ema, (like, like))
    snapshots.save(5, ema, (like, like))
    with pytest.raises(FileNotFoundError, match=r"stored averages of step 6, got those of \[5\]"):
        snapshots.reconstruct(0.15, like, 6)
    with pytest.raises(
        ValueError, match=r"must hold the parameters of this network, got a difference in \['0.a', '0.b'\]"
    ):
        snapshots.reconstruct(0.15, {"b": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"0.a must be of shape \(3, 1\) in .*, got \(3,\)"):
        snapshots.reconstruct(0.15, {"a": jnp.ones((3, 1))})
    whole = tmp_path / "00000005.safetensors"
    save_file(load_file(whole), whole)
    with pytest.raises(ValueError, match="must be a file of stored averages, got KeyError"):
        snapshots.reconstruct(0.15, like)
    whole.write_bytes(whole.read_bytes()[:-4])
    with pytest.raises(ValueError, match="must be a file of stored averages, got SafetensorError"):
        snapshots.reconstruct(0.15, like)


def test_half_precision_is_stored_and_read(tmp_path: Path) -> None:
    snapshots, tree = Snapshots(tmp_path), {"a": jnp.asarray([1.5, -2.25], jnp.bfloat16)}
    snapshots.save(1, PowerEMA((0.1,)), (tree,))
    made, _ = snapshots.reconstruct(0.1, tree)
    assert made["a"].dtype == jnp.bfloat16
    assert np.array_equal(made["a"], tree["a"])


def test_configs_name_their_averages() -> None:
    adapter: TypeAdapter[NoEMA | Constant | Power] = TypeAdapter(EMAConfig)
    parameters = {"a": jnp.ones(2)}
    for config, average, kept in (
        ({"kind": "none"}, Latest(), 0),
        ({"kind": "constant", "decay": 0.1}, EMA(0.1), 0.1),
        ({"kind": "power", "sigma_rels": [0.1, 0.2]}, PowerEMA((0.1, 0.2)), 0.5 ** (exact_gamma("0.1") + 1)),
    ):
        built = adapter.validate_json(json.dumps(config)).build()
        assert built == average
        assert isinstance(built, Average)
        state = jax.jit(average.update)(average.init(parameters), {"a": jnp.zeros(2)}, 2)
        assert np.allclose(average.read(state)["a"], kept)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"kind": "power", "sigma_rels": [0.3]}, r"sigma_rel must be in \(0, 0.288675\], got 0.3"),
        ({"kind": "power", "sigma_rels": [float("nan")]}, "sigma_rels"),
        ({"kind": "power", "sigma_rels": []}, r"sigma_rels must be at least one, all different, got \(\)"),
        ({"kind": "power", "sigma_rels": [0.1, 0.1]}, r"all different, got \(0.1, 0.1\)"),
        ({"kind": "power", "snapshot_every": 0}, "snapshot_every"),
        ({"kind": "constant", "decay": 1.0}, "decay"),
        ({"kind": "moving"}, "moving"),
    ],
)
def test_impossible_averages_are_refused(config: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(EMAConfig).validate_json(json.dumps(config))


def test_impossible_reconstructions_are_refused() -> None:
    one = np.ones(1)
    for time, g in ((2.0, 1.0), (0.5, 1.0), (1.0, -1.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="averages must be at least one"):
            reconstruction(one, one, g, time)
    with pytest.raises(ValueError, match="gamma must be at least 0 and finite, got -1"):
        sigma_rel(-1)
