"""Runs the schedulers of diffusers and the samplers of k-diffusion, and writes what they give to ``reference.npz``.

The test beside this file compares the project's samplers with those numbers, so it needs neither library. To make them
again, in an environment of its own (k-diffusion requires much that its samplers do not use):

    uv venv --python 3.11 ../peers
    uv pip install --python ../peers torch==2.13.0 diffusers==0.42.1 numpy==2.4.6 scipy tqdm torchsde torchdiffeq
    uv pip install --python ../peers --no-deps k-diffusion==0.1.1.post1
    ../peers/bin/python tests/parity/make_reference.py

Every run starts from the same noise, calls the network ``tanh(x W) + sin(t) / 10``, whatever its output is taken for,
and takes its noise from the same list, the next one with each step. Every run is done twice: as shipped, where most
tables are float32, and with float64 in place of float32, which separates formula and rounding.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

# Looked up by name: they are not installed where this file is linted and type-checked.
torch: Any = importlib.import_module("torch")
diffusers: Any = importlib.import_module("diffusers")

Tensor: TypeAlias = Any
HostArray = npt.NDArray[np.float64]
Options = Mapping[str, object]

OUT: Final = Path(__file__).with_name("reference.npz")
STEPS: Final = (5, 10, 20, 50)
SPACINGS: Final = ("leading", "trailing", "linspace")
ALL: Final = ("epsilon", "v_prediction", "sample")
TWO: Final = ("epsilon", "v_prediction")
TRAIN: Final = 1000
BATCH: Final = 2
WIDTH: Final = 8

RANDOM: Final = np.random.default_rng(20261)
W: Final = RANDOM.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
START: Final = RANDOM.standard_normal((BATCH, WIDTH))
NOISE: Final = RANDOM.standard_normal((2 * max(STEPS), BATCH, WIDTH))
BETAS: Final = np.linspace(0.00085**0.5, 0.012**0.5, TRAIN) ** 2


class Run(NamedTuple):
    """The result of a run: the sample, the model times, and the sigmas of the steps."""

    sample: HostArray
    model_times: HostArray
    sigmas: HostArray


class Peer(Protocol):
    """Something to compare with."""

    @property
    def label(self) -> str:
        """The name of the class."""
        ...

    @property
    def predictions(self) -> Sequence[str]:
        """The prediction types of the network's output."""
        ...

    @property
    def steps(self) -> Sequence[int]:
        """The numbers of steps."""
        ...

    def run(self, prediction: str, steps: int) -> Run:
        """Samples."""
        ...


class Network:
    """The network, its model times, and whether it also returns the variance ``cos(x W)``."""

    def __init__(self, learned: bool = False) -> None:
        self.model_times: list[float] = []
        self.learned = learned

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.model_times.append(float(t))
        within = x @ tensor(W)
        out = torch.tanh(within) + tensor(0.1 * np.sin(float(t)))
        return torch.cat([out, torch.cos(within)], dim=1) if self.learned else out


def tensor(values: npt.ArrayLike) -> Tensor:
    """In the precision of the run."""
    return torch.as_tensor(np.asarray(values, np.float64)).to(torch.float32)


