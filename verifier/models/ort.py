"""The only importer of onnxruntime: sessions on a CPU or on CUDA, and never on something else.

What runs is what `Rewriting` makes of a file, proven against it (`verifier.models.prepare.proof`).

``InferenceSession`` quietly takes the CPU where the CUDA provider does not load, and single nodes
where it has no kernel. So the provider that a session reports is compared with the one asked for,
and of every node it is read where it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from verifier.errors import InstallationError, ModelError, ModelTooLarge, ProviderUnavailable
from verifier.models.backend import GPU_LADDER, LADDER, does_not_fit
from verifier.models.bound import BoundSession
from verifier.models.network import Network
from verifier.models.prepare.proof import Proof, prove
from verifier.models.prepare.rewriting import Rewriting
from verifier.models.prepared import PreparedGraphs

if TYPE_CHECKING:
    from types import ModuleType

    from verifier.models.pixels import Pixels
    from verifier.models.weights import Weights

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"

Device: TypeAlias = Literal["cpu", "cuda", "cuda-fp16"]

SIZES: Final = frozenset(
    (
        *("Shape", "Size", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Cast"),
        *("ConstantOfShape", "Range", "Add", "Sub", "Mul", "Div"),
    )
)
"""What computes sizes from sizes: a handful of integers, which onnxruntime keeps on the CPU on
purpose. ``session.disable_cpu_ep_fallback`` would refuse YuNet and EdgeFace for them."""


class OnnxRuntime:
    """onnxruntime on one provider."""

    def __init__(
        self,
        device: Device,
        *,
        threads: int,
        memory_limit_mb: int | None = None,
        graphs: PreparedGraphs | None = None,
        takes_pictures: bool = True,
        rewrites: bool = True,
    ) -> None:
        """Check that the provider is there.

        `threads` work within one inference on a CPU. `memory_limit_mb` is the largest GPU arena
        of one network in MiB. `graphs` keeps what is made of files, by default nowhere.
        With `takes_pictures` the normalisation of pixels is folded into the graphs. Without
        `rewrites` files run as they are, for comparisons.

        Raises `ProviderUnavailable` where the installed onnxruntime does not offer the provider,
        `InstallationError` where there is none.
        """
        self._provider: Final = CPU if device == "cpu" else CUDA
        self.name: Final = f"{CUDA} fp16" if device == "cuda-fp16" else self._provider
        on_gpu = self._provider == CUDA
        self.ladder: Final = GPU_LADDER if on_gpu else LADDER
        # Batching gains a CPU little (DESIGN), so rows of padding are lost time there; a GPU
        # would rather compute a few rows for nothing than start once more.
        self.pads: Final = on_gpu
        self.memory_remedy: Final = (
            "Raise memory_limit_mb, use a shorter batch ladder, or free the GPU (nvidia-smi)."
            if on_gpu
            else "Use fewer workers or a shorter batch ladder, or give the process more memory."
        )
        self._threads = threads
        self._memory_limit_mb = memory_limit_mb
        self._graphs = PreparedGraphs(None) if graphs is None else graphs
        self._blocks: Final = rewrites and not on_gpu
        self._folds: Final = rewrites and takes_pictures
        self._half: Final = device == "cuda-fp16"
        self._ort = import_onnxruntime()
        self.failures: Final = _failures(self._ort)
        self._require_provider()

    @property
    def version(self) -> str:
        """Of the installed onnxruntime."""
        return str(self._ort.__version__)

    def open(self, weights: Weights, pixels: Pixels | None = None) -> Any:
        """Make a session; the bytes, and no file, go to onnxruntime (see `Backend.open`).

        Where `pixels` tell how, the graph takes pictures. On a CPU it is rewritten so that
        onnxruntime can fuse it: the same numbers within rounding, up to three times as fast. On a
        GPU it computes in float16 where that was asked for.
        """
        rewriting = Rewriting(
            blocks=self._blocks, pixels=pixels if self._folds else None, half=self._half
        )
        content = weights.content
        if rewriting != Rewriting():
            content = self._graphs.graph(
                weights,
                rewriting,
                lambda: self._made(weights, rewriting, pixels),
                engine=f"{self.name} {self.version}",
            )
        session = self._session(weights, content)
        if self._provider == CPU:
            return session
        return BoundSession(session, self._ort, device="cuda")

    def options(self) -> Any:
        """Give the options of every session: threads, no spinning, strictness."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors: what matters is raised, the rest is noise
        # Spinning threads burn the processors that other workers need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._provider != CPU:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return options

    def _require_provider(self) -> None:
        offered = self._ort.get_available_providers()
        if self._provider not in offered:
            raise ProviderUnavailable(
                f"{self.name} was asked for, but the installed onnxruntime {self.version}"
                f" offers only {', '.join(offered)}.",
                remedy=_remedy(self._provider),
            )
        if self._provider == CUDA:
            self._ort.preload_dlls()  # finds the CUDA and cuDNN wheels; must precede any session

    def _require_running_there(self, weights: Weights, session: Any) -> None:
        running = session.get_providers()[0]
        if running != self._provider:
            raise ProviderUnavailable(
                f"{self.name} was asked for, but {weights.name} would run on {running}.",
                remedy=_remedy(self._provider),
            )
        if self._provider == CPU:
            return
        elsewhere = nodes_elsewhere(session, self._provider)
        if elsewhere:
            raise ProviderUnavailable(
                f"{self.name} was asked for, but of {weights.name} these would run elsewhere:"
                f" {', '.join(elsewhere[:5])} ({len(elsewhere)} in all).",
                remedy="Use a network whose operators this version of onnxruntime has on the GPU,"
                " or set the provider to cpu.",
            )

    def _made(
        self, weights: Weights, rewriting: Rewriting, pixels: Pixels | None
    ) -> tuple[bytes, Proof | None]:
        """Rewrite a graph and prove it on this very device; None where nothing was to be done."""
        try:
            content = rewriting.apply(weights.content)
        except ModelError as refused:
            raise self._refusal(weights, refused) from refused
        if content is weights.content:
            return content, None
        proof = prove(
            self._network(weights, weights.content, pixels),
            self._network(weights, content, pixels),
            pixels=pixels,
            portraits=self._graphs.portraits,
            tolerance=rewriting.tolerance,
        )
        return content, proof

    def _network(self, weights: Weights, content: bytes, pixels: Pixels | None) -> Network:
        return Network(
            self._session(weights, content),
            weights,
            provider=self.name,
            ladder=self.ladder,
            pads=False,
            failures=self.failures,
            memory_remedy=self.memory_remedy,
            pixels=pixels,
        )

    def _session(self, weights: Weights, content: bytes) -> Any:
        try:
            session = self._ort.InferenceSession(
                content,
                self.options(),
                providers=[self._provider_with_options()],
                enable_fallback=0,  # else an error of the provider prints and retries on the CPU
            )
        except self.failures as failure:
            raise self._refusal(weights, failure) from failure
        self._require_running_there(weights, session)
        return session

    def _refusal(self, weights: Weights, failure: Exception) -> ModelError:
        if does_not_fit(failure):
            return ModelTooLarge(
                f"{weights.name} does not fit into the memory of {self.name}: {failure}",
                remedy=self.memory_remedy,
            )
        if self._provider != CPU and "provider" in str(failure).lower():
            return ProviderUnavailable(
                f"{weights.name} does not start on {self.name}: {failure}",
                remedy=_remedy(self._provider),
            )
        return ModelError(
            f"onnxruntime {self.version} cannot load {weights.path}: {failure}",
            remedy="Give it an intact ONNX file that this version of onnxruntime supports.",
        )

    def _provider_with_options(self) -> tuple[str, dict[str, str]]:
        if self._provider == CPU:
            return self._provider, {}
        values = {
            # An exhaustive search would stall the first frame of every new picture size.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Thresholds were measured in plain float32, TF32 has ten bits of mantissa.
            "use_tf32": "0",
        }
        if self._memory_limit_mb is not None:
            values["gpu_mem_limit"] = str(self._memory_limit_mb * 2**20)
            values["arena_extend_strategy"] = "kSameAsRequested"
        return self._provider, values


