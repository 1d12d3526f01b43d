"""An encoder of one's own: its last blocks learn from the labelled pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError
from bioprobe.face.learning import Learns
from bioprobe.face.lists import open_list
from bioprobe.files import check_new_folder
from bioprobe.options import (
    Level,
    ListColumns,
    NamedClasses,
    Option,
    SeedOption,
    Split,
    Taxa,
    Templates,
    TextTypeName,
    question,
)
from bioprobe.result import WARNING, Note

if TYPE_CHECKING:
    from bioprobe.finetuning.judging import Judged
    from bioprobe.finetuning.result import Finetuned
    from bioprobe.progress import Progress

#: Highest rate of learning, of weights and of low-rank changes.
RATES = (1e-4, 1e-3)
# Copies whose vectors are nearer than this to the store's are made as they were.
_SAME = 0.995
# Files that could not be read and are named.
_NAMED = 5


class Finetunes(Learns):
    """What learns below the vectors."""

    @question
    def finetune(
        self,
        level: Level = "species",
        *,
        to: Annotated[
            str | Path, Option("New folder for the model.", shell=Path, writes="any")
        ] = "models/finetuned",
        blocks: Annotated[
            int,
            Option("Blocks of the image tower that learn, from the last: layers of a transformer, "
                   "residual blocks of a convolutional network; and what follows them.", least=1),
        ] = 2,
        lora: Annotated[
            int | None,
            Option("Rank of low-rank changes that learn in place of the weights of these blocks.",
                   least=1, metavar="RANK"),
        ] = None,
        epochs: Annotated[int, Option("Passes over the pictures that teach.", least=1)] = 10,
        choose: Annotated[
            str,
            Option("Which epoch is kept: the best on held-out pictures, or the last, which then "
                   "has learnt from all of them.", choices=("held-out", "last"), fixed=True),
        ] = "held-out",
        batch_size: Annotated[int, Option("Pictures in a step.", least=1)] = 32,
        rate: Annotated[
            float | None,
            Option(f"Highest rate of learning. [default: {RATES[0]:g}; {RATES[1]:g} with --lora]",
                   least=0),
        ] = None,
        balance: Annotated[
            str,
            Option("What is done about small classes: balanced-softmax or none.",
                   choices=("balanced-softmax", "none"), fixed=True),
        ] = "balanced-softmax",
        anchor: Annotated[
            float,
            Option("How much a vector that turns away from where it was costs, beside its label.",
                   least=0),
        ] = 0.0,
        views: Annotated[
            int | None,
            Option("Learn from several views of each picture: 2 (and mirrored), 4 (and its middle, "
                   "mirrored too) or 10 (four corners, mirrored too). Each is kept on disk.",
                   choices=("2", "4", "10")),
        ] = None,
        leave_out: Annotated[
            float,
            Option("Share of the classes that are not learnt, to see what becomes of such: of a "
                   "model that is only to be measured.", least=0, most=0.9),
        ] = 0.0,
        split: Split = "default",
        classes: NamedClasses = None,
        taxa: Taxa = None,
        rank_column: ListColumns = None,
        text_type: TextTypeName = "taxon_com",
        templates: Templates = "plain",
        precision: Annotated[
            str | None,
            Option("bf16 or fp16: what is computed so; the weights stay fp32. [default: bf16 or "
                   "fp16 on CUDA, else fp32]", choices=("fp32", "bf16", "fp16"), fixed=True),
        ] = None,
        seed: Annotated[int, SeedOption("Seed of the order, the views and the folds.")] = 0,
        progress: Progress | None = None,
    ) -> Finetuned:  # fmt: skip
        """Let the last blocks of the store's encoder learn, and write it as a model of one's own.

        Pictures of the part ``train`` teach; which epoch is kept is chosen on the part
        ``validation``, or on a fifth of the training pictures where that is empty or small. The
        part ``test`` judges, and is read for nothing else. Classes are learnt toward the vectors of
        their texts, which stay as they are: zero-shot goes on, and taxa can be added. Of an encoder
        without texts the classes begin as the means of their pictures.

        Parameters
        ----------
        level : str
            Rank of the classes, or any column, whose values they are.
        to : str or Path
            New folder. What enters the blocks, and a checkpoint of each epoch, lie beside it until
            all is done: the same call goes on where a run was stopped, and gives the same.
        blocks : int
            Blocks that learn, from the last.
        lora : int, optional
            Rank of low-rank changes that learn instead.
        epochs : int
            Passes over the pictures.
        choose : str
            ``held-out`` or ``last``.
        batch_size : int
            Pictures in a step.
        rate : float, optional
            Highest rate of learning: it rises over the first tenth and falls as a cosine.
        balance : str
            ``balanced-softmax`` adds the logarithm of the size of each class to its logit while
            learning, so that small classes are not unlearnt; ``none`` does not.
        anchor : float
            How much turning away costs: so many times one less the cosine.
        views : int, optional
            Views of each picture that may teach.
        leave_out : float
            Share of the classes that are not learnt.
        split : str or None
            Name of a split; ``"none"`` or None learns from all labelled images, and judges on none.
        classes, taxa, rank_column, text_type, templates
            How classes are written, as for :meth:`evaluate`.
        precision : str, optional
            ``fp32``, ``bf16`` or ``fp16``.
        seed : int
            Of the order, the views and the folds.
        progress : callable, optional
            Told how far each part is; an error that it raises stops the work, which keeps what is
            done.

        Returns
        -------
        Finetuned
            One row for each way of answering, on pictures of the part ``test``; ``model`` is the
            name that loads it.

        Raises
        ------
        MisuseError
            If the encoder has fewer blocks, or cannot learn.
        ProbeError
            If fewer than two classes have a picture that teaches.
        SourceError
            If the folder holds something.

        References
        ----------
        Ren et al. 2020, *Balanced Meta-Softmax for Long-Tailed Visual Recognition*; Hu et al. 2022,
        *LoRA: Low-Rank Adaptation of Large Language Models*.
        """
        from bioprobe.encoders import load_encoder
        from bioprobe.encoders.views import VIEWS
        from bioprobe.finetuning.finetune import finetune
        from bioprobe.finetuning.learner import check_encoder
        from bioprobe.finetuning.training import Plan, choose_autocast

        if views is not None and views not in VIEWS:
            msg = f"a picture is seen {', '.join(map(str, VIEWS))} times, got --views {views}"
            raise MisuseError(msg)
        check_new_folder(Path(to).expanduser())
        stored = self._view.manifest.encoder
        loaded = load_encoder(
            self._model or stored.model, device=self._device, decoding=stored.decoding
        )
        encoder = check_encoder(loaded, stored.model)
        self._view.store.check_encoder(encoder.fingerprint)
        texts = None
        if encoder.has_text_tower:
            listed = open_list(taxa, rank_column)
            texts = self._write_texts(level, listed, text_type, templates, classes)
        elif classes is not None or taxa is not None:
            msg = f"{stored.model} reads no texts: leave out --classes and --taxa"
            raise MisuseError(msg)
        highest = RATES[lora is not None] if rate is None else rate
        plan = Plan(
            epochs, batch_size, highest, balance, anchor, choose,
            choose_autocast(encoder.runtime.device, precision), seed,
        )  # fmt: skip
        task = self._task(level, split=split, texts=texts, seed=seed)
        found = finetune(
            task, encoder, Path(to).expanduser(), plan, n_blocks=blocks, rank=lora,
            n_views=views or 1, leave_out=leave_out, progress=progress,
        )  # fmt: skip
        return found.say((*self._notes, *_describe(found)))


def _describe(found: Finetuned) -> list[Note | str]:
    """Say what learnt from what, what it bought, and what is not known of it."""
    card = found.provenance
    said = [*_describe_learning(card), *_describe_choice(found), *_describe_gains(found)]
    if card["reasons"]:
        reasons = card["reasons"]
        shown = "; ".join(reasons[:_NAMED]) + (" …" if len(reasons) > _NAMED else "")
        text = f"{len(reasons):,} pictures could not be read, and neither teach nor judge: {shown}"
        said.append(Note(text, WARNING))
    cosine = card["store_cosine"]
    if cosine is not None and cosine < _SAME:
        text = (
            f"the vectors of the test pictures made now have a mean cosine of {cosine:.3f} to "
            "those of the store: files or settings have changed since they were embedded"
        )
        said.append(Note(text, WARNING))
    text = (
        f"written to {found.folder}; embed with it into a store of its own: bioprobe embed … "
        f"--model {found.model} --store OTHER"
    )
    return [*said, text]


def _describe_learning(card: Mapping[str, Any]) -> list[Note | str]:
    settings = card["settings"]
    blocks, n = settings["blocks"], settings["n_parameters"]
    named = blocks[0] if len(blocks) == 1 else f"{blocks[0]} … {blocks[-1]}"
    if settings["lora_rank"]:
        what = f"low-rank changes of {len(settings['lora_layers'])} layers of {named}"
    else:
        what = f"{named} and what follows"
    views = f", {settings['views']} views of each" if settings["views"] > 1 else ""
    return [
        f"{what} learnt, {n:,} numbers, from {card['n_images']:,} pictures{views} of "
        f"{card['n_classes']:,} classes at {card['level']}"
    ]


def _describe_choice(found: Finetuned) -> list[Note | str]:
    """Say which epoch is kept, and on what that was chosen."""
    card, n_epochs = found.provenance, len(found.history) - 1
    began, kept = found.history[0], found.history[found.n_chosen]
    if not card["n_held_out"]:
        why = "" if card["settings"]["choose"] == "last" else ": no picture could be held out"
        return [f"epoch {kept.number} of {n_epochs} is kept{why}; loss {kept.loss:.3f}"]
    by = "the part validation"
    if card["held_out_by"] == "cross-validation":
        because = f", because {card['held_out_because']}" if card["held_out_because"] else ""
        by = f"a fold, which does not teach{because}"
    said: list[Note | str] = [
        f"epoch {kept.number} of {n_epochs} is kept: right {kept.accuracy:.3f} on "
        f"{card['n_held_out']:,} held-out pictures ({by}), {began.accuracy:.3f} at the start"
    ]
    if (kept.accuracy, -kept.log_loss) <= (began.accuracy, -began.log_loss):
        text = (
            "no epoch was better on held-out pictures than the encoder as it was: the model is "
            "written, and is not to be preferred; say a lower --rate, fewer --blocks, or --anchor 1"
        )
        said.append(Note(text, WARNING))
    return said


def _describe_gains(found: Finetuned) -> list[Note | str]:
    """Say what it bought on the part test, how far that holds, and what is not known."""
    card = found.provenance
    if not found.judged:
        text = "nothing is known of what it bought: no labelled picture is in a part test"
        return [Note(text, WARNING)]
    said: list[Note | str] = []
    by_pictures: dict[str, dict[str, Judged]] = {}
    for one in found.judged:
        by_pictures.setdefault(one.pictures, {})[one.method] = one
    for pictures, methods in by_pictures.items():
        shown = [f"{method} {one.accuracy}" for method, one in methods.items()]
        one = methods["finetuned"]
        assert one.gain is not None
        gain = f"{one.gain.estimate:+.3f} [{one.gain.low:+.3f}, {one.gain.high:+.3f}]"
        said.append(
            f"  {pictures} ({one.n_images:,} images, {one.n_classes:,} classes): "
            f"{', '.join(shown)}; finetuning bought {gain}"
        )
        if one.gain.high < 0:
            said.append(Note(f"WARNING: finetuning made answers to {pictures} worse", WARNING))
    best = by_pictures["all"]
    if best["linear"].accuracy.estimate >= best["finetuned"].accuracy.estimate:
        text = (
            "a linear probe on the vectors as they were is right as often or more often, and takes "
            "seconds: bioprobe probe fit linear"
        )
        said.append(Note(text, WARNING))
    method = card["split_method"]
    if method not in {"grouped", "chronological"}:
        text = (
            f"the test pictures are of a split that is {method}: of the places and times that "
            "taught. Of other places and later times it may be worse than zero-shot; to see: "
            "bioprobe split --method grouped --group SITE, or --method chronological --column DATE"
        )
        said.append(Note(text, WARNING))
    if "classes not learnt" not in by_pictures:
        text = (
            "what becomes of classes that were not learnt is not known: fewer than two are in the "
            "part test; to see: --leave-out 0.3"
        )
        said.append(Note(text, WARNING))
    return said