def array(values: Tensor) -> HostArray:
    """On the way back."""
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of diffusers.

    Attributes:
        name: of its class, without "Scheduler".
        options: for its constructor.
        predictions: what the network's output may be taken for.
        frame: how it scales its state: ``"vp"`` keeps the variance, ``"ve"`` divides that by alpha, ``"edm"`` too but
            without a chain, ``"flow"`` runs on a straight path.
        step: further arguments of its ``step``.
        steps: the numbers of steps.
        mended: whether it gets the true gaps of its times, for one that assumes them.
    """

    name: str
    options: Options = field(default_factory=dict)
    predictions: Sequence[str] = ALL
    frame: str = "vp"
    step: Options = field(default_factory=dict)
    steps: Sequence[int] = STEPS
    mended: bool = False

    @property
    def label(self) -> str:
        """The whole name."""
        return f"{self.name}Scheduler"

    def run(self, prediction: str, steps: int) -> Run:
        """Samples."""
        kind = getattr(diffusers, self.label)
        given: dict[str, object] = {}
        if self.frame in ("vp", "ve"):
            given = {"trained_betas": BETAS, "prediction_type": prediction}
        scheduler = kind(**{**given, **self.options})
        scheduler.set_timesteps(steps)
        sigmas = array(getattr(scheduler, "sigmas", ()))
        start = {"ve": (sigmas[:1] ** 2 + 1) ** 0.5, "edm": sigmas[:1]}.get(self.frame, 1.0)
        x, network = tensor(START * start), Network("learned" in str(self.options.get("variance_type")))
        times = scheduler.timesteps.tolist()

        def draw(*_: object, **__: object) -> Tensor:
            return tensor(NOISE[(len(network.model_times) - 1) // kind.order])

        noise = iter(tensor(NOISE))
        scheduler.noise_sampler = lambda *_: next(noise)  # one scheduler has it
        with patch.object(sys.modules[kind.__module__], "randn_tensor", draw, create=True):
            for i, t in enumerate(scheduler.timesteps):
                if self.mended:
                    scheduler.num_inference_steps = 1
                    scheduler.register_to_config(num_train_timesteps=times[i] - [*times, -1][i + 1])
                out = network(x if self.frame == "flow" else scheduler.scale_model_input(x, t), t)
                x = scheduler.step(out, t, x, return_dict=False, **self.step)[0]
        end = (sigmas[-1] ** 2 + 1) ** 0.5 if self.frame == "ve" else 1.0
        return Run(array(x) / end, array(network.model_times), sigmas)


@dataclass(frozen=True)
class Function:
    """A sampler of k-diffusion, with EDM's preconditioned network of ``sigma_data = 0.5``.

    Attributes:
        name: of the function, without ``sample_``.
        options: for it.
        grid: of the noise levels, without ``get_sigmas_``.
        predictions: what the network's output may be taken for.
        steps: the numbers of steps.
    """

    name: str
    options: Options = field(default_factory=dict)
    grid: str = "karras"
    predictions: Sequence[str] = ("edm",)
    steps: Sequence[int] = STEPS

    @property
    def label(self) -> str:
        """The whole name."""
        return f"sample_{self.name}"

    def run(self, prediction: str, steps: int) -> Run:
        """Samples."""
        sampler, network = getattr(SAMPLING, self.label), Network()
        sigmas = getattr(SAMPLING, f"get_sigmas_{self.grid}")(steps, 0.002, 80.0)
        noise = iter(tensor(NOISE))

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            total = (sigma[0] ** 2 + 0.25) ** 0.5
            return x * (0.5 / total) ** 2 + network(x / total, sigma[0].log() / 4) * (sigma[0] * 0.5 / total)

        options = dict(self.options)
        if "noise_sampler" in sampler.__wrapped__.__code__.co_varnames:
            options["noise_sampler"] = lambda *_: next(noise)
        with patch.object(torch, "randn_like", lambda _: next(noise)):
            x = sampler(denoise, tensor(START) * sigmas[0], sigmas, disable=True, **options)
        return Run(array(x), array(network.model_times), array(sigmas))


def k_diffusion() -> types.ModuleType:
    """k-diffusion's sampling functions, without the training code that its package imports."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("k_diffusion is not installed; see the top of this file")
    package, utils = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    vars(package).update(__path__=list(found.submodule_search_locations), utils=utils)
    vars(utils).update(append_dims=lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)])
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    return importlib.import_module("k_diffusion.sampling")


SAMPLING: Final = k_diffusion()


def spaced(
    key: str, name: str, options: Options | None = None, predictions: Sequence[str] = ALL, frame: str = "vp"
) -> dict[str, Peer]:
    """One scheduler with every spacing."""
    given = {s: {**(options or {}), "timestep_spacing": s} for s in SPACINGS}
    return {f"{key} {s}": Scheduler(name, given[s], predictions, frame) for s in SPACINGS}


MULTI: Final = "DPMSolverMultistep"
SINGLE: Final = "DPMSolverSinglestep"
UNIPC: Final = "UniPCMultistep"
PLAIN: Final = {"clip_sample": False}
TRAILING: Final = {"timestep_spacing": "trailing"}
ZERO_SNR: Final = {**TRAILING, "rescale_betas_zero_snr": True}
KARRAS: Final = {"use_karras_sigmas": True}
EXPONENTIAL: Final = {"use_exponential_sigmas": True}
TO_NOISE: Final = {"final_sigmas_type": "sigma_min"}
FLOW: Final = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
SDE: Final = {"algorithm_type": "sde-dpmsolver++"}
NOISE_SDE: Final = {**TO_NOISE, "algorithm_type": "sde-dpmsolver"}
IN_NOISE: Final = {**TO_NOISE, "predict_x0": False}
PLMS: Final = {"skip_prk_steps": True, "set_alpha_to_one": True}
CHURN: Final = {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}

