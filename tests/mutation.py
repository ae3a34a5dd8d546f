"""Plants real bugs, one at a time, and reports which of them the tests catch.

    python tests/mutation.py [--list] [--quick] [--jobs N] [name ...]

Most of the bugs were found in published research code; each says what it would have done to a
result. A bug is planted in a temporary copy of the package, never in the checkout, and the tests
named beside it run against the copy. First they run against the copy as it is: a test that fails
without a bug catches nothing. Exits with 1 if a bug survives, with 2 if the script itself is out of
date: the text that a bug replaces must be in its file exactly once.

All of it takes about seven minutes on two busy cores, --quick (ten of the worst) about one and a
half; half of that where nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("semisup", "recipes", "tests", "docs/examples", "pyproject.toml")
SECONDS = 300
"""Limit for the tests of one bug; a bug that makes them hang is out of date, not caught."""

CONTRACT = ("tests/methods/test_contract.py",)
ADVERSARIAL = ("tests/methods/test_adversarial.py",)
CODE = ("tests/methods/test_adversarial_code.py",)
DECOUPLED = ("tests/methods/test_decouplednet.py", "tests/models/test_decouplednet.py")
CONSISTENCY = ("tests/methods/test_consistency_steps.py",)
RESNET = ("tests/models/backbones/test_resnet.py",)
UPDATES = ("tests/training/test_updates.py",)
RESUME = (
    "tests/training/test_loop.py"
    "::test_a_run_that_is_interrupted_anywhere_ends_bit_for_bit_as_one_that_is_not",
)
HONEST = ("tests/recipes/test_honest_run.py",)
RANKS = ("tests/training/test_several_processes.py",)


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        name: for the command line.
        file: where it is planted, below semisup/.
        old: text that is in the file exactly once.
        new: what stands there instead.
        why: what this does to a result, and where it happened.
        tests: what is run to catch it.
        quick: whether --quick plants it.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    quick: bool = False


MUTANTS = [
    # The methods
    Mutant(
        "term-not-in-the-total",
        "methods/adversarial.py",
        """
            + self.self_taught_weight * terms["loss_self_taught"],
""",
        ",\n",
        "a term is logged but never reaches the optimiser (CCT added it after forming the total)",
        CONTRACT,
        quick=True,
    ),
    Mutant(
        "dead-unlabelled-branch",
        "methods/adversarial.py",
        "logits, valid = self.segmenter(free.image), free",
        "logits, valid = self.segmenter(free.image).detach(), free",
        "the semi-supervised method trains like the supervised one (USB's Mean Teacher)",
        CONTRACT,
        quick=True,
    ),
    Mutant(
        "unlabelled-images-are-the-labelled-ones",
        "methods/adversarial.py",
        "self._on_unlabelled(batch.unlabelled, progress)",
        "self._on_unlabelled(Unlabelled(labelled.image, labelled.valid, ()), progress)",
        "one variable for another: the unlabelled images are never looked at",
        CONTRACT,
    ),
    Mutant(
        "frozen-network-in-training-mode",
        "methods/decouplednet.py",
        "        self.segmenter.classifier.eval()\n        return self",
        "        return self",
        "the frozen network's statistics go on moving (freezing by requires_grad alone)",
        DECOUPLED,
    ),
    Mutant(
        "background-of-the-last-class",
        "models/decouplednet.py",
        "torch.zeros_like(encoded.deepest).index_add(0, rows, saliency)",
        "torch.zeros_like(encoded.deepest).index_copy(0, rows, saliency)",
        "the background is that of one class and not of all identified ones together",
        DECOUPLED,
    ),
    Mutant(
        "selection-not-in-the-mask",
        "methods/decouplednet.py",
        "    chosen = selection.long().gather(1, labels).view_as(mask)",
        "    chosen = (labels > 0).long().view_as(mask)",
        "any object is the target, whichever class the saliency is of",
        DECOUPLED,
    ),
    Mutant(
        "player-never-updated",
        "losses/discriminator_step.py",
        "    update(player, loss + penalty)\n",
        "",
        "the discriminator stays as it was initialised",
        CONTRACT,
        quick=True,
    ),
    Mutant(
        "shared-network",
        "methods/adversarial.py",
        "self.segmenter = task.build_segmenter()",
        'self.segmenter = globals().setdefault("_network", task.build_segmenter())',
        "two methods of one process train the same weights",
        CONTRACT,
    ),
    Mutant(
        "adversarial-sign",
        "methods/adversarial.py",
        '"loss_adversarial": fake.mean(self.game.fool(fake.logits))',
        '"loss_adversarial": fake.mean(self.game.fake(fake.logits))',
        "the segmenter helps the discriminator instead of fooling it",
        ADVERSARIAL,
    ),
    Mutant(
        "real-and-fake-exchanged",
        "losses/discriminator_step.py",
        "(fake.mean(game.fake(fake.logits)) + real.mean(game.real(real.logits)))",
        "(fake.mean(game.real(fake.logits)) + real.mean(game.fake(real.logits)))",
        "the discriminator learns the opposite",
        ADVERSARIAL,
    ),
    Mutant(
        "void-in-the-discriminators-loss",
        "losses/discriminator_step.py",
        "fake.mean(game.fake(fake.logits))",
        "game.fake(fake.logits).mean()",
        "void gives fake and real away: no one-hot there",
        ADVERSARIAL,
    ),
    Mutant(
        "further-updates-on-the-old-graph",
        "losses/discriminator_step.py",
        "_update_once(game, update, *again(), player)",
        "_update_once(game, update, fake, real, player)",
        "every further update of the discriminator repeats the gradients of the first",
        ("tests/methods/test_stabilisers.py",),
    ),
    Mutant(
        "penalty-left-out",
        "losses/discriminator_step.py",
        "update(player, loss + penalty)",
        "update(player, loss)",
        "R1 is reported and acts on nothing",
        ("tests/methods/test_stabilisers.py",),
    ),
    Mutant(
        "views-drawn-once",
        "data/loading/samples.py",
        "strong = tuple(self._draw(generator) for _ in range(self._strong))\n        labels",
        "strong = (self._draw(generator),) * self._strong\n        labels",
        "UniMatch's two strong views are one and the same",
        ("tests/data/loading/test_streams.py",),
    ),
    Mutant(
        "boxes-without-their-labels",
        "losses/consistency.py",
        "return mixed_images(free, boxes, number), own.pasted(boxes, *inside)",
        "return mixed_images(free, boxes, number), own",
        "a pasted box is taught what it covers (CutMix)",
        CONSISTENCY,
    ),
    Mutant(
        "divided-by-the-taught",
        "losses/consistency.py",
        '"valid": labels.valid,',
        '"valid": labels.taught,',
        "FixMatch's few early pixels count as much as a whole image",
        ("tests/losses/test_consistency.py",),
    ),
    Mutant(
        "teacher-before-the-step",
        "methods/fixmatch.py",
        """        update("segmenter", 0.5 * loss if self.halved else loss)
        self.teacher.follow(self.segmenter, progress)
""",
        """        self.teacher.follow(self.segmenter, progress)
        update("segmenter", 0.5 * loss if self.halved else loss)
""",
        "the teacher is a step behind (TorchSemiSeg's Mean Teacher)",
        CONSISTENCY,
    ),
    Mutant(
        "boxes-of-other-images-in-pairs",
        "losses/consistency.py",
        "own.pasted(boxes, *inside)",
        "own.pasted(boxes)",
        "what the box of a second crop shows is taught another image's labels",
        CONSISTENCY,
    ),
    Mutant(
        "second-crops-are-the-first-ones",
        "data/loading/samples.py",
        'generator = _generator(self._seed, self._name, "partner", position)',
        'generator = _generator(self._seed, self._name, "view", position)',
        "the box shows what it covers",
        ("tests/data/loading/test_streams.py",),
    ),
    Mutant(
        "masks-sampled-at-corners",
        "ops/cutmix.py",
        'mode="nearest-exact"',
        'mode="nearest"',
        "boxes lie half a cell beside the labels of the logits' grid",
        ("tests/ops/test_cutmix.py",),
    ),
    Mutant(
        "padded-logits-as-they-come",
        "models/resolution.py",
        "if coarser and network.covered_size(size) == size:",
        "if coarser:",
        "masks of the image are laid over logits of a larger, padded one",
        ("tests/models/test_resolution.py",),
    ),
    Mutant(
        "own-labels-in-eval-mode",
        "losses/consistency.py",
        "own = confident(logits, threshold, free.valid)",
        "own, *_ = confident_crops(network, free, threshold)",
        "with the code's slips, FixMatch still labels in eval mode",
        ("tests/methods/test_consistency_code.py",),
    ),
    Mutant(
        "average-behind-the-unlabelled-pass",
        "methods/mean_teacher.py",
        """        self.teacher.follow(self.segmenter, progress)
        targets.append(self.teacher(free.image))
""",
        """        targets.append(self.teacher(free.image))
        self.teacher.follow(self.segmenter, progress)
