import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import DTypeLike
from jaxtyping import Array
from PIL import Image
from rich.console import Console

from artifex.command.app import main
from artifex.kernels import ImplementationName, UnsupportedKernelError
from artifex.kernels.cases import AdalnCase
from artifex.training.bench import machine
from artifex.training.bench.check import check_implementations, check_standard_normal
from artifex.training.bench.kernels import KERNELS
from artifex.training.bench.measure import Racer, Result, WrongResultError, difference, measure
from artifex.training.bench.race import Times, race, repeated, rounds_within
from artifex.training.bench.report import Report, duration, table, write
from artifex.training.bench.run import run
from artifex.training.bench.workloads import Kernel, gradient, workload, workloads
from artifex.training.cli.bench import run_kernels

CASE = AdalnCase("tiny", tokens=3, channels=4, batch=5, few=2)


def squares(wrong: float = 1.0) -> Kernel[AdalnCase]:
    """A kernel that squares and sums; its second implementation is off by a factor."""

    def inputs(case: AdalnCase, batch: int, dtype: DTypeLike) -> tuple[Array, ...]:
        return jnp.arange(batch * case.tokens, dtype=dtype).reshape(batch, -1), jnp.arange(case.channels)

    def call(case: AdalnCase, implementation: ImplementationName) -> Callable[..., Array]:
        if implementation == "triton":
            raise_it: Callable[..., Array] = unsupported
            return raise_it
        return lambda x, _: (1.0 if implementation == "reference" else wrong) * x**2

    return Kernel(
        "squares",
        (CASE,),
        CASE,
        ("reference", "xla", "triton"),
        inputs,
        call,
        flops=lambda case, batch: 1.0 * batch * case.tokens,
        backward=2.0,
        peers={"numpy": lambda x, _: x * x},
        products=True,
    )


def unsupported(*_: Array) -> Array:
    raise UnsupportedKernelError("no such device")


def test_the_median_of_ratios_is_taken_round_by_round() -> None:
    # A machine that is ten times as slow in the second half: the ratio stays, that of the medians would not.
    times = Times({"ours": (1.0, 1.0, 10.0, 10.0, 10.0), "theirs": (2.0, 2.0, 20.0, 20.0, 20.0)})
    assert times.speedup("ours", "theirs") == 2.0
    assert times.speedup("theirs", "ours") == 0.5
    assert times.median("ours") == 10.0
    assert Times({"a": (1.0, 2.0, 3.0)}).spread("a") == 1.0


def test_all_take_turns() -> None:
    calls: list[str] = []
    times = race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, budget=1e-9)
    rounds = len(times.of["a"])
    assert rounds == len(times.of["b"]) == 5
    assert "".join(calls[-2 * rounds :]) == "abbaabbaab"
    assert rounds_within(1.0, 0.1) == 10
    assert rounds_within(1.0, 1e-6) == 300


def test_a_program_of_many_calls_makes_each_of_them() -> None:
    many = jax.jit(repeated(lambda x: jnp.sin(x), 7))
    x = jnp.arange(3.0)
    np.testing.assert_allclose(many(x), np.sin(x), rtol=1e-6)
    text = many.lower(x).as_text()
    assert "optimization_barrier" in text
    assert "while" in text


def test_bytes_and_operations_are_counted_by_hand() -> None:
    forward, backward = workloads(squares(), jnp.float32, few=True)
    # 6 numbers in, 6 out; 4 integers in
    assert forward.bytes() == 4 * (6 + 4 + 6)
    assert (forward.flops, backward.flops) == (6.0, 12.0)
    # the cotangent in, and the gradient out instead of the value
    assert backward.bytes() == 4 * (6 + 6 + 4 + 6)
    assert backward.name == "squares/tiny/gradient"
    assert [job.direction for job in workloads(squares(), jnp.float32, few=True, flops_below=10)] == ["forward"]
    attention = next(kernel for kernel in KERNELS if kernel.name == "attention")
    dit = next(workloads(attention, jnp.bfloat16, few=False))
    assert dit.bytes() == 2 * 4 * 32 * 256 * 16 * 72  # 75.5 MB
    assert dit.flops == 4 * 32 * 16 * 256 * 256 * 72  # 9.7 GFLOP


def test_the_gradient_leaves_integers_out() -> None:
    (d_x,) = gradient(lambda x, i: x**2 * i)(jnp.asarray(3.0), jnp.asarray(2.0), jnp.asarray(5))
    assert d_x == 3 * 2 * 2 * 5


@pytest.mark.slow
def test_a_workload_is_measured_beside_a_copy() -> None:
    job = next(workloads(squares(), jnp.float32, few=True))
    result = measure(job, matmul_rate=1e9, tolerance=1e-6, times=2, budget=1e-9)
    assert set(result.racers) == {"reference", "xla", "numpy"}
    assert result.skipped == {"triton": "no such device"}
    assert sorted(result.fastest) == ["reference", "xla"]
    racer = result.racers["xla"]
    assert set(racer.speedup) == {"reference", "numpy"}
    assert racer.of_matmul == pytest.approx(6.0 / racer.seconds / 1e9)
    assert min(racer.seconds, racer.of_copy, *racer.speedup.values()) > 0