def nodes_elsewhere(session: Any, provider: str) -> list[str]:
    """Name the nodes that run on another provider, but for those that only compute sizes.

    `session` was made with ``session.record_ep_graph_assignment_info``.
    """
    return [
        f"{node.op_type} {node.name!r} on {part.ep_name}"
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider
        for node in part.get_nodes()
        if node.op_type not in SIZES
    ]


def import_onnxruntime() -> ModuleType:
    """Import it. Raises `InstallationError` with a remedy where it is missing."""
    try:
        import onnxruntime  # noqa: PLC0415 - a missing extra gets a remedy, not a traceback
    except ImportError as missing:
        raise InstallationError(
            f"onnxruntime is not installed or does not load: {missing}.",
            remedy="Install exactly one: pip install 'benren[cpu]' or pip install 'benren[gpu]'.",
        ) from missing
    module: ModuleType = onnxruntime
    return module


def _failures(ort: ModuleType) -> tuple[type[Exception], ...]:
    """Collect what onnxruntime raises; its exceptions share no base class of their own."""
    state = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, *own)


def _remedy(provider: str) -> str:
    if provider == CUDA:
        return (
            "Check the NVIDIA driver with nvidia-smi and that only onnxruntime-gpu is installed"
            " (pip uninstall onnxruntime; pip install 'benren[gpu]'), or set the provider to cpu."
        )
    return "Install onnxruntime again: pip install --force-reinstall 'benren[cpu]'."
