"""The tables of a recipe: `[init]`, `[data]`, `[model]`, `[method]`, `[optim.*]`, `[train]`,
`[eval]`.

Strict: an unknown key, a value of the wrong type, NaN and infinity are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from semisup.ops.crf_settings import CrfSettings
from semisup.types import ColourSetName

SMALLEST = 1e-30
"""Least number that is added to a root against a division by 0."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _as_names(value: Any) -> Any:
    """Refuses one name that stands in no list."""
    if isinstance(value, str):
        raise ValueError(f'write a list, such as ["{value}"]')
    return _as_tuple(value)


def _several_or_none(value: int) -> int:
    """Refuses 1."""
    if value == 1:
        raise ValueError("one sample has no variance: take 2 or more, or 0 for none")
    return value


def _not_rounded_to_0(value: float) -> float:
    """Refuses what is 0, or nearly, in float32."""
    if value < SMALLEST:
        raise ValueError(f"take {SMALLEST} or more: less is 0 in float32")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[
    tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]], BeforeValidator(_as_tuple)
]
"""(H, W) in pixels."""
Range = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], BeforeValidator(_as_tuple)
]
Shares = Annotated[tuple[Share, ...], BeforeValidator(_as_tuple)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
]

Weight = Annotated[float, Field(ge=0)]
Weights = Annotated[tuple[Weight, ...], Field(min_length=1), BeforeValidator(_as_tuple)]
Sigma = Annotated[float, Field(ge=0.1)]


