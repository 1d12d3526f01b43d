"""``bioprobe probe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands
from bioprobe.cli.options import AnswerPage, PageBy, PageOrder
from bioprobe.cli.show import write_page
from bioprobe.options import TEXT_KINDS, With, Without

if TYPE_CHECKING:
    from bioprobe.face.pages import Decisions, Predictions
    from bioprobe.face.pooled_pages import Contents
    from bioprobe.result import Result

app = Commands("Learn from labelled images, and label others.")
stacks = Commands(
    "Combine probes of several encoders over the same images.\n\n"
    "Example: bioprobe probe stack fit --with embeddings/other --level family"
)
# Images of the store are chosen, or pictures named; their encoder is read for these alone.
_OF_PICTURES: dict[str, With | Without] = {
    **{name: Without("sources") for name in ("where", "mask", "split")},
    "model": With("sources"),
}
_READING = {"model": With("kind", TEXT_KINDS)}


@command(app, "face.learning:Learns.fit", encodes=True, when=_READING, shows=False)
def fit(probe: Result) -> None:
    """Fit a probe on labelled images and keep it in the store.

    Example: bioprobe probe fit linear --level family
    """


@command(app, "face.learning:Learns.tune", encodes=True)
def tune(tuned: Result) -> None:
    """Choose the best kind of probe and its settings on held-out images, and keep it.

    Example: bioprobe probe tune --level family --n-trials 30
    """


@command(
    app,
    "face.learning:Learns.predict",
    narrows=("where", "mask", "split", "labels"),
    encodes=True,
    when=_OF_PICTURES,
    chooses=True,
)
def predict(
    answers: Predictions | Decisions | Contents,
    *,
    html: AnswerPage = None,
    html_by: PageBy = "answer",
    html_order: PageOrder = None,
) -> str:
    """Label the images of a store, or picture files, by a probe.

    Each picture is a row of the table, as bioprobe zeroshot writes it.

    Example: bioprobe probe predict linear --split default:test --output answers.csv
    """
    return write_page(answers, html, html_by, html_order)


@command(app, "face.learning:Learns.probe", narrows=())
def show(probe: Result) -> None:
    """Show what a probe learnt from, how, and how it did on held-out images.

    Example: bioprobe probe show linear
    """


@command(app, "face.learning:Learns.probes", name="list", narrows=())
def list_all(probes: Result) -> None:
    """List the probes of a store.

    Example: bioprobe probe list
    """


@command(app, "face.learning:Learns.remove_probe", narrows=(), shows=False)
def remove(gone: Result) -> None:
    """Remove a probe from a store.

    Example: bioprobe probe remove knn
    """


@command(
    stacks,
    "face.learning:Learns.fit_stack",
    name="fit",
    narrows=("where", "labels"),
    shows=False,
)
def fit_stack(probe: Result) -> None:
    """Fit a probe of each encoder and how to combine them, and keep this in the store.

    Example: bioprobe probe stack fit --with embeddings/other --level family
    """


@command(
    stacks,
    "face.learning:Learns.predict_stack",
    name="predict",
    narrows=("where", "split", "labels"),
    chooses=True,
)
def predict_stack(
    answers: Predictions,
    *,
    html: AnswerPage = None,
    html_by: PageBy = "answer",
    html_order: PageOrder = None,
) -> str:
    """Label the images that all stores hold.

    Example: bioprobe probe stack predict stack --with embeddings/other --split default:test
    """
    return write_page(answers, html, html_by, html_order)


@command(stacks, "face.learning:Learns.compare_stack", name="compare", narrows=("labels",))
def compare_stack(compared: Result) -> None:
    """Compare the stack with each of its bases alone, on images that none learnt from.

    Example: bioprobe probe stack compare stack --with embeddings/other --part test
    """


app.add("stack", stacks)