PEERS: Final[dict[str, Peer]] = {
    **spaced("ddpm", "DDPM", PLAIN),
    "ddpm large": Scheduler("DDPM", {**PLAIN, "variance_type": "fixed_large"}),
    "ddpm large trailing": Scheduler("DDPM", {**PLAIN, **TRAILING, "variance_type": "fixed_large"}),
    "ddpm learned": Scheduler("DDPM", {**PLAIN, "variance_type": "learned_range"}),
    "ddpm zero-snr": Scheduler("DDPM", {**PLAIN, **ZERO_SNR}, ("v_prediction", "sample")),
    **spaced("ddim", "DDIM", PLAIN),
    "ddim linspace mended": Scheduler("DDIM", {**PLAIN, "timestep_spacing": "linspace"}, mended=True),
    "ddim uneven": Scheduler("DDIM", {**PLAIN, **TRAILING}, steps=(30,)),
    "ddim uneven mended": Scheduler("DDIM", {**PLAIN, **TRAILING}, steps=(30,), mended=True),
    "ddim eta 1": Scheduler("DDIM", PLAIN, step={"eta": 1.0}),
    "ddim offset": Scheduler("DDIM", {**PLAIN, "steps_offset": 1, "set_alpha_to_one": False}),
    "ddim zero-snr": Scheduler("DDIM", {**PLAIN, **ZERO_SNR}, ("v_prediction", "sample")),
    "ddim inverse": Scheduler("DDIMInverse", PLAIN),
    **spaced("euler", "EulerDiscrete", frame="ve"),
    "euler karras": Scheduler("EulerDiscrete", KARRAS, frame="ve"),
    "euler exponential": Scheduler("EulerDiscrete", EXPONENTIAL, frame="ve"),
    "euler sigma-min": Scheduler("EulerDiscrete", {**TRAILING, **TO_NOISE}, frame="ve"),
    "euler zero-snr": Scheduler("EulerDiscrete", ZERO_SNR, frame="ve"),
    **spaced("euler a", "EulerAncestralDiscrete", predictions=TWO, frame="ve"),
    "euler a zero-snr": Scheduler("EulerAncestralDiscrete", ZERO_SNR, TWO, frame="ve"),
    **spaced("heun", "HeunDiscrete", frame="ve"),
    "heun karras": Scheduler("HeunDiscrete", KARRAS, frame="ve"),
    "heun exponential": Scheduler("HeunDiscrete", EXPONENTIAL, frame="ve"),
    **spaced("dpm2", "KDPM2Discrete", predictions=TWO, frame="ve"),
    "dpm2 karras": Scheduler("KDPM2Discrete", KARRAS, TWO, frame="ve"),
    "dpm2 exponential": Scheduler("KDPM2Discrete", EXPONENTIAL, TWO, frame="ve"),
    **spaced("dpm2 a", "KDPM2AncestralDiscrete", predictions=TWO, frame="ve"),
    "dpm2 a karras": Scheduler("KDPM2AncestralDiscrete", KARRAS, TWO, frame="ve"),
    "dpm2 a exponential": Scheduler("KDPM2AncestralDiscrete", EXPONENTIAL, TWO, frame="ve"),
    **spaced("lms", "LMSDiscrete", frame="ve"),
    "lms karras": Scheduler("LMSDiscrete", KARRAS, frame="ve"),
    "lms exponential": Scheduler("LMSDiscrete", EXPONENTIAL, frame="ve"),
    "pndm": Scheduler("PNDM", PLMS, TWO),
    "pndm runge-kutta": Scheduler("PNDM", {"set_alpha_to_one": True}, TWO),
    "pndm offset": Scheduler("PNDM", {"skip_prk_steps": True, "steps_offset": 1}, TWO),
    "pndm trailing": Scheduler("PNDM", {**PLMS, **TRAILING}, TWO),
    **spaced("dpm++ 2m", MULTI),
    "dpm++ 1m": Scheduler(MULTI, {"solver_order": 1}),
    "dpm++ 3m": Scheduler(MULTI, {"solver_order": 3}),
    "dpm++ 2m heun": Scheduler(MULTI, {"solver_type": "heun"}),
    "dpm++ 2m karras": Scheduler(MULTI, KARRAS),
    "dpm++ 2m exponential": Scheduler(MULTI, EXPONENTIAL),
    "dpm++ 2m lu": Scheduler(MULTI, {"use_lu_lambdas": True}),
    "dpm++ 2m sigma-min": Scheduler(MULTI, TO_NOISE),
    "dpm++ 2m zero-snr": Scheduler(MULTI, ZERO_SNR),
    "dpm++ 2m flow": Scheduler(MULTI, FLOW, ("flow",)),
    "dpm++ 2m sde": Scheduler(MULTI, SDE),
    "dpm++ 2m sde heun": Scheduler(MULTI, {**SDE, "solver_type": "heun"}),
    "dpm++ 3m sde": Scheduler(MULTI, {**SDE, "solver_order": 3}),
    "dpm-solver 1m": Scheduler(MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver", "solver_order": 1}),
    "dpm-solver 2m": Scheduler(MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver", "solver_order": 2}),
    "dpm-solver 3m": Scheduler(MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver", "solver_order": 3}),
    "dpm-solver 2m heun": Scheduler(MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver", "solver_type": "heun"}),
    "dpm-solver 1m sde": Scheduler(MULTI, {**NOISE_SDE, "solver_order": 1}),
    "dpm-solver 2m sde": Scheduler(MULTI, NOISE_SDE),
    "dpm-solver 2m sde heun": Scheduler(MULTI, {**NOISE_SDE, "solver_type": "heun"}),
    "dpm++ 1s": Scheduler(SINGLE, {"solver_order": 1}),
    "dpm++ 2s": Scheduler(SINGLE, {"solver_order": 2}),
    "dpm++ 3s": Scheduler(SINGLE, {"solver_order": 3}),
    "dpm++ sde": Scheduler("DPMSolverSDE", TRAILING, TWO, frame="ve"),
    "dpm++ sde karras": Scheduler("DPMSolverSDE", KARRAS, TWO, frame="ve"),
    "dpm++ 2s karras": Scheduler(SINGLE, KARRAS),
    "dpm++ 2s exponential": Scheduler(SINGLE, EXPONENTIAL),
    **spaced("unipc-2", UNIPC),
    "unipc-1": Scheduler(UNIPC, {"solver_order": 1}),
    "unipc-3": Scheduler(UNIPC, {"solver_order": 3}),
    "unipc-2 bh1": Scheduler(UNIPC, {**TO_NOISE, "solver_type": "bh1"}),
    "unipc-3 bh1": Scheduler(UNIPC, {**TO_NOISE, "solver_type": "bh1", "solver_order": 3}),
    "unipc-2 bh1 to clean": Scheduler(UNIPC, {"solver_type": "bh1"}),
    "unipc-2 uncorrected": Scheduler(UNIPC, {"disable_corrector": list(range(max(STEPS)))}),
    "unipc-1 noise": Scheduler(UNIPC, {**IN_NOISE, "solver_order": 1}),
    "unipc-2 noise": Scheduler(UNIPC, IN_NOISE),
    "unipc-3 noise": Scheduler(UNIPC, {**IN_NOISE, "solver_order": 3}),
    "unipc-3 noise bh1": Scheduler(UNIPC, {**IN_NOISE, "solver_type": "bh1", "solver_order": 3}),
    "unipc-2 karras": Scheduler(UNIPC, KARRAS),
    "unipc-2 exponential": Scheduler(UNIPC, EXPONENTIAL),
    "unipc-2 zero-snr": Scheduler(UNIPC, ZERO_SNR),
    "unipc-2 flow": Scheduler(UNIPC, FLOW, ("flow",)),
    **spaced("deis-2", "DEISMultistep"),
    "deis-1": Scheduler("DEISMultistep", {"solver_order": 1}),
    "deis-3": Scheduler("DEISMultistep", {"solver_order": 3}),
    "edm euler": Scheduler("EDMEuler", {}, ("edm",), frame="edm"),
    "edm euler exponential": Scheduler("EDMEuler", {"sigma_schedule": "exponential"}, ("edm",), frame="edm"),
    "edm dpm++ 2m": Scheduler("EDMDPMSolverMultistep", {}, ("edm",), frame="edm"),
    "edm dpm++ 3m": Scheduler("EDMDPMSolverMultistep", {"solver_order": 3}, ("edm",), frame="edm"),
    "edm dpm++ 2m sde": Scheduler("EDMDPMSolverMultistep", SDE, ("edm",), frame="edm"),
    "flow euler": Scheduler("FlowMatchEulerDiscrete", {}, ("flow",), frame="flow"),
    "flow euler shifted": Scheduler("FlowMatchEulerDiscrete", {"shift": 3.0}, ("flow",), frame="flow"),
    "flow heun": Scheduler("FlowMatchHeunDiscrete", {}, ("flow",), frame="flow"),
    "lcm": Scheduler("LCM", PLAIN),
    "k euler": Function("euler"),
    "k euler exponential": Function("euler", grid="exponential"),
    "k euler churn": Function("euler", CHURN),
    "k euler a": Function("euler_ancestral"),
    "k heun": Function("heun"),
    "k heun churn": Function("heun", CHURN),
    "k dpm2": Function("dpm_2"),
    "k dpm2 churn": Function("dpm_2", CHURN),
    "k dpm2 a": Function("dpm_2_ancestral"),
    "k lms": Function("lms"),
    "k dpm++ 2s": Function("dpmpp_2s_ancestral", {"eta": 0.0}),
    "k dpm++ 2s a": Function("dpmpp_2s_ancestral"),
    "k dpm++ sde": Function("dpmpp_sde"),
    "k dpm++ sde 0.3": Function("dpmpp_sde", {"eta": 0.4, "r": 0.3}),
    "k dpm++ 2m": Function("dpmpp_2m"),
    "k dpm++ 2m exponential": Function("dpmpp_2m", grid="exponential"),
    "k dpm++ 2m sde": Function("dpmpp_2m_sde"),
    "k dpm++ 2m sde heun": Function("dpmpp_2m_sde", {"solver_type": "heun"}),
    "k dpm++ 3m": Function("dpmpp_3m_sde", {"eta": 0.0}),
    "k dpm++ 3m sde": Function("dpmpp_3m_sde"),
}


@contextmanager
def widened() -> Iterator[None]:
    """float64 in place of float32, in torch and in NumPy."""
    single = torch.float32
    with patch.object(torch, "float32", torch.float64), patch.object(np, "float32", np.float64):
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(single)


def packed(name: str, arrays: Sequence[HostArray], dtype: npt.DTypeLike) -> dict[str, npt.NDArray[Any]]:
    """Arrays of several lengths as one, and their lengths."""
    return {name: np.concatenate(arrays).astype(dtype), f"{name}_lengths": np.array([len(x) for x in arrays])}


def main() -> None:
    """Runs all peers and writes the file."""
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    runs: dict[str, tuple[Run, Run]] = {}
    for name, peer in PEERS.items():
        for prediction in peer.predictions:
            for steps in peer.steps:
                shipped = peer.run(prediction, steps)
                with widened():
                    wide = peer.run(prediction, steps)
                runs[f"{name}/{prediction}/{steps}"] = shipped, wide
    # the same for every prediction
    walks = {f"{key.split('/')[0]}/{key.split('/')[2]}": pair for key, pair in runs.items()}
    np.savez_compressed(
        OUT,
        allow_pickle=False,
        w=W,
        start=START,
        noise=NOISE,
        labels=np.array([f"{name}/{peer.label}" for name, peer in PEERS.items()]),
        runs=np.array(list(runs)),
        shipped=np.stack([pair[0].sample for pair in runs.values()]).astype(np.float32),
        wide=np.stack([pair[1].sample for pair in runs.values()]),
        walks=np.array(list(walks)),
        **packed("told_shipped", [pair[0].model_times for pair in walks.values()], np.float32),
        **packed("told_wide", [pair[1].model_times for pair in walks.values()], np.float64),
        **packed("sigmas_shipped", [pair[0].sigmas for pair in walks.values()], np.float32),
    )
    print(f"{len(runs)} runs of {len(PEERS)} peers, {OUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