class Settings(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class OptimSettings(Settings):
    """`[optim.<player>]`: one optimiser and its schedule."""

    kind: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    """Which of torch's optimisers; fused where torch has it."""
    lr: Annotated[float, Field(gt=0)]
    """Learning rate at the top of the schedule."""
    momentum: Share = 0.9
    """Momentum of sgd and rmsprop."""
    nesterov: bool = False
    """Nesterov's momentum (sgd)."""
    betas: Annotated[tuple[Decay, Decay], BeforeValidator(_as_tuple)] = (0.9, 0.999)
    """Decay of the running moments of adam and adamw."""
    alpha: Decay = 0.99
    """Decay of the running mean of squares of rmsprop."""
    eps: Annotated[float, Field(gt=0), AfterValidator(_not_rounded_to_0)] = 1e-8
    """Added to the root of the mean of squares in adam, adamw and rmsprop."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty (decoupled in adamw)."""
    schedule: Literal["poly", "cosine", "step", "exponential", "constant"] = "poly"
    """How the learning rate falls over the run."""
    power: Annotated[float, Field(gt=0)] = 0.9
    """Exponent of poly."""
    milestones: Shares = (0.5, 0.75)
    """Shares of the run at which step multiplies by `gamma`."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of step at each milestone, of exponential over the whole run."""
    warmup: Share = 0.0
    """Share of the run in which the rate rises linearly from 0; on top of any schedule."""


class TrainSettings(Settings):
    """`[train]`: length, seed and numerics of a run."""

    steps: Annotated[int, Field(gt=0)]
    """Optimiser steps of each player."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of initial weights, order, augmentation and dropout."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """auto: bf16 on a GPU that has it, float32 elsewhere."""
    accumulate: Annotated[int, Field(gt=0)] = 1
    """Batches whose gradients are averaged for one step."""
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest gradient norm of a player; 0 clips nothing."""
    class_weights: Literal["none", "median_frequency", "enet", "segnet_camvid"] | Weights = "none"
    """Factors on the supervised loss of each class's pixels: from the masks, or a number each."""
    border_weight: Annotated[Weight, Field(le=1e6)] = 0.0
    """Of two classes: w0 of U-Net's weights between objects (class 1); 0: none; the paper's: 10."""
    border_sigma: Sigma = 5.0
    """How wide these are: sigma, in pixels of the mask."""
    confidence_weights: bool = False
    """Weight the pixels of pseudo-masks by the confidences that semisup label wrote beside them."""
    loss: Literal[
        "cross_entropy",
        "ohem",
        "focal",
        "dice",
        "lovasz",
        "cross_entropy+dice",
        "cross_entropy+lovasz",
        "bootstrap",
        "bootstrap_hard",
        "symmetric",
    ] = "cross_entropy"
    """Supervised loss of each map of logits; with + the sum of two; the last three: for labels of
    which some are wrong."""
    loss_divisor: Literal["pixels", "weights"] = "pixels"
    """With class weights, divide by the valid pixels (Caffe) or by their weights (torch)."""
    ohem_threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """ohem: probability of the true class up to which a pixel is hard."""
    ohem_min_kept: Annotated[int, Field(gt=0)] = 100_000
    """ohem: the hardest pixels of a batch that count even where fewer are hard."""
    focal_gamma: Weight = 2.0
    """focal: exponent of the factor (1 - p) on the loss of a pixel; 0: cross entropy."""
    bootstrap_label_share: Literal["default"] | Share = "default"
    """bootstrap, bootstrap_hard: share of the label in what is taught; default: 0.95, hard 0.8."""
    symmetric_alpha: Weight = 0.1
    """symmetric: factor of the cross entropy."""
    symmetric_beta: Weight = 1.0
    """symmetric: factor of the one with label and prediction changed about."""
    regulariser: Literal["", "gated_crf", "dense_crf", "tree_energy", "normalised_cut"] = ""
    """A term on the pictures themselves, for labels that leave most pixels void; empty: none."""
    regulariser_weight: Literal["default"] | Weight = "default"
    """What it is multiplied by; default: the term's own."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of the predictor, which is then what is scored; 0: none."""
    channels_last: bool = True
    """Keep images and weights in the NHWC memory format."""
    sync_batch_norm: bool = False
    """Batch norm over the images of all processes of a run instead of each one's own (GPU)."""
    deterministic: bool = False
    """The same bits from one GPU run to the next, where torch can; slower. A CPU always does."""
    compile: bool = False
    """Compile the method's networks with torch.compile."""
    cuda_graphs: bool = False
    """Replay recorded kernels (CUDA graphs) for static shapes; needs train.compile and a GPU."""
    log_every: Annotated[int, Field(gt=0)] = 50
    """Steps between two lines of the log, at which the host waits for the device."""
    checkpoint_every: Annotated[int, Field(gt=0)] = 500
    """Steps between two checkpoints."""
    keep: Annotated[int, Field(ge=0)] = 2
    """Newest checkpoints that are kept; 0: all."""

    def loss_key(self) -> str:
        """The key that asks for another supervised loss than the plain one; empty: none does."""
        if self.loss != "cross_entropy":
            return "train.loss"
        return "" if self.loss_divisor == "pixels" else "train.loss_divisor"


class EvalSettings(Settings):
    """`[eval]`: the evaluation protocol."""

    subset: str = ""
    """Which ids are reported; empty: the data set's own ("val")."""
    mode: Literal["whole", "slide"] = "whole"
    """Whole image in one pass, or a sliding window."""
    window: Size = (321, 321)
    """(H, W) of the sliding window."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 1 / 3
    """Share of the window that neighbours have in common."""
    scales: Scales = (1.0,)
    """The image is shown to the network at each of these scales and the probabilities averaged."""
    flip: bool = False
    """Show the mirrored image too."""
    samples: Annotated[int, Field(ge=0), AfterValidator(_several_or_none)] = 0
    """Passes with dropout whose probabilities are averaged (Bayesian SegNet); 0: one without."""
    samples_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the samples; with the pixels of an image it says what is dropped."""
    crf: bool = False
    """Refine the scores of each image with a dense CRF, at its own size."""
    crf_iterations: Annotated[int, Field(gt=0)] = CrfSettings.iterations
    """Updates of the marginals of the CRF."""
    crf_smoothness_weight: Weight = CrfSettings.smoothness_weight
    """Weight of the kernel that knows positions only; 0: none."""
    crf_smoothness_sigma: Sigma = CrfSettings.smoothness_sigma
    """Its standard deviation, in pixels."""
    crf_appearance_weight: Weight = CrfSettings.appearance_weight
    """Weight of the kernel that knows positions and colours; 0: none."""
    crf_appearance_sigma: Sigma = CrfSettings.appearance_sigma
    """Its standard deviation in position, in pixels."""
    crf_colour_sigma: Sigma = CrfSettings.colour_sigma
    """Its standard deviation in colour, in levels of 0 to 255."""
    crf_exact: bool = CrfSettings.exact
    """All pairs of pixels at any size, not only for images of up to 4,096 pixels; very slow."""
    absent: Literal["excluded", "zero"] = "excluded"
    """A class in neither truth nor prediction: left out of the mean, or counted as 0."""
    boundary: bool = True
    """Boundary F1 and boundary IoU beside the region scores."""
    every: Annotated[int, Field(ge=0)] = 0
    """Steps between two evaluations while training; 0: only at the end."""
    watch: str = ""
    """Subset that these are on where nothing is held out, to be watched alone; empty: `subset`."""
    hold_out: Annotated[int, Field(ge=0)] = 0
    """Labelled images kept from training to choose the checkpoint; 0: the last one is chosen."""
    pictures: Annotated[int, Field(ge=0)] = 8
    """Images on the picture sheet."""

    def dense_crf(self) -> CrfSettings | None:
        """What the keys `crf_*` say, or None without a CRF."""
        if not self.crf:
            return None
        return CrfSettings(
            iterations=self.crf_iterations,
            smoothness_weight=self.crf_smoothness_weight,
            smoothness_sigma=self.crf_smoothness_sigma,
            appearance_weight=self.crf_appearance_weight,
            appearance_sigma=self.crf_appearance_sigma,
            colour_sigma=self.crf_colour_sigma,
            exact=self.crf_exact,
        )


def _as_text(value: Any) -> Any:
    """A number as text, so that 0.125 and 1 are shares as "0.125" and "1" are."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


class InitSettings(Settings):
    """`[init]`: the recipe whose finished run this one builds on, for methods in stages.

    It is run first where it has not been. What says where things lie (`data.root`, `data.workers`,
    `data.cache`, `data.tags`, `model.weights`) and the seed are handed on to it, and on the same
    data set the classes to ignore.
    """

    recipe: Annotated[str, Field(alias="from")] = ""
    """A shipped recipe, or the path of a .toml file, relative to this one; empty: fresh weights."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | Literal["same"] = "same"
    """Which of its runs; "same": the one of this run's seed."""
    weights: bool = True
    """Start from its weights; false: from `model.weights`, or afresh."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Least probability that its pseudo-masks teach, where `data.masks` or `weak_masks` is init."""
    changes: Annotated[Texts, Field(alias="set")] = ()
    """Changes of its keys, as given to --set, such as ["data.tagged=5/class"]."""


class BaselineSettings(Settings):
    """`[baseline]`: the recipe that a run is compared with; it changes nothing of what is trained.

    It is run first where it has not been, with the seed, the split, the data and the initial
    weights of this one, and must be scored by the same protocol.
    """

    recipe: str = ""
    """A shipped recipe, or the path of a .toml file, relative to this one; empty: none."""


class DataSettings(Settings):
    """`[data]`: data set, label split, crops and batches. Options of the data set go here too."""

    name: str
    """Data set, one of `semisup list datasets`."""
    root: str = ""
    """Folder that holds it; empty: --data-root, then SEMISUP_DATA, then ./data."""
    subset: str = ""
    """Ids to train on; empty: the data set's own ("train")."""
    split: Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | float)] = "all"
    """Who is labelled: all, masked, 1/8, 1/8-balanced, 1/8-sequences, 5/class, file:PATH; none."""
    tags: str = ""
    """Where image tags come from: xml (VOC's annotations) or file:PATH; empty: there are none."""
    tagged: Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | float)] = "all"
    """Who has tags, where there are any; said like `split`. Who has a mask has tags too."""
    unlabelled: str = "rest"
    """Unlabelled images: rest (without mask and tags), all (labelled ones too) or folder:PATH."""
    ignore_classes: Names = ()
    """Names of classes whose pixels are void, in training and in scoring; empty: none."""
    masks: str = ""
    """Training masks: folder:PATH of <id>.png, drawn ("points") or init; empty: its own."""
    weak_masks: str = ""
    """Weak masks of images without a mask: folder:PATH, a kind such as scribbles, or init."""
    split_seed: Annotated[int, Field(ge=0)] | Literal["same"] = 0
    """Seed of the split, which runs of several seeds share; "same": the run's own seed."""
    crop: Size | Literal["whole"] = (321, 321)
    """(H, W) of training crops, or "whole" for whole images (batch of 1)."""
    scale: Range = (0.5, 2.0)
    """Smallest and largest factor of the random scale."""
    flip: bool = True
    """Mirror half of the crops."""
    elastic: Annotated[float, Field(ge=0, le=1e4)] = 0.0
    """Elastic deformation: deviation (pixels) of random shifts on a 3 x 3 grid; 0: none."""
    strong_labelled: bool = False
    """Train on labelled crops in changed colours (the strong view), whatever the method."""
    colours: ColourSetName = "unimatch"
    """Colour changes of strong views: jitter, grey and blur, or one to three of AugSeg's eleven."""
    labelled_batch: Annotated[int, Field(gt=0, le=2**16)] = 8
    """Labelled images in a batch."""
    unlabelled_batch: Annotated[int, Field(gt=0, le=2**16)] = 8
    """Unlabelled images in a batch, where the method reads them."""
    weak_batch: Annotated[int, Field(gt=0, le=2**16)] = 8
    """Weakly labelled images in a batch, where the method reads them."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that decode, for each stream; any number gives the same bits."""
    cache: Annotated[int, Field(ge=0)] = 0
    """MiB of memory in which decoded images and masks are kept; 0: none. Gives the same bits."""


class ModelSettings(Settings):
    """`[model]`: the segmenter. Options of its class go here too."""

    name: str
    """Network, one of `semisup list models`."""
    in_channels: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Channels of the images; auto: as many as the data set's have."""
    weights: str = ""
    """Local file (safetensors or pth) to start from, or "torchvision" for the ImageNet weights of a
    backbone of torchvision, which are fetched where there is a network; empty: fresh weights."""


class MethodSettings(Settings):
    """`[method]`: the training method. Options of its class go here too."""

    name: str
    """Method, one of `semisup list methods`."""