""",
        "with the code's order, the teacher of unlabelled images is a step behind",
        ("tests/methods/test_consistency_code.py",),
    ),
    Mutant(
        "each-network-taught-itself",
        "methods/cps.py",
        "for labels in (second, first)]",
        "for labels in (first, second)]",
        "CPS is self-training, twice",
        CONSISTENCY,
    ),
    Mutant(
        "dropped-maps-in-the-statistics",
        "methods/unimatch.py",
        "    with statistics_kept(network):\n        features",
        "    if True:\n        features",
        "the teacher predicts with the variances of dropped maps",
        ("tests/methods/test_consistency.py",),
    ),
    Mutant(
        "confidence-of-the-whole-batch",
        "methods/cutmix_seg.py",
        "share = mean_over_ranks(masked_mean(sure, counted))",
        "share = sure.mean()",
        "padding, of which the teacher is sure, raises the weight (cutmix-semisup-seg)",
        CONSISTENCY,
    ),
    Mutant(
        "pseudo-labels-of-the-segmenter",
        "monitoring/pseudo_labels.py",
        "(taught == mask) & chosen",
        "(predicted == mask) & chosen",
        "the quality of a teacher's labels is measured on the student's predictions",
        ("tests/monitoring/test_pseudo_labels.py",),
    ),
    Mutant(
        "calibration-of-the-student",
        "monitoring/pseudo_labels.py",
        "logits if own else labeller(batch.image)",
        "logits",
        "the sureness of a teacher's labels is that of the student, which gives others",
        ("tests/monitoring/test_pseudo_labels.py",),
    ),
    Mutant(
        "half-of-the-signs",
        "studies/statistics/significance.py",
        "2.0 ** (1 - count)",
        "2.0 ** -count",
        "a two-sided p is that of one side: twice as many methods help",
        ("tests/studies/test_statistics.py",),
    ),
    Mutant(
        "seeds-and-images-counted-twice",
        "studies/statistics/images.py",
        "joint - (each - joint) / (seeds - 1)",
        "each",
        "the interval over both takes what each seed has alone for what all share",
        ("tests/studies/test_over_images.py",),
    ),
    Mutant(
        "freedom-of-the-images",
        "studies/statistics/images.py",
        "_freedom((by_seeds, seeds - 1), (by_images, images - 1))",
        "float(images - 1)",
        "five seeds have the quantile of hundreds of images: intervals that are too narrow",
        ("tests/studies/test_over_images.py",),
    ),
    Mutant(
        "draws-that-leave-out-what-was-found",
        "studies/statistics/significance.py",
        "(1 + _drawn_as_far(numbers, found)) / (1 + SIGN_DRAWS)",
        "_drawn_as_far(numbers, found) / SIGN_DRAWS",
        "p of many pairs is 0 where no drawn pattern is as far",
        ("tests/studies/test_statistics.py",),
    ),
    Mutant(
        "five-pairs-are-enough",
        "studies/statistics/power.py",
        "smallest_sign_flip_p(pairs) > level",
        "smallest_sign_flip_p(pairs) > 2 * level",
        "a study of five pairs is planned, in which no p can be below 0.05",
        ("tests/studies/test_statistics.py",),
    ),
    Mutant(
        "splits-that-take-the-seeds-share",
        "studies/statistics/variance.py",
        "split=(by_split - within) / columns",
        "split=by_split / columns",
        "what varies within a split is called the split's",
        ("tests/studies/test_statistics.py",),
    ),
    Mutant(
        "holm-that-steps-back",
        "studies/statistics/significance.py",
        "max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))",
        "min(1.0, (len(p_values) - rank) * p_values[place])",
        "a larger p becomes the smaller one: rejected after one that was not",
        ("tests/studies/test_statistics.py",),
    ),
    Mutant(
        "generated-in-the-cross-entropy",
        "methods/gan_segmentation.py",
        "[logits[:, :-1] for logits in maps]",
        "maps",
        "labelled pixels teach 'not generated' too: another loss than the paper's",
        ("tests/methods/test_orders.py",),
    ),
    Mutant(
        "predictor-says-generated",
        "methods/gan_segmentation.py",
        "return logits[:, :-1]\n",
        "return logits\n",
        "pixels are predicted to be of a class that does not exist",
        ("tests/methods/test_gan_segmentation.py",),
    ),
    Mutant(
        "made-images-in-the-statistics",
        "models/layers.py",
        "norm.track_running_stats = False",
        "norm.track_running_stats = True",
        "what is scored normalises by images that a generator has made",
        ("tests/methods/test_gan_segmentation.py",),
    ),
    Mutant(
        "maker-helps-the-judge",
        "losses/gan.py",
        "return F.softplus(-logits)",
        "return F.softplus(logits)",
        "generator and segmenter make what is easily told from real",
        ("tests/losses/test_gan.py", "tests/methods/test_orders.py"),
    ),
    Mutant(
        "logits-into-the-discriminator",
        "methods/adversarial.py",
        "predicted = logits[0].softmax(dim=1)",
        "predicted = logits[0]",
        "logits for probabilities: one-hot masks are told from them at a glance",
        ADVERSARIAL,
    ),
    Mutant(
        "self-taught-from-the-start",
        "methods/adversarial.py",
        "teach = taught and progress.fraction >= self.self_taught_start",
        "teach = taught",
        "a network that knows nothing yet is taught its own guesses",
        ADVERSARIAL,
    ),
    Mutant(
        "threshold-ignored",
        "losses/pseudo_labels.py",
        "pseudo_labels_where(logits, accepted & valid)",
        "pseudo_labels_where(logits, valid)",
        "every pixel is taught, trusted or not",
        ADVERSARIAL,
        quick=True,
    ),
    Mutant(
        "threshold-on-logits",
        "losses/pseudo_labels.py",
        "> _logit(threshold)",
        "> threshold",
        "a probability is compared with a logit",
        ("tests/losses", *ADVERSARIAL),
    ),
    Mutant(
        "padding-is-taught",
        "losses/pseudo_labels.py",
        "pseudo_labels_where(logits, accepted & valid)",
        "pseudo_labels_where(logits, accepted)",
        "black borders of crops are pseudo-labelled",
        ADVERSARIAL,
    ),
    Mutant(
        "scalars-keep-their-graph",
        "methods/adversarial.py",
        "{name: value.detach() for name, value in terms.items()}",
        "dict(terms)",
        "memory grows until the log point",
        CONTRACT,
    ),
    Mutant(
        "statistics-of-unlabelled-images",
        "methods/adversarial.py",
        "if not (teach or (taught and self.follows_code)",
        "if False and not (teach or (taught and self.follows_code)",
        "the supervised baseline's batch norm sees unlabelled images",
        CONTRACT,
    ),
    Mutant(
        "code-without-holes",
        "losses/pixel_scores.py",
        "filled = mask if self.holes else without_holes(mask, predicted)",
        "filled = without_holes(mask, predicted)",
        "what is said to follow the authors' code follows the paper",
        CODE,
    ),
    Mutant(
        "code-without-aligned-corners",
        "methods/adversarial.py",
        "align_corners=self.follows_code",
        "align_corners=False",
        "the authors' discriminator accepts other pixels: 3 points of the share",
        CODE,
    ),
    Mutant(
        "code-sees-no-unlabelled-predictions",
        "methods/adversarial.py",
        "return terms, [fake] if self.follows_code else []",
        "return terms, []",
        "a discriminator that never sees what it is asked about",
        CODE,
    ),
    Mutant(
        "class-weights-forgotten",
        "methods/base.py",
        "class_weights=self.class_weights,",
        "class_weights=None,",
        "the result says that it is weighted and it is not",
        ("tests/methods/test_supervised_loss.py",),
        quick=True,
    ),
    Mutant(
        "chosen-loss-forgotten",
        "methods/base.py",
        "criterion=self.criterion,",
        "criterion=SupervisedLoss(),",
        "the recipe says another loss than the one that is trained with",
        ("tests/methods/test_supervised_loss.py",),
    ),
    Mutant(
        "term-on-the-images-forgotten",
        "methods/base.py",
        "return loss + self.regularised(maps[0], images.image, mask, images.valid)",
        "return loss",
        "the recipe has a term on the images that no gradient knows",
        ("tests/methods/test_contract.py",),
    ),
    Mutant(
        "padding-is-a-neighbour",
        "losses/weak/gated_crf.py",
        "(taught[:, here[0], here[1]] & valid[:, there[0], there[1]])",
        "taught[:, here[0], here[1]]",
        "what is predicted on padding draws the border of the picture",
        ("tests/losses/weak/test_terms.py",),
        quick=True,
    ),
    Mutant(
        "half-of-the-gradient",
        "losses/weak/quadratic.py",
        "return (2 * values - known) * sums, sums",
        "return values * sums, sums",
        "a quadratic form is trained with half of its gradient",
        ("tests/losses/weak/test_terms.py",),
    ),
    Mutant(
        "trees-through-padding",
        "ops/tree.py",
        "known = valid.cpu()",
        "known = torch.ones_like(valid).cpu()",
        "even padding is a short way between pixels that have nothing to do with each other",
        ("tests/ops/test_tree.py",),
    ),
    Mutant(
        "edges-that-tie-as-they-come",
        "ops/tree.py",
        'ranks[np.argsort(weights, kind="stable")] = np.arange(1, len(weights) + 1)',
        "ranks[:] = 1 + weights",
        "the tree of an image depends on how a machine sorts",
        ("tests/ops/test_tree.py",),
    ),
    Mutant(
        "edges-without-a-gradient",
        "ops/tree.py",
        "of_factors += below * (of_sums[forest.parent] - own * of_below)",
        "of_factors += 0 * below",
        "features learn from one side of each edge of the tree",
        ("tests/ops/test_tree.py",),
    ),
    Mutant(
        "colours-as-the-network-sees-them",
        "losses/weak/terms.py",
        "colours = 255 * _averaged(to_unit(image.detach().to(logits), self.images), side)",
        "colours = 255 * _averaged(image.detach().to(logits), side)",
        "the widths of colours are four times what they say",
        ("tests/losses/weak/test_terms.py",),
    ),
    Mutant(
        "labelled-cells-are-taught",
        "losses/weak/terms.py",
        "return tree_energy(logits, colours, seen, ~_any(mask != IGNORE, side))",
        "return tree_energy(logits, colours, seen, seen)",
        "the tree pulls at pixels that have a label",
        ("tests/losses/weak/test_terms.py",),
    ),
    Mutant(
        "absent-where-nothing-is-shown",
        "losses/weak/presence.py",
        "shares = rows.log_softmax(1).masked_fill(~known[:, None], -torch.inf)",
        "shares = rows.log_softmax(1)",
        "what is predicted on padding counts as a class that is there",
        ("tests/losses/weak/test_terms.py",),
    ),
    Mutant(
        "void-in-the-overlap",
        "losses/supervised.py",
        "shares = probabilities(logits).masked_fill(~valid[:, None], 0.0)",
        "shares = probabilities(logits)",
        "what is predicted on padding counts against a class",
        ("tests/losses/test_supervised.py",),
    ),
    Mutant(
        "void-pixels-are-hard",
        "losses/supervised.py",
        "kept = valid & (true <= hardest.clamp(min=threshold))",
        "kept = true <= hardest.clamp(min=threshold)",
        "with few valid pixels OHEM divides by void ones too",
        ("tests/losses/test_supervised.py",),
    ),
    Mutant(
        "dice-of-one-process",
        "losses/supervised.py",
        "return own + (sum_over_ranks(values) - own).detach()",
        "return values",
        "the overlap of each process's images: another loss for another number of GPUs",
        RANKS,
    ),
    Mutant(
        "class-weights-not-asked-for",
        "training/loop.py",
        'if run.settings.class_weights == "none" or run.method.read_class_weights:',
        'if run.settings.class_weights == "none" or run.method.takes_class_weights:',
        "a method from outside trains without weights, and its result says that it is weighted",
        ("tests/runs/test_run.py::test_a_method_that_forgets_the_weights_ends_at_its_first_step",),
    ),
    Mutant(
        "soft-predictions-called-hard",
        "losses/pairs.py",
        "hard = one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)",
        "hard = logits.softmax(dim=1)",
        "d_hard is d_fake again, and says that the discriminator sees errors",
        ("tests/methods/test_s4gan.py::test_d_hard_is_the_probability_of_the_argmax_by_hand",),
    ),
    Mutant(
        "nearly-grey-is-grey",
        "data/formats/pictures.py",
        "if (colours != colours[..., :1]).any() or",
        "if not colours.size or",
        "a mask in colours is read by its red channel",
        ("tests/data/formats/test_mask_keys.py",),
    ),
    Mutant(
        "best-step-is-not-kept",
        "runs/reopen.py",
        'for kind in ("best", "step") for step in _saved(files, kind)',
        'for kind in ("step",) for step in _saved(files, kind)',
        "the networks that a result is of cannot be opened by their step",
        ("tests/runs/data/test_scored.py",),
    ),
    Mutant(
        "decayed-biases",
        "models/base.py",
        "ParameterGroup(biases, lr_scale=2.0, decay_scale=0.0",
        "ParameterGroup(biases, lr_scale=2.0, decay_scale=1.0",
        "biases decay, which the released networks do not",
        DECOUPLED,
    ),
    Mutant(
        "undeclared-stream",
        "methods/adversarial.py",
        "reads = Reads(unlabelled=True)",
        "reads = Reads()",
        "a method reads what its result does not say it read",
        CONTRACT,
    ),
    # Losses
    Mutant(
        "mean-over-void",
        "losses/segmentation.py",
        "return total / count(mask != IGNORE)",
        "return total / mask.numel()",
        "the loss of a crop depends on how much of it is padding",
        ("tests/losses/test_segmentation.py",),
    ),
    Mutant(
        "nan-without-a-valid-pixel",
        "losses/segmentation.py",
        "pixels = sum_over_ranks(valid.sum()).clamp(min=1)",
        "pixels = sum_over_ranks(valid.sum())",
        "one crop of void alone ends the run",
        CONTRACT,
    ),
    # Updates
    Mutant(
        "leak-between-players",
        "system/distributed.py",
        "inputs=self._parameters, retain_graph=keep_graph",
        "retain_graph=keep_graph",
        "gradients of the segmenter's loss pile up in the discriminator",
        CONTRACT,
        quick=True,
    ),
    Mutant(
        "gradients-not-cleared",
        "training/updates.py",
        "        optimiser.zero_grad(set_to_none=True)\n",
        "",
        "every step repeats all steps before it",
        CONTRACT,
    ),
    Mutant(
        "group-scale-ignored",
        "training/updates.py",
        'group["lr"] = self._optim[player].lr * group["lr_scale"] * factor',
        'group["lr"] = self._optim[player].lr * factor',
        "the head learns as slowly as the backbone",
        UPDATES,
    ),
    Mutant(
        "exponential-to-gamma-each-step",
        "training/schedules.py",
        "optim.gamma**fraction",
        "optim.gamma",
        "the whole run is at the rate that it should end with",
        UPDATES,
    ),
    Mutant(
        "alpha-not-passed-on",
        "training/optimisers.py",
        ", alpha=optim.alpha",
        "",
        "RMSprop forgets ten times as slowly as the recipe says",
        UPDATES,
    ),
    Mutant(
        "accumulation-not-averaged",
        "training/updates.py",
        "scaler.scale(loss / self._accumulate)",
        "scaler.scale(loss)",
        "accumulating multiplies the learning rate",
        UPDATES,
    ),
    Mutant(
        "clip-not-applied",
        "training/updates.py",
        "            nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)\n",
        "            pass\n",
        "train.clip says one thing and the run does another",
        UPDATES,
    ),
    # State
    Mutant(
        "optimiser-not-resumed",
        "training/updates.py",
        '            optimiser.load_state_dict(state["optimisers"][player])\n',
        "",
        "a resumed run starts with empty moments",
        CONTRACT,
        quick=True,
    ),
    Mutant(
        "average-saved-never-loaded",
        "training/resume.py",
        '        run.average.load_state_dict(state["average"])\n',
        "        pass\n",
        "a resumed run averages fresh weights (open_clip ff1809e)",
        RESUME,
    ),
    Mutant(
        "random-state-not-resumed",
        "training/resume.py",
        '        restore_random_state(saved[rank()]["random"], run.device)\n',
        "        pass\n",
        "a resumed run draws another dropout",
        RESUME,
    ),
    Mutant(
        "best-step-not-resumed",
        "training/selection.py",
        'int(state["best_step"]), float(state["best_miou"])',
        'int(state["best_step"]), -math.inf',
        "after a resume any checkpoint is the best one",
        RESUME,
    ),
    Mutant(
        "stream-starts-anew",
        "runs/assemble.py",
        "start=step * accumulate",
        "start=0",
        "a resumed run sees the first images twice and the last ones never",
        ("tests/runs/test_run.py::test_an_interrupted_run_ends_with_the_same_files",),
    ),
    Mutant(
        "checkpoint-of-another-recipe",
        "training/resume.py",
        'if state.get("recipe") != fingerprint:',
        "if False:",
        "a run goes on from weights of another experiment",
        ("tests/training/test_loop.py::test_a_checkpoint_of_another_recipe_is_refused",),
    ),
    Mutant(
        "checkpoint-of-another-run",
        "training/resume.py",
        'if of_run and state.get("run", of_run) != of_run:',
        "if False:",
        "a run goes on from weights of another seed, or of other data",
        ("tests/training/test_checkpoint.py::test_a_checkpoint_says_which_run_it_is_of",),
    ),
    Mutant(
        "label-map-of-another-image",
        "evaluation/folders/prediction_folder.py",
        'return labelled_image(self.file(name)) not in (None, "", image)',
        "return False",
        "the label map of another image of the same name stays, and is taken for that of this one",
        ("tests/evaluation/folders/test_prediction_folder.py",),
    ),
    Mutant(
        "checkpoint-runs-code",
        "training/checkpoint.py",
        "weights_only=True",
        "weights_only=False",
        "a downloaded checkpoint executes what its author likes",
        (
            "tests/training/test_loop.py"
            "::test_a_checkpoint_with_code_in_it_is_refused_and_not_executed",
        ),
    ),
    Mutant(
        "teacher-never-follows",
        "training/loop.py",
        "        run.average.follow(run.method.predictor(), progress)\n",
        "        pass\n",
        "the scored average is the network as it was initialised",
        ("tests/training/test_loop.py::test_the_average_starts_as_a_plain_mean_of_the_weights",),
    ),
    Mutant(
        "teacher-has-the-statistics-of-the-last-weights",
        "ops/teacher.py",
        'RUNNING_STATISTICS = ("running_mean", "running_var")\n',
        'RUNNING_STATISTICS = ("nothing_of_the_kind",)\n',
        "mean weights normalise by statistics of other weights (decision 15)",
        ("tests/ops/test_teacher.py",),
    ),
    Mutant(
        "teacher-moves-with-each-batch-of-a-step",
        "ops/teacher.py",
        "        if not progress.ends_step:\n            return\n",
        "",
        "train.accumulate = n moves the teacher n times a step, so its decay is another one",
        ("tests/ops/test_teacher.py::test_it_follows_where_a_step_ends_and_only_there",),
    ),
    Mutant(
        "teacher-trains-with-its-method",
        "ops/teacher.py",
        "        super().train(False)\n",
        "        super().train(mode)\n",
        "dropout and statistics of the batch in the teacher's pseudo-labels",
        ("tests/ops/test_teacher.py::test_it_is_always_in_eval_mode",),
    ),
    Mutant(
        "sizes-of-a-pair-not-compared",
        "data/base.py",
        "        if mask.shape[-2:] != image.shape[-2:]:\n",
        "        if mask.dim() != 2:\n",
        "a mask of another size is cropped where its image is, and teaches other pixels",
        ("tests/data/sets/test_contract.py",),
    ),
    Mutant(
        "unlabelled-slices-taught",
        "data/loading/blocks.py",
        "for place in places if place in self._labelled}",
        "for place in places}",
        "a volume is trained from masks that are not in the label budget",
        ("tests/data/loading/test_blocks.py",),
    ),
    Mutant(
        "border-of-a-block-kept",
        "evaluation/volumes.py",
        "        start = index // self._kept * self._kept - (self._depth - self._kept) // 2\n",
        "        start = index // self._kept * self._kept\n",
        "slices are labelled without those before them",
        ("tests/evaluation/test_volumes.py",),
    ),
    Mutant(
        "held-out-slices-trained-on",
        "data/sets/slices.py",
        '"train": (0, border), ',
        '"train": (0, count), ',
        "a volume is scored on slices that were trained on",
        ("tests/data/sets/test_stack.py",),
    ),
    Mutant(
        "first-block-dilated",
        "models/backbones/resnet.py",
        "            elif not dilate_first:\n",
        "            elif False:\n",
        "the first dilated block reads another grid than torchvision's dilated networks",
        RESNET,
    ),
    Mutant(
        "stride-of-the-shortcut-kept",
        "models/backbones/resnet.py",
        "stage[0].conv2.stride = stage[0].downsample[0].stride = (1, 1)",
        "stage[0].conv2.stride = (1, 1)",
        "the shortcut of a dilated stage halves the map that the block adds it to",
        RESNET,
    ),
    Mutant(
        "padding-forgotten-by-dilation",
        "models/backbones/resnet.py",
        "block.conv2.dilation = block.conv2.padding = (own, own)",
        "block.conv2.dilation = (own, own)",
        "maps shrink with every dilated block",
        RESNET,
    ),
    Mutant(
        "caffe-pooling-rounds-down",
        "models/backbones/resnet.py",
        "self.maxpool.ceil_mode = True",
        "self.maxpool.ceil_mode = False",
        "maps of AdvSemiSeg's DeepLab v2 are a row and a column short at even sides",
        (*RESNET, "tests/models/test_deeplab_v2.py"),
    ),
    Mutant(
        "caffe-stride-at-the-wide-convolution",
        "models/backbones/resnet.py",
        "stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, (1, 1)",
        "pass",
        "weights of Caffe's ResNet see other pixels; counts and keys are the same",
        (*RESNET, "tests/models/test_deeplab_v2.py"),
    ),
    Mutant(
        "return-inside-the-loop",
        "models/deeplab_v2.py",
        "            logits = logits + classifier(embedding)\n",
        "            return logits + classifier(embedding)\n",
        "two of four classifiers are never used nor trained (AdvSemiSeg, and all that copied it)",
        ("tests/models/test_deeplab_v2.py",),
    ),
    Mutant(
        "norms-of-deeplab-v2-trained",
        "models/deeplab_v2.py",
        "layer.requires_grad_(False)",
        "layer.requires_grad_(True)",
        "scales and shifts that the code freezes drift with small batches",
        ("tests/models/test_deeplab_v2.py",),
    ),
    Mutant(
        "corners-of-unimatch-not-aligned",
        "models/deeplab_v3plus.py",
        "return resize_and_cut(logits, padded, size, align_corners=self.on_resnet)",
        "return resize_and_cut(logits, padded, size)",
        "logits are shifted by up to two pixels against those of the published weights",
        ("tests/models/test_deeplab_v3plus.py",),
    ),
    Mutant(
        "pyramid-before-the-map",
        "models/pspnet.py",
        "torch.cat([features, *pooled], dim=1)",
        "torch.cat([*pooled, features], dim=1)",
        "weights of PSPNet meet other channels; counts and shapes are the same",
        ("tests/models/test_pspnet.py",),
    ),
    Mutant(
        "auxiliary-head-on-the-last-map",
        "models/pspnet.py",
        "        return [third.pooled, last.pooled]\n",
        "        return [last.pooled[:, : third.pooled.shape[1]], last.pooled]\n",
        "the auxiliary loss no longer helps the third stage",
        ("tests/models/test_pspnet.py",),
    ),
    Mutant(
        "embedding-of-other-channels",
        "models/unet.py",
        "        return self.classifier.in_channels\n",
        "        return self.classifier.out_channels\n",
        "a projection head is built for a map of another width",
        ("tests/models/test_contract.py::test_decoding_classifies_the_embedding",),
    ),
    Mutant(
        "features-are-decoded-without-a-gradient",
        "models/base.py",
        "        return self.classify(self.embed(features))\n",
        "        return self.classify(self.embed(features).detach())\n",
        "only the classifier learns",
        ("tests/models/test_contract.py::test_gradient_reaches_every_parameter",),
    ),
    Mutant(
        "offset-of-vgg16-on-alexnet",
        "models/fcn.py",
        "self.last_crop = 18",
        "self.last_crop = 19",
        "every prediction of FCN on AlexNet lies a pixel beside its image",
        ("tests/models/test_fcn.py",),
    ),
    Mutant(
        "positions-by-size",
        "models/backbones/vit.py",
        "OFFSET = 0.1",
        "OFFSET = 1e-6",
        "DINOv2's weights see positions that lie a little beside those they were trained with",
        ("tests/models/test_dpt.py",),
    ),
    Mutant(
        "one-dilation-twice",
        "models/enet.py",
        "((2, 4), (8, 16))",
        "((2, 4), (2, 4))",
        "ENet sees a quarter of the context at the same number of parameters",
        ("tests/models/test_enet.py",),
    ),
    Mutant(
        "cut-at-the-other-side",
        "models/linknet.py",
        "[..., :height, :width] + skip",
        "[..., -height:, -width:] + skip",
        "at sides that 32 does not divide, LinkNet adds maps that lie a pixel apart",
        ("tests/models/test_linknet.py",),
    ),
    Mutant(
        "pooled-sizes-rounded-down",
        "models/segnet.py",
        "batch_norm=True, ceil_mode=True",
        "batch_norm=True, ceil_mode=False",
        "SegNet drops the last row of maps of 45 rows",
        ("tests/models/test_segnet.py",),
    ),
    Mutant(
        "dropout-in-other-stages",
        "models/segnet.py",
        "CENTRAL_STAGES = (2, 3, 4)",
        "CENTRAL_STAGES = (0, 1, 2)",
        "the samples of Bayesian SegNet differ by edges and not by what is segmented",
        ("tests/models/test_segnet.py",),
    ),
    Mutant(
        "no-gate",
        "models/lraspp.py",
        "gated = self.head.cbr(high) * self.head.scale(high)",
        "gated = self.head.cbr(high)",
        "LR-ASPP sees no global context; the gate's weights never learn",
        ("tests/models/test_lraspp.py",),
    ),
    Mutant(
        "lraspp-at-stride-32",
        "models/lraspp.py",
        "output_stride=16",
        "output_stride=32",
        "maps of half the size at the same number of parameters; torchvision's weights fit",
        ("tests/models/test_lraspp.py",),
    ),
    Mutant(
        "new-maps-first",
        "models/fc_densenet.py",
        "torch.cat([stack, *block([stack])], dim=1)",
        "torch.cat([*block([stack]), stack], dim=1)",
        "maps in another order than the authors': their weights meet other channels",
        ("tests/models/test_fc_densenet.py",),
    ),
    Mutant(
        "cut-at-the-start",
        "models/fc_densenet.py",
        "raised = transition(made)[..., : skip.shape[-2], : skip.shape[-1]]",
        "raised = transition(made)[..., -skip.shape[-2] :, -skip.shape[-1] :]",
        "the authors' crop, taken by its name: maps lie a pixel beside their skips",
        ("tests/models/test_fc_densenet.py",),
    ),
    Mutant(
        "gate-by-itself",
        "models/gfrnet.py",
        "return self.norm(feature * enlarged), feature",
        "return self.norm(feature * feature), feature",
        "no deeper feature controls what a shallow one lets pass",
        ("tests/models/test_gfrnet.py",),
    ),
    Mutant(
        "refined-without-corners",
        "models/gfrnet.py",
        "enlarged = resize(predictions[-1], side.shape[-2:], align_corners=True)",
        "enlarged = resize(predictions[-1], side.shape[-2:])",
        "predictions are shifted at every stage against the published network's",
        ("tests/models/test_gfrnet.py",),
    ),
    Mutant(
        "relu-on-the-residual",
        "models/refinenet.py",
        "residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(maps)), inplace=True))",
        "residual: Tensor = self.conv2(F.relu(self.conv1(F.relu_(maps)), inplace=True))",
        "a ReLU in place takes the negative values of what is added too",
        ("tests/models/test_refinenet.py",),
    ),
    Mutant(
        "poolings-side-by-side",
        "models/refinenet.py",
        "top = conv(F.max_pool2d(top, 5, stride=1, padding=2))",
        "top = conv(F.max_pool2d(maps, 5, stride=1, padding=2))",
        "poolings are no chain: context of 5 pixels in place of 17",
        ("tests/models/test_refinenet.py",),
    ),
    Mutant(
        "unpooled-by-torch-alone",
        "models/deconvnet.py",
        "return unpool(features, of_rows(stage.indices, rows), stage.size)",
        "return F.max_unpool2d(features, of_rows(stage.indices, rows), 2, output_size=stage.size)",
        "train.deterministic ends DeconvNet and DecoupledNet at their first step",
        ("tests/models/test_deconvnet.py",),
    ),
    Mutant(
        "a-value-read-in-every-update",
        "training/updates.py",
        "now = torch.where(torch.isfinite(loss), never, self._progress.step)",
        "now = torch.tensor(never if loss.isfinite() else self._progress.step)",
        "the same numbers, but a GPU stands still until the host has read each loss",
        ("tests/methods/test_meta_device.py",),
    ),
    Mutant(
        "samples-in-training-mode",
        "models/layers.py",
        "    for layer in dropouts:\n        layer.train()\n",
        "    network.train()\n",
        "sampling normalises by the batch, and teaches the running statistics the test images",
        ("tests/models/test_layers.py",),
    ),
    Mutant(
        "stays-in-eval-mode",
        "training/session.py",
        "            finally:\n                run.method.train()\n            self.checked",
        "            finally:\n                pass\n            self.checked",
        "after the first score, batch norm and dropout stand still",
        HONEST,
    ),
    # Several processes
    Mutant(
        "mean-over-its-own-pixels",
        "losses/segmentation.py",
        "pixels = sum_over_ranks(valid.sum()).clamp(min=1)",
        "pixels = valid.sum().clamp(min=1) * world()",
        "void pixels of one process weigh on the others: another loss for another number of GPUs",
        RANKS,
    ),
    Mutant(
        "gradients-of-one-rank",
        "system/distributed.py",
        "self._backward(self._averaging(loss), keep_graph)",
        "self._backward(loss, keep_graph)",
        "every GPU trains a network of its own, and all but the first are thrown away",
        RANKS,
    ),
    Mutant(
        "every-rank-scores-all",
        "evaluation/evaluate.py",
        "if place // _BLOCK % world() == rank()]",
        "if place // _BLOCK % world() <= rank()]",
        "images are counted as often as there are GPUs that padded their share with them",
        RANKS,
    ),
    Mutant(
        "same-dropout-on-every-rank",
        "system/device.py",
        "    if not is_first():\n        digest",
        "    if False:\n        digest",
        "the ranks drop the same units: less noise than one process has",
        RANKS,
    ),
    Mutant(
        "statistics-of-each-rank",
        "system/distributed.py",
        "        dist.broadcast(flat, src=FIRST)\n",
        "",
        "the ranks score different networks, and a resumed run is another one",
        RANKS,
    ),
    # Scores
    Mutant(
        "confusion-transposed",
        "metrics/confusion.py",
        "return rows[:num_classes].clone()",
        "return rows[:num_classes].T.clone()",
        "class accuracy becomes precision",
        ("tests/metrics/test_confusion.py",),
        quick=True,
    ),
    Mutant(
        "void-is-scored",
        "evaluation/evaluate.py",
        "counted.add(labels, masks)",
        "counted.add(labels, [mask * (mask < 255) for mask in masks])",
        "void outlines count as background",
        ("tests/evaluation/test_evaluate.py",),
    ),
    Mutant(
        "scored-in-training-mode",
        "evaluation/inference.py",
        "self.predictor = predictor.eval()",
        "self.predictor = predictor",
        "the score of an image depends on its neighbours in the batch",
        ("tests/evaluation/test_evaluate.py",),
    ),
    Mutant(
        "mirror-not-turned-back",
        "evaluation/inference.py",
        "            logits = logits.flip(-1)\n",
        "            pass\n",
        "flip = true averages a map with its mirror image",
        ("tests/evaluation/test_evaluate.py",),
    ),
    Mutant(
        "turned-without-swapping-sides",
        "data/formats/orientation.py",
        "        picture = picture.transpose(-2, -1)\n",
        "        pass\n",
        "photographs of a phone lie on their side",
        ("tests/data/formats/test_orientation.py",),
    ),
    Mutant(
        "a-square-mask-proves-an-orientation",
        "data/formats/orientation.py",
        "return None if image == turned else mask == turned",
        "return mask == turned",
        "square photographs are turned though their masks were drawn on the stored ones",
        ("tests/data/formats/test_orientation.py",),
    ),
    Mutant(
        "prediction-of-the-stored-picture",
        "evaluation/predict.py",
        "return upright(image, stored_orientation(path)) if apply_exif else image",
        "return image",
        "the label map of a phone's photograph lies on its side",
        ("tests/evaluation/test_predict.py",),
    ),
    Mutant(
        "tiles-without-surroundings",
        "evaluation/tiles.py",
        "margin = min(MARGIN / min(scales), side / 3)",
        "margin = 0.0",
        "labels change along the borders of tiles",
        ("tests/evaluation/test_tiles.py",),
    ),
    Mutant(
        "old-predictions-stay",
        "evaluation/folders/prediction_folder.py",
        "                self._remove_old()\n",
        "                pass\n",
        "after --overwrite a stopped call leaves label maps of two runs in one folder",
        ("tests/evaluation/folders/test_prediction_folder.py",),
    ),
    Mutant(
        "crf-takes-probabilities-for-logits",
        "evaluation/inference.py",
        "dense_crf(self._as_logits(scores), pixels, crf)",
        "dense_crf(scores, pixels, crf)",
        "with several views the CRF hardly hears what the network said",
        ("tests/evaluation/test_evaluate.py",),
    ),
    Mutant(
        "crf-adds-up-its-messages",
        "ops/crf.py",
        "        scores = unary\n        for weight",
        "        for weight",
        "ten iterations are ten times as sure as the paper's",
        ("tests/ops/test_crf.py",),
    ),
    Mutant(
        "scored-on-the-training-subset",
        "runs/assemble.py",
        "return DATASETS[recipe.data.name].eval_subset",
        "return DATASETS[recipe.data.name].train_subset",
        "the reported score is of what was trained on",
        HONEST,
        quick=True,
    ),
    Mutant(
        "selected-on-the-reported-set",
        "runs/run.py",
        'return Selection(experiment.data, held_out, "held_out", keep,',
        'return Selection(reported, reported.ids, "held_out", keep,',
        "the checkpoint is chosen on the images that are reported",
        HONEST,
    ),
    Mutant(
        "held-out-images-are-trained-on",
        "runs/assemble.py",
        "settings, split = recipe.data, labels.training",
        "settings, split = recipe.data, labels.split",
        "the checkpoint is chosen on images that it was trained on",
        HONEST,
    ),
    # Data
    Mutant(
        "hold-out-stays-in-the-split",
        "data/labels/splits.py",
        "labels={key: kind for key, kind in split.labels.items() if key not in held},",
        "labels=dict(split.labels),",
        "as above, one layer down",
        ("tests/data/labels/test_splits.py",),
    ),
    Mutant(
        "pool-has-held-out-images",
        "data/labels/pools.py",
        "if path.resolve() not in hidden)",
        "if True)",
        "the checkpoint is chosen on images of a folder that self-teaching has seen",
        ("tests/data/labels/test_pools.py",),
    ),
    Mutant(
        "all-is-the-whole-split",
        "runs/assemble.py",
        "pool = make_pool(data, settings.unlabelled, training, held_out, weakly)",
        "pool = make_pool(data, settings.unlabelled, split, held_out, weakly)",
        "as above, where the unlabelled images are all of the split",
        ("tests/runs/test_pools.py::test_all_works_where_the_rest_is_empty",),
    ),
    Mutant(
        "pool-has-reported-images",
        "runs/experiment.py",
        "        check_pool_apart(self.labels.pool.data, self.reported)\n",
        "",
        "self-teaching on the images that are reported",
        ("tests/runs/test_pools.py::test_the_reported_images_are_refused",),
        quick=True,
    ),
    Mutant(
        "reported-with-made-masks",
        "runs/assemble.py",
        "if subset or not recipe.data.masks:",
        "if not recipe.data.masks:",
        "a score against pseudo-labels",
        ("tests/runs/test_pools.py::test_masks_of_a_folder_are_trained_on_and_named",),
    ),
    Mutant(
        "changed-data-are-gone-on-with",
        "runs/data/identity.py",
        "if key in recorded and key in now and recorded[key] != now[key]:",
        "if False:",
        "a run whose second half saw other images or masks than its first",
        ("tests/runs/test_pools.py",),
    ),
    Mutant(
        "other-data-are-answered-for",
        "runs/data/identity.py",
        "        if then is not None and what:\n",
        "        if False:\n",
        "a finished run prints the table of another data set",
        ("tests/runs/data/test_identity.py",),
        quick=True,
    ),
    Mutant(
        "masks-by-size-alone",
        "data/fingerprint.py",
        "file_name(data.root, path): _content(path) for path in masks",
        "file_name(data.root, path): _size(path) for path in masks",
        "a mask that was mended in its size is not noticed",
        ("tests/data/test_fingerprint.py",),
    ),
    Mutant(
        "classes-matched-by-number",
        "data/without_classes.py",
        "table[label] = places.get(name, IGNORE)",
        "table[label] = label if name in places else IGNORE",
        "another set's cats are scored as dogs (mmsegmentation issue 458)",
        ("tests/data/test_by_name.py", "tests/runs/data/test_scored.py"),
    ),
    Mutant(
        "ignored-classes-of-a-recipe-are-trained",
        "runs/assemble.py",
        "ignore_classes=recipe.data.ignore_classes",
        "ignore_classes=()",
        "background stays in the score from which it was to be left out (mmsegmentation issue 962)",
        ("tests/runs/data/test_ignored_classes.py",),
    ),
    Mutant(
        "labels-of-the-files-not-compared",
        "runs/data/identity.py",
        "if then.stored_classes and then.stored_classes != found.stored_classes:",
        "if False:",
        "beside an ignored class the names of the labels may change places unnoticed",
        ("tests/runs/data/test_ignored_classes.py",),
    ),
    Mutant(
        "palettes-compared-by-numbers-of-what-is-left",
        "data/palettes.py",
        "groups[palette].append(mask._replace(data=mask.data.as_stored))",
        "groups[palette].append(mask)",
        "a contradiction names another label than the files hold",
        ("tests/data/test_without_classes.py",),
    ),
    Mutant(
        "void-of-ignored-classes-is-evidence",
        "data/evidence.py",
        "if masks.left_out and masks.stored[0] != masks.classes[0]:",
        "if False:",
        "a set without its background is refused as one of 0 and 255",
        ("tests/data/test_evidence.py",),
    ),
    Mutant(
        "classes-of-other-sets-in-the-mean",
        "metrics/confusion.py",
        "return [k for k in range(num_classes) if k not in left_out]",
        "return list(range(num_classes))",
        "a class that the set does not have lowers its mIoU",
        ("tests/runs/data/test_scored.py",),
    ),
    Mutant(
        "results-of-two-sets-in-one-file",
        "runs/reopen.py",
        "facts = [result.protocol, scored.files_sha256, list(scored.classes), *place]",
        "facts = [result.protocol]",
        "the result of one set replaces that of another with the same ids",
        ("tests/runs/data/test_scored.py",),
    ),
    Mutant(
        "void-for-a-class-is-trained-on",
        "data/evidence.py",
        "if masks.labels != {0} or not has_void or len(masks.classes) < 2:",
        "if True:",
        "masks of 0 and 255 give an mIoU of 1.0000 (of background alone)",
        ("tests/data/test_evidence.py", "tests/data/test_before_training.py"),
    ),
    Mutant(
        "reported-masks-are-not-asked",
        "runs/experiment.py",
        "        doubts += check_reported(reported)\n",
        "",
        "a training of days ends with a set that cannot be scored",
        ("tests/reliability/test_bad_input.py::test_bad_input[only_void_reported]",),
    ),
    Mutant(
        "held-out-masks-are-not-asked",
        "runs/experiment.py",
        "        doubts += check_held_out(data, labels.split, labels.held_out)\n",
        "",
        "a run ends at its first eval.every, each time it is started",
        ("tests/reliability/test_bad_input.py::test_bad_input[held_out_void]",),
    ),
    Mutant(
        "palettes-that-disagree-are-believed",
        "data/palettes.py",
        "if len(colours) > 1)",
        "if len(colours) > 2)",
        "a lossless optimiser turns a third of the labels wrong",
        ("tests/data/test_palettes.py",),
    ),
    Mutant(
        "seams-are-taken-for-objects",
        "data/labels/seams.py",
        "return borders >= _ENOUGH and 2 * self.smooth > borders",
        "return False",
        "masks that were resized smoothly teach thin lines of classes that are not there",
        ("tests/data/labels/test_seams.py", "tests/data/test_before_training.py"),
    ),
    Mutant(
        "absent-classes-are-not-told",
        "runs/result.py",
        "if value is None]\n        if not absent:",
        "if value is None]\n        if absent:",
        "an mIoU over two of three classes is taken for one over three",
        ("tests/cli/test_cli.py",),
    ),
    Mutant(
        "split-not-nested",
        "data/labels/selection.py",
        'shuffled(among, seed, "split")[: math.ceil(share * len(among))]',
        'shuffled(among, seed, f"split {share}")[: math.ceil(share * len(among))]',
        "1/16 is not a part of 1/8: shares differ in luck, not in number alone",
        ("tests/data/labels/test_splits.py",),
        quick=True,
    ),
    Mutant(
        "part-of-a-sequence",
        "data/labels/selection.py",
        'f"{share}-sequences-s{seed}", dict.fromkeys(chosen, "mask")',
        'f"{share}-sequences-s{seed}", dict.fromkeys(chosen[:wanted], "mask")',
        "a frame is unlabelled and its neighbour is labelled",
        ("tests/data/labels/test_selection.py",),
    ),
    Mutant(
        "balanced-by-chance",
        "data/labels/selection.py",
        "_by_class(data, seed, tags, among, len(among)), shuffled",
        "_by_class(data, seed, tags, among, 0), shuffled",
        "a balanced share misses classes as a plain one does",
        ("tests/data/labels/test_selection.py",),
    ),
    Mutant(
        "hash-of-an-order",
        "data/labels/known_lists/known.py",
        "for name in sorted(set(ids))",
        "for name in dict.fromkeys(ids)",
        "a published list is known in one order alone",
        ("tests/data/labels/test_known_lists.py",),
    ),
    Mutant(
        "hash-with-folders",
        "data/labels/known_lists/explain.py",
        "return forms if len(forms) == len(ids) else ids",
        "return ids",
        "a list has another name where the data set has folders in its ids",
        ("tests/data/labels/test_known_lists.py",),
    ),
    Mutant(
        "indexed-grey-by-index",
        "data/formats/pictures.py",
        "return stored if greys is None else greys[stored]",
        "return stored",
        "a lossless optimiser turns void into cats and cats into dogs",
        ("tests/data/formats/test_mask_keys.py",),
    ),
    Mutant(
        "palette-against-the-colours",
        "data/formats/mask_keys.py",
        "return drawn != colours[label]",
        "return False",
        "background and object swap from mask to mask, and nothing says so",
        ("tests/data/formats/test_mask_keys.py",),
    ),
    Mutant(
        "stem-of-another-folder",
        "data/formats/id_lists.py",
        "if folder.casefold() in _USUAL | homes:",
        "if True:",
        "a list of video7 labels the image of the same name of another video",
        ("tests/data/formats/test_id_lists.py",),
    ),
    Mutant(
        "mask-resized-bilinearly",
        "data/views/cropping.py",
        "labels = seen(maps, InterpolationMode.NEAREST_EXACT)",
        "labels = seen(maps, InterpolationMode.BILINEAR)",
        "between class 2 and class 4 a line of class 3 appears",
        ("tests/data/views/test_views.py",),
    ),
    Mutant(
        "border-weights-inside-objects",
        "data/views/cropping.py",
        "weights = weights.masked_fill(classes != 0, 0.0)",
        "weights = weights.masked_fill(classes == 255, 0.0)",
        "the rims of cells weigh as much as what is between them",
        ("tests/data/views/test_elastic.py",),
    ),
    Mutant(
        "second-object-is-the-nearest-again",
        "data/labels/border_weights.py",
        "np.minimum(second[around], np.maximum(nearest[around], distance))",
        "np.minimum(second[around], distance)",
        "one cell alone has borders, and d2 is that of any cell that comes later",
        ("tests/data/labels/test_border_weights.py",),
    ),
    Mutant(
        "deformation-from-the-global-generator",
        "data/views/elastic.py",
        "torch.randn(2, GRID, GRID, generator=generator, dtype=torch.float64)",
        "torch.randn(2, GRID, GRID, dtype=torch.float64)",
        "a resumed run, or another number of workers, bends its crops in other ways",
        ("tests/data/loading/test_streams.py",),
    ),
    Mutant(
        "windows-mirrored-at-their-own-borders",
        "evaluation/inference.py",
        "if not isinstance(self.predictor, SeesAround):",
        "if True:",
        "tiles of the valid U-Net see mirror images where the picture goes on",
        ("tests/evaluation/test_tiles.py",),
    ),
    Mutant(
        "mask-not-mirrored",
        "data/views/cropping.py",
        "labels = place(labels, fill=IGNORE)",
        "labels = place(labels.flip(-1) if flip else labels, fill=IGNORE)",
        "half of the masks belong to the mirrored image",
        ("tests/data/views/test_views.py",),
        quick=True,
    ),
    Mutant(
        "padding-is-background",
        "data/views/cropping.py",
        "labels = place(labels, fill=IGNORE)",
        "labels = place(labels, fill=0)",
        "black borders are taught as background",
        ("tests/data/views/test_views.py",),
    ),
    # Objects
    Mutant(
        "crowds-are-learnt-as-objects",
        "data/loading/samples.py",
        "return objects.where(~objects.crowd)",
        "return objects",
        "one box around a hundred persons is taught as one person",
        ("tests/data/views/test_objects.py",),
    ),
    Mutant(
        "boxes-end-on-their-last-pixel",
        "data/views/objects.py",
        "return values.argmax(1), along.shape[1] - values.flip(1).argmax(1)",
        "return values.argmax(1), along.shape[1] - 1 - values.flip(1).argmax(1)",
        "every box is a pixel too small, and one of one pixel is none",
        ("tests/data/views/test_objects.py",),
    ),
    Mutant(
        "the-last-object-wins",
        "models/mask_rcnn.py",
        "best[label] = torch.maximum(best[label], covers)",
        "best[label] = covers.clamp(min=LEAST)",
        "of two objects of a class the surer one is wiped out by the other",
        ("tests/models/test_mask_rcnn.py",),
    ),
    Mutant(
        "the-first-annotation-is-number-0",
        "evaluation/objects.py",
        "enumerate(annotations, start=1)",
        "enumerate(annotations, start=0)",
        "to pycocotools a detection that was matched to it was matched to none",
        ("tests/evaluation/test_objects.py",),
    ),
    Mutant(
        "crowds-over-objects",
        "data/sets/coco_annotations.py",
        '(not one["iscrowd"], -one["area"])',
        '(one["iscrowd"], -one["area"])',
        "objects that were told apart in a crowd are void",
        ("tests/data/sets/test_coco.py",),
    ),
    Mutant(
        "damaged-index-is-believed",
        "data/sets/coco_cache.py",
        "if hashlib.sha256(raw[_DIGEST:]).digest() != raw[:_DIGEST]:",
        "if False:",
        "outlines are read from wrong places of the annotations",
        ("tests/data/sets/test_coco_index.py",),
    ),
    Mutant(
        "foreign-index-is-believed",
        "data/sets/coco_cache.py",
        "if facts | _facts(sha256) != facts or not _fits(arrays):",
        "if not _fits(arrays):",
        "the images of other annotations",
        ("tests/data/sets/test_coco_index.py",),
    ),
    Mutant(
        "changed-annotations-are-read",
        "data/sets/coco_index.py",
        "if [zlib.crc32(one) for one in stated] != self.sums[own].tolist():",
        "if False:",
        "objects of a file that was exchanged during a run, under the ids of the old one",
        ("tests/data/sets/test_coco_index.py",),
    ),
    Mutant(
        "annotations-of-the-next-image",
        "data/sets/coco_index.py",
        'order = np.argsort(images, kind="stable")',
        "order = np.arange(len(images))",
        "every image has the objects of another where the file is not sorted by image",
        ("tests/data/sets/test_coco_index.py",),
    ),
    Mutant(
        "boxes-of-other-objects",
        "data/sets/coco_annotations.py",
        "if shared < LEAST_SHARED * both:",
        "if False:",
        "boxes of zeros, or in parts of the image, are learnt",
        ("tests/data/sets/test_coco_damage.py",),
    ),
    Mutant(
        "others-as-void",
        "data/sets/coco_instances.py",
        'self._others = 0 if classes == "voc" else IGNORE',
        "self._others = IGNORE",
        "VOC's classes on COCO without most of their background",
        ("tests/data/sets/test_coco.py",),
    ),
    Mutant(
        "groups-as-objects",
        "data/sets/cityscapes_objects.py",
        "[value < OF_OBJECTS for value in values]",
        "[False for value in values]",
        "groups of cars of Cityscapes are learnt as one car",
        ("tests/data/sets/test_cityscapes_objects.py",),
    ),
    Mutant(
        "polygons-half-a-pixel-beside",
        "data/sets/cityscapes_polygons.py",
        "leaves[rows, spans].astype(np.float64) + 0.5",
        "leaves[rows, spans].astype(np.float64) - 0.5",
        "masks drawn from Cityscapes' polygons are not the published ones",
        ("tests/data/sets/test_cityscapes_objects.py",),
    ),
    Mutant(
        "stuff-one-label-further",
        "data/sets/coco_stuff.py",
        "number - 1 for number in IDS",
        "number for number in IDS",
        "every class of COCO-Stuff is the one before it",
        ("tests/data/sets/test_coco_stuff.py",),
    ),
    Mutant(
        "unlabelled-masks-are-read",
        "data/loading/samples.py",
        'if self._name == "labelled" or self._partial:',
        "if True:",
        "labels within reach of the unlabelled branch (UniMatch reads them)",
        ("tests/data/loading/test_streams.py::test_an_unlabelled_stream_opens_no_mask",),
    ),
    Mutant(
        "weak-masks-of-labelled-images",
        "data/labels/pools.py",
        'if kind != "mask"]',
        "if kind]",
        "an image with a mask is learnt from by its weak mask too",
        ("tests/runs/test_weak_masks.py",),
    ),
    Mutant(
        "reopened-in-another-layout",
        "runs/reopen.py",
        "network.to(memory_format=channels_last_of(network))",
        "pass",
        "a run that is scored again labels some pixels anew",
        ("tests/runs/test_volumes.py::test_a_reopened_network_lies_in_memory_as_it_was_trained",),
    ),
    Mutant(
        "same-view-every-epoch",
        "data/loading/samples.py",
        '_generator(self._seed, self._name, "view", position)',
        '_generator(self._seed, self._name, "view", number)',
        "augmentation that makes one crop of each image, for good",
        (
            "tests/data/loading/test_streams.py::test_the_same_image_looks_different_in_the_next_epoch",
        ),
    ),
    Mutant(
        "nobody-tags-background",
        "data/loading/samples.py",
        "self._partial else [0, *self._tags.of[key]]",
        "self._partial else [*self._tags.of[key]]",
        "a classifier of all classes learns that background is nowhere",
        ("tests/data/loading/test_streams.py",),
    ),
    Mutant(
        "count-per-class-reads-all-masks",
        "data/labels/selection.py",
        "presence = read_presence(data, among) if tags is None else tags.of",
        "presence = read_presence(data, among)",
        "masks that are said to be unknown choose which are known",
        ("tests/data/labels/test_splits.py",),
    ),
    Mutant(
        "same-combination-every-epoch",
        "data/loading/samples.py",
        '_digest(f"{self._seed}/turn/{key}") + epoch',
        '_digest(f"{self._seed}/turn/{key}")',
        "of an image with three classes one of seven combinations is ever learnt",
        ("tests/data/loading/test_streams.py",),
    ),
    Mutant(
        "windows-without-their-classes",
        "data/views/class_crops.py",
        "(inside >= self.held * total[:, None]).all(0)",
        "(inside >= self.held * total[:, None]).any(0)",
        "the bridge is told of classes that are not in the crop",
        ("tests/data/views/test_class_crops.py",),
    ),
    # Recipes
    Mutant(
        "a-gain-over-other-resamples",
        "metrics/bootstrap.py",
        "return ends(mious - others, level)",
        "return ends(mious - others[::-1], level)",
        "the interval of a gain ignores that both were scored on the same images",
        ("tests/metrics/test_bootstrap.py",),
    ),
    Mutant(
        "a-baseline-of-another-seed",
        "recipe/load.py",
        'for key in ("train.seed", "data.split_seed")}',
        'for key in ("data.split_seed",)}',
        "a run is compared with a baseline of another seed",
        ("tests/runs/baseline",),
    ),
    Mutant(
        "same-split-for-all-seeds",
        "recipe/recipe.py",
        'return self.train.seed if stated == "same" else stated',
        'return 0 if stated == "same" else stated',
        "runs of several seeds share the split that each was to have of its own",
        ("tests/runs/test_run.py",),
    ),
    Mutant(
        "a-baseline-changes-the-digest",
        "recipe/places.py",
        '"train.seed", "baseline.recipe", ',
        '"train.seed", ',
        "a run is trained again because it is compared with another one",
        ("tests/runs/baseline",),
    ),
    Mutant(
        "a-watched-run-is-another-run",
        "recipe/places.py",
        'return kept | {"eval.every": 0} if watches_alone else kept',
        "return kept",
        "scores that are only watched change the digest of a measured recipe",
        ("tests/runs/test_watching.py",),
    ),
    Mutant(
        "training-images-are-watched",
        "data/verify.py",
        "    known = set(data.ids)\n    for name in watched.ids:",
        "    known = set()\n    for name in watched.ids:",
        "the curve that is watched is that of the training images",
        ("tests/runs/test_watching.py",),
    ),
    Mutant(
        "digest-forgets-the-split",
        "recipe/places.py",
        '"data.workers", "data.cache", "train.seed", "baseline.recipe", ',
        '"data.workers", "data.split_seed", "train.seed", "baseline.recipe", ',
        "two experiments share one folder, and the second takes the result of the first",
        ("tests/recipe/test_recipe.py",),
    ),
    Mutant(
        "child-loses-to-its-parent",
        "recipe/load.py",
        "return kept | dict(layer)",
        "return dict(layer) | kept",
        "what a recipe states is silently ignored",
        ("tests/recipe/test_recipe.py",),
    ),
    # Images of other channels
    Mutant(
        "16-bits-in-shares-of-255",
        "ops/pixels.py",
        "return image.float().div_(2**self.bits - 1)",
        "return image.float().div_(255)",
        "images of 16 bits are 257 times as bright as what was measured",
        ("tests/ops/test_pixels.py", "tests/data/test_image_formats.py"),
    ),
    Mutant(
        "channels-always-last",
        "data/formats/channels.py",
        "return 0 if shape[0] < min(shape[1:]) else 2",
        "return 2",
        "an array of channels first is read as a picture of a few rows",
        ("tests/data/formats/test_channels.py",),
    ),
    Mutant(
        "grey-decides-for-rgb",
        "data/formats/channels.py",
        "if found == GREY and (RGB in known or any(kind_of(path) == RGB for path in files)):",
        "if found == GREY and RGB in known:",
        "a set of mostly grey photographs refuses its coloured ones",
        ("tests/data/formats/test_channels.py",),
    ),
    Mutant(
        "normalisation-measured-anew",
        "runs/experiment.py",
        "return self.stated_images or format_of(self.data)",
        "return format_of(self.data)",
        "a run goes on with another normalisation than it was begun with",
        ("tests/runs/test_images.py",),
    ),
    Mutant(
        "samples-of-all-images-alike",
        "evaluation/uncertainty.py",
        "torch.manual_seed(seed_of(image, seed))",
        "torch.manual_seed(seed)",
        "what is dropped is the same in all images, so that their errors go together",
        ("tests/evaluation/test_uncertainty.py",),
    ),
    Mutant(
        "variance-of-samples-summed",
        "evaluation/uncertainty.py",
        "return mean, squares / count",
        "return mean, squares",
        "more samples make an image look more uncertain",
        ("tests/evaluation/test_uncertainty.py",),
    ),
    Mutant(
        "samples-go-on-with-the-numbers-of-the-run",
        "evaluation/uncertainty.py",
        "with dropout_active(network), torch.random.fork_rng(cuda):",
        "with dropout_active(network):",
        "scoring with samples changes what is trained afterwards",
        ("tests/evaluation/test_uncertainty.py",),
    ),
    Mutant(
        "statistics-thawed",
        "models/refinenet.py",
        "                    layer.eval()",
        "                    layer.train(mode)",
        "RefineNet's frozen statistics follow the batches",
        ("tests/models/test_refinenet.py",),
    ),
    Mutant(
        "weights-over-rgb-averaged",
        "models/weights.py",
        "theirs.sum(1, keepdim=True) / ours[1]",
        "theirs.mean(1, keepdim=True) / ours[1]",
        "ImageNet weights answer to grey with a third of their strength",
        ("tests/models/test_weights.py",),
    ),
    Mutant(
        "16-bits-cut-to-8-by-scaling",
        "data/views/cropping.py",
        "return picture.round().clamp_(0, 2 ** (8 * kind.itemsize) - 1).to(kind)",
        "return picture.round().clamp_(0, 255).to(kind)",
        "scaled crops of 16 bits are white",
        ("tests/data/views/test_views.py",),
    ),
    # Plug-ins
    Mutant(
        "changed-plugin-unnoticed",
        "runs/plugins.py",
        'if origin is not None and origin.sha256 != entry["sha256"]:',
        "if origin is None:",
        "a stopped run goes on with another method under the same name",
        ("tests/plugins/test_from_outside.py",),
    ),
    Mutant(
        "plugin-not-recorded",
        "runs/record.py",
        "        plugins=describe_plugins(recipe) or None,\n",
        "",
        "a result does not say which code from outside it was made with",
        ("tests/plugins/test_from_outside.py",),
    ),
    Mutant(
        "contract-without-strong-views",
        "contracts/methods.py",
        "    if subject.reads.unlabelled_views:\n",
        "    if not subject.reads.unlabelled_views:\n",
        "a method that ignores its strong views passes",
        ("tests/contracts/test_methods.py",),
    ),
    Mutant(
        "contract-skips-what-crashes",
        "contracts/base.py",
        "            yield Finding(check.title, problem=_crashed(error))\n",
        "            yield Finding(check.title, skipped=_crashed(error))\n",
        "a method that ends in an error passes",
        ("tests/contracts/test_methods.py",),
    ),
]


@dataclass(frozen=True)
class Verdict:
    """What the tests said.

    Attributes:
        state: "caught", "survived" or "broken" (the tests could not run).
        by: the test that caught it, or what went wrong.
    """

    state: str
    by: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="bugs to plant; default: all")
    parser.add_argument("--list", action="store_true", help="say what there is, plant nothing")
    parser.add_argument("--quick", action="store_true", help="a handful, in less than a minute")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    chosen = [
        mutant
        for mutant in MUTANTS
        if (not options.names or mutant.name in options.names)
        and (not options.quick or mutant.quick)
    ]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:<40}semisup/{mutant.file}\n    {mutant.why}")
        return 0
    outdated = [line for mutant in chosen for line in check_text(mutant)]
    if outdated:
        print("\n".join(outdated), file=sys.stderr)
        return 2
    return plant_all(chosen, options.jobs)


def check_text(mutant: Mutant) -> list[str]:
    """What is wrong with the text that `mutant` wants to replace."""
    path = ROOT / "semisup" / mutant.file
    count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
    return [] if count == 1 else [f"{mutant.name}: its text is {count} times in {mutant.file}"]


def plant_all(mutants: Sequence[Mutant], jobs: int) -> int:
    """Plant each bug in one of `jobs` copies and print the table."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            copies.put(make_copy(Path(folder) / str(number)))
        sound = check_sound(copies, mutants)
        if sound is not None:
            print(f"without any bug, {sound}", file=sys.stderr)
            return 2

        def work(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                return plant(copy, mutant)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            verdicts = []
            for mutant, verdict in zip(mutants, pool.map(work, mutants), strict=True):
                print(f"{verdict.state:<9} {mutant.name:<40} {verdict.by}", flush=True)
                verdicts.append(verdict)
    caught = sum(verdict.state == "caught" for verdict in verdicts)
    seconds = time.perf_counter() - began
    print(f"{caught} of {len(verdicts)} bugs caught in {seconds:.0f} s")
    if any(verdict.state == "broken" for verdict in verdicts):
        return 2
    return 0 if caught == len(verdicts) else 1


def make_copy(folder: Path) -> Path:
    """A copy of what the tests need; `..` of it is empty, so tests of real data are skipped."""
    copy = folder / "checkout"
    copy.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    return copy


def check_sound(copies: queue.SimpleQueue[Path], mutants: Sequence[Mutant]) -> str | None:
    """What is wrong before any bug is planted, if anything."""
    copy = copies.get()
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    code = "import semisup; print(semisup.__file__)"
    used = run(copy, [sys.executable, "-c", code]).stdout.strip()
    verdict = run_tests(copy, tests)
    copies.put(copy)
    if not Path(used).is_relative_to(copy):
        return f"the tests use {used}, not the copy"
    return None if verdict.state == "survived" else f"the tests are {verdict.state}: {verdict.by}"


def plant(copy: Path, mutant: Mutant) -> Verdict:
    """Plant a bug in the copy, run its tests, and take it out again."""
    path = copy / "semisup" / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return run_tests(copy, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")


def run_tests(copy: Path, tests: Sequence[str]) -> Verdict:
    """Run tests up to the first failure."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    try:
        done = run(copy, [*command, *tests])
    except subprocess.TimeoutExpired:
        return Verdict("broken", f"no answer in {SECONDS} s", float(SECONDS))
    seconds = time.perf_counter() - began
    failed = re.search(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode == 0:
        return Verdict("survived", "", seconds)
    if done.returncode == 1 and failed:
        return Verdict("caught", failed[1].removeprefix("tests/"), seconds)
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return Verdict("broken", f"pytest ended with {done.returncode}: {' '.join(last)}", seconds)


def run(copy: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command on the copy. No byte code is written: a bug may keep a file's size and time."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