def test_a_wrong_implementation_is_refused_before_it_is_timed() -> None:
    job = next(workloads(squares(wrong=1.01), jnp.float32, few=True))
    with pytest.raises(WrongResultError, match=r"squares/tiny/forward: xla must be within 0.001 .*, got 0.01"):
        measure(job, matmul_rate=1e9, tolerance=1e-3, times=1, budget=1e-9)
    with pytest.raises(WrongResultError, match="squares in float32: xla must be within"):
        list(check_implementations(squares(wrong=1.01)))
    assert difference(jnp.asarray([np.nan]), jnp.ones(1)) == np.inf


@pytest.mark.slow
def test_every_kernel_is_checked_at_a_size_that_divides_nothing() -> None:
    for kernel in KERNELS:
        job = workload(kernel, kernel.odd, "gradient", jnp.bfloat16, kernel.odd.batch, 0.0)
        values = jax.eval_shape(kernel.call(kernel.odd, "reference"), *jax.eval_shape(job.inputs)[1:])
        assert all(x.size % 128 for x in jax.tree.leaves(values))
        assert set(job.implementations) == set(kernel.implementations) >= {"reference", "xla"}


@pytest.mark.slow
def test_noise_that_is_not_standard_normal_is_noticed() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 2**14))
    assert "within" in check_standard_normal(z)
    for wrong in (
        1.05 * z,
        z + 0.05,
        np.sqrt(3) * (2 * rng.random(z.shape) - 1),
        np.stack([z[0]] * 4),
        np.repeat(z, 2, 1),
    ):
        with pytest.raises(WrongResultError, match="noise must be standard normal, got"):
            check_standard_normal(wrong)


def report() -> Report:
    racers = {
        "reference": Racer(2e-3, 0.1, {"reference": 1.0, "jax.nn": 1.5}, 0.2, 0.1, 0.0),
        "xla": Racer(1e-3, 0.1, {"reference": 2.0, "jax.nn": 3.0}, 0.4, 0.2, 1e-7),
        "jax.nn": Racer(3e-3, 0.1, {"reference": 0.7, "jax.nn": 1.0}, 0.1, 0.1, 1e-7),
    }
    one = Result(
        "attention", "dit", "forward", "float32", 2, 100, 1e9, ["xla", "reference"], racers, {"triton": "no GPU"}
    )
    return Report(
        "A device",
        "2026-11-24",
        {"jax": "1"},
        (1e9, 2e9),
        (1e12, 2e12),
        0.1,
        None,
        ["right"],
        [one],
        ["late/one/forward"],
    )


def test_what_is_written_is_whole(tmp_path: Path) -> None:
    write(report(), tmp_path)
    stored = json.loads((tmp_path / "kernels.json").read_text())
    assert stored["results"][0]["racers"]["xla"]["speedup"] == {"reference": 2.0, "jax.nn": 3.0}
    assert stored["results"][0]["fastest"] == ["xla", "reference"]
    assert stored["skipped"] == ["late/one/forward"]
    with Image.open(tmp_path / "kernels.png") as picture:
        assert min(picture.size) > 200
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as caught:
        console.print(table(report()))
    line = caught.get().splitlines()[-1].split()
    assert line == ["dit", "forward", "xla", "1", "ms", "2.00", "3.00", "40%", "20%", "10%"]


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 us")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.slow
@pytest.mark.float16
def test_when_time_is_up_the_rest_is_skipped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifex.training.bench.run.copy_rate", lambda times: 1e9)
    monkeypatch.setattr("artifex.training.bench.run.matmul_rate", lambda dtype, times: 1e12)
    activities: list[str] = []
    done = run([squares()], 0.0, activities.append)
    assert done.results == []
    assert done.skipped == ["squares/tiny/forward", "squares/tiny/gradient"]
    assert [line.split(":")[0] for line in done.checks] == [
        f"squares in {x}" for x in ("float32", "bfloat16", "float16")
    ]
    assert "checking squares" in activities


def test_folders_are_named_after_devices() -> None:
    assert machine.folder_name("NVIDIA H200") == "nvidia-h200"
    assert machine.folder_name(machine.device_name()).endswith("cores")
    assert "jax" in machine.versions()


def test_the_command_writes_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("artifex.training.cli.bench.run", lambda kernels, seconds, say: report())
    run_kernels(tmp_path / "out", 1, ["attention"])
    (folder,) = (tmp_path / "out").iterdir()
    assert {path.name for path in folder.iterdir()} == {"kernels.json", "kernels.png"}
    out = capsys.readouterr().out
    assert "no time was left for late/one/forward" in out
    assert "checked: right" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "attentoin"], "--only must be one of attention, linear_step, "),
        (["--minutes", "0"], "--minutes must be a whole number in [1, 1440], got '0'"),
        (["--out", ""], "--out must be a folder, got ''"),
        (["--out", "file"], "--out must be a folder, got "),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    assert main(["bench", "kernels", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("artifex: ")
    assert err.count("\n") == 1
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_wrong_kernel_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("artifex.training.cli.bench.KERNELS", (squares(wrong=1.01),))
    assert main(["bench", "kernels", "--out", str(tmp_path)]) == 1
    assert "squares in float32: xla must be within" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.json")) == []
