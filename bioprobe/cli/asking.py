"""The commands that stand alone: embed, and what is asked of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.build import command, write_answer
from bioprobe.cli.groups import Commands
from bioprobe.cli.options import AnswerPage, PageBy, PageOrder, page
from bioprobe.cli.saying import say
from bioprobe.cli.show import write_frame, write_page
from bioprobe.errors import MisuseError
from bioprobe.options import PEOPLE, RANK_NAMES, Option, With, WithAny, Without
from bioprobe.result import count

if TYPE_CHECKING:
    from bioprobe.demo import Demonstration
    from bioprobe.face.annotating import Annotation
    from bioprobe.face.compared_pages import Comparison, Estimates, Explanations, Robustness
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.face.exporting import AnswerExport
    from bioprobe.face.found_pages import Neighbors
    from bioprobe.face.grouped_pages import Clusters, Map, Order
    from bioprobe.face.pages import Decisions, Predictions, StatusAnswers
    from bioprobe.face.pooled_pages import Contents
    from bioprobe.face.provisional import Unknown
    from bioprobe.face.quality_pages import Duplicates, Flaws, NoiseFilter, Overlap, Repeats
    from bioprobe.face.store import Store
    from bioprobe.face.watching import Watched
    from bioprobe.finetuning.result import Finetuned
    from bioprobe.quality.description import Description
    from bioprobe.result import Result, Table

app = Commands()


@command(app, "demo:demonstrate", shows=False)
def demo(done: Demonstration) -> None:
    """Draw pictures, embed them with the small model sketch, and ask; no network is used.

    Example: bioprobe demo --output demo
    """
    typer.echo(done.page.absolute().as_uri())


@command(app, "face.filling:embed", shows=False)
def embed(store: Store) -> None:
    """Turn images into vectors in a store; only what is new is encoded.

    Example: bioprobe embed photos/ --model bioclip-2 --folder-rank species
    """
    summary = store.summary
    # A share may be empty, or hold a single picture, which cannot be read.
    if summary is not None and summary.n_failed == summary.n_images and store.share is None:
        raise typer.Exit(1)


@command(app, "face.watching:watch", shows=False)
def watch(done: Watched) -> None:
    """Embed and label what arrives in a folder, as it arrives; alert of what is looked for.

    What is there is done first. A file is read once it is whole. A watch that was killed goes on
    where it was, without a double or a loss. Ctrl-C ends it.

    Example: bioprobe watch inbox/ --output answers.csv --alert Felidae --command "notify {file}"
    """
    if done.n_undelivered:
        raise typer.Exit(1)


@command(app, "face.asking:Asks.zeroshot", encodes=True, sources="-", chooses=True)
def zeroshot(
    answers: Predictions | Decisions | Contents,
    *,
    html: AnswerPage = None,
    html_by: PageBy = "answer",
    html_order: PageOrder = None,
) -> str:
    """Label images by text prompts, at any rank.

    Each picture is a row of the table: its best answers with their scores, what it holds, where a
    filter has told, and your own columns; those that --mask leaves out and those that could not be
    read are rows too.

    Example: bioprobe zeroshot photos/ --classes cat,bird,bear --output answers.csv
    """
    return write_page(answers, html, html_by, html_order)


def _read_terms(terms: Sequence[str]) -> dict[str, list[str]]:
    """Folders, files and tables are where to look, as with --in; anything else is a text."""
    from bioprobe.face.pictures import refuse_address

    sources = [one for one in terms if one == "-" or Path(one).exists()]
    texts = [one for one in terms if one not in sources]
    for text in texts:
        # Nobody looks for a text that is written as the name of a file.
        name = text.rpartition("::")[0] or text
        refuse_address(name)
        if not any(map(str.isspace, name)) and ("/" in name or Path(name).suffix):
            msg = f"no file or folder at {text}; to look for that text, say --text {text}"
            raise MisuseError(msg)
    return {"sources": sources, "text": texts}


_TERMS = ("image", "text", "row", "minus_image", "minus_text", "minus_row")


@command(
    app, "face.searching:Seeks.search", encodes=True, sources="--in", bare=_read_terms,
    chooses=True, when={"save_mask": Without("sources")}, in_order=("weight", _TERMS), also="also",
)  # fmt: skip
def search(
    found: Neighbors,
    *,
    html: Annotated[Path | None, page("Also write the answers as a page of pictures.")] = None,
    html_order: PageOrder = None,
) -> str:
    """Find the images nearest to a picture, a text, a row, or several together.

    All terms add up, but for those of --minus-image, --minus-text and --minus-row: an image ranks
    by its similarity to the mean of what is looked for, less --minus-weight times that to the mean
    of what is not. At 1, little of what both have in common is left. "a cat::2" counts twice.

    The 10 nearest are given, or all that are near enough, by --min-similarity, --share or
    --over-background; of several thresholds an answer reaches all.

    Example: bioprobe search photos/ "a spotted cat on snow" -k 10
    """
    return write_page(found, html, html_order)


@command(app, "face.quality:Sifts.filter", name="filter", encodes=True, sources="-", chooses=True)
def filter_images(
    found: NoiseFilter | Repeats | Flaws,
    *,
    html: Annotated[
        Path | None,
        page("Also write what is dropped as a page of pictures; of --repeats each group."),
    ] = None,
    html_by: Annotated[
        str,
        Option(
            "What the page is grouped by: reason, or class (at --level).",
            choices=("reason", "class"),
            fixed=True,
            when=(With("html"), Without("repeats", "blurred", "dark", "odd_size")),
        ),
    ] = "reason",
    html_order: Annotated[PageOrder, Without("repeats", "blurred", "dark", "odd_size")] = None,
) -> str:
    """Tell pictures of what is kept from others, and keep a mask of them; nothing is deleted.

    With --repeats stones and branches are told from animals: what a detector finds in one place of
    a camera again and again, and what is like it. With --blurred, --dark and --odd-size pictures
    are dropped that were taken badly; the mask is filters/flaws.

    Example: bioprobe filter --keep animal,plant --output animals.csv --html dropped.html
    """
    how = (html_by, html_order) if hasattr(found, "count_drops") else ()
    return write_page(found, html, *how)


@command(app, "face.quality:Sifts.dedupe", sources="-", chooses=True)
def dedupe(
    found: Duplicates | Overlap,
    *,
    html: Annotated[
        Path | None, page("Also write the groups side by side as a page of pictures.")
    ] = None,
) -> str:
    """Find duplicate images, and keep a mask without them: filters/duplicates.

    Of each group one with a label is kept, of these the largest; nothing is deleted. With --against
    images are looked for that another collection has too: the mask is filters/against.

    Example: bioprobe dedupe --threshold 0.97 --output duplicates.csv
    """
    return write_page(found, html)


@command(
    app,
    "face.clustering:Groups.cluster",
    chooses=True,
    instead={
        "order": (
            Option("Sort the pictures along one line instead, so that neighbours are alike."),
            "face.clustering:Groups.order",
        ),
        "unknown": (
            Option(
                "Group the pictures that are like no known class instead, each group as a "
                "provisional taxon."
            ),
            "face.provisional:Provisionals.find_unknown",
        ),
        "assign": (
            Option(
                "Only give pictures that came later the cluster that is nearest; the others stay."
            ),
            "face.clustering:Groups.assign",
        ),
    },
)
def cluster(
    found: Clusters | Order | Unknown,
    *,
    html: Annotated[
        Path | None,
        page("Also write the clusters, or the pictures in their order, as a page of pictures."),
    ] = None,
) -> str:
    """Group pictures that are alike, without labels, and keep the groups as a column.

    The column can be named wherever one can: --level, --where, --group, --html-by. Pictures that
    come later have none until the command is run again. Copies, and the pictures of a sequence,
    count as one. With --unknown labels say what is known, and what is like none of it is grouped.

    Example: bioprobe cluster --output clusters.csv --html clusters.html

    Example: bioprobe cluster --unknown --level species --add
    """
    return write_page(found, html)


@command(app, "face.comparing:compare")
def compare(
    found: Comparison,
    *,
    html: Annotated[
        Path | None, page("Also write what they disagree on as a page of pictures.")
    ] = None,
    people: Annotated[
        str | None,
        Option(
            "People on the page, told by a detector or either answer: leave-out, obscure (by "
            "default) or keep.",
            choices=PEOPLE,
            fixed=True,
            when=(With("html"),),
        ),
    ] = None,
) -> str:
    """Compare two sets of answers to the same pictures: models, versions, lists, people.

    No truth is needed: how far both agree by rank, what moved where, and which pictures a person is
    to look at, in that order.

    Example: bioprobe compare bioclip-1.csv bioclip-2.csv --output queue.csv --html page.html
    """
    _ = people
    return write_page(found, html)


@command(app, "face.explaining:Explains.explain", encodes=True, lone=True)
def explain(
    found: Explanations,
    *,
    overlays: Annotated[
        Path | None,
        Option("Write each picture beside its maps as a PNG file into a folder.", writes="any"),
    ] = None,
    html: Annotated[
        Path | None,
        page("Also write the pictures with their maps, answers and examples as a page."),
    ] = None,
    people: Annotated[
        str | None,
        Option(
            "People in what is drawn, told by a detector or the column content: leave-out (the "
            "whole picture is obscured), obscure (by default) or keep.",
            choices=PEOPLE,
            fixed=True,
            when=(WithAny("overlays", "html"),),
        ),
    ] = None,
) -> str:
    """Show why: where the model looked toward an answer, and which pictures speak for and against.

    A map is toward the answer of each picture, or whatever --toward says: a taxon at any rank, a
    class of --probe, or a text; with --against it is of what tells the one from the other. It says
    where the model looked, not whether it is right.

    Example: bioprobe explain photos/ --toward "a long tail" --toward "a face" --overlays why/
    """
    _ = people
    said = []
    if overlays is not None:
        said.append(f"wrote {count(found.write_overlays(overlays), 'picture')} into {overlays}")
    return "; ".join(filter(None, [*said, write_page(found, html)]))


@command(app, "face.quality:Sifts.describe", sources="-")
def describe(found: Description) -> None:
    """Describe the images before any learning: classes, imbalance, sizes, modes, copies, holes.

    Example: bioprobe describe --level family
    """


@command(
    app,
    "face.splitting:Splits.split",
    instead={
        "show": (
            Option("Only show the split of that name."),
            "face.splitting:Splits.show_split",
        ),
        "list_all": (
            Option("Only list the splits.", ("--list",)),
            "face.splitting:Splits.splits",
        ),
    },
)
def split(counted: Result) -> None:
    """Split labelled images into train, validation and test, kept in the store by name.

    Example: bioprobe split --level family --group burst --seed 1
    """


def _write_found(
    found: Evaluation, output: str, file_format: str | None, *, safe_csv: bool, quiet: bool
) -> None:
    """Write all of an evaluation where JSON is asked for, else its table."""
    if file_format != "json" and (file_format or not output.lower().endswith(".json")):
        write_answer(found, output, file_format, safe_csv=safe_csv, quiet=quiet)
    elif safe_csv:
        msg = "--safe-csv is for CSV, got json"
        raise MisuseError(msg)
    elif output == "-":
        typer.echo(found.to_json(), nl=False)
    else:
        found.write_json(output)
        say(f"wrote {len(found.results)} results to {output}", quiet=quiet)


@command(
    app,
    "face.evaluating:Evaluates.evaluate",
    narrows=("labels",),
    encodes=True,
    write=_write_found,
)
def evaluate(
    found: Evaluation,
    *,
    predictions: Annotated[
        Path | None,
        Option("Parquet file for the answers: one row an image and method.", writes="file"),
    ] = None,
) -> str:
    """Compare methods on images that none of them learnt from, with intervals and tests.

    Of --output FILE.json everything is written, in the shape of CLIP_benchmark's results.

    Example: bioprobe evaluate --level family --methods zeroshot,knn,linear --output results.json

    With prototypes: bioprobe evaluate --level species --methods zeroshot --prototypes seen
    """
    if predictions is None:
        return ""
    frame = found.predictions
    write_frame(frame, str(predictions), "parquet", provenance=found.provenance, quiet=True)
    return f"wrote {count(len(frame), 'row')} to {predictions}"


@command(app, "face.robustness:Tries.robustness", encodes=True)
def robustness(
    found: Robustness,
    *,
    html: Annotated[Path | None, page("Also write a figure of each alteration as a page.")] = None,
) -> str:
    """Alter pictures (light, blur, noise, JPEG, rotation, crop …) and see how answers change.

    A sample of the pictures is read again, altered at several strengths, embedded and asked: the
    cosine to the unaltered, the share of answers that change and the accuracy, with intervals.
    With --level or --classes zero-shot is asked, with --probe NAME a probe, on pictures that did
    not teach it.

    Example: bioprobe robustness --level family --sample 100 --html robustness.html
    """
    return write_page(found, html)


@command(app, "face.mapping:Maps.map", name="map")
def lay_out(
    found: Map,
    *,
    picture: Annotated[
        Path | None,
        Option(
            "Also draw the map into a PNG, with the names of the commonest classes.", writes="file"
        ),
    ] = None,
    level: Annotated[
        str | None,
        Option(
            "Rank or column whose classes are named. [default: the lowest rank of 21 at most]",
            ("--level", "--rank", "-l"),
            RANK_NAMES,
            when=(With("picture"),),
        ),
    ] = None,
) -> str:
    """Lay the images out on a map, on which those that are alike lie near each other.

    The store keeps it under a name; the table has x and y of each image beside its labels. Run
    again, it places what came since on the map as it is. How far it can be trusted is said: what
    is near on it is alike, but gaps and directions have no meaning.

    Example: bioprobe map --output map.csv
    """
    if picture is None:
        return ""
    found.write_picture(picture, level)
    return f"drew the map into {picture}"


@command(app, "face.finetuning:Finetunes.finetune", encodes=True)
def finetune(found: Finetuned) -> None:
    """Let the last blocks of the store's encoder learn, and write a model of one's own.

    What enters these blocks is computed once and kept on disk until all is done; the same command
    goes on where a run was stopped. The table compares zero-shot as it was, the finetuned model and
    a linear probe on the vectors as they were, on the part test, with intervals. The model is
    loaded by its name: bioprobe embed --model local-dir:FOLDER.

    Example: bioprobe finetune --level species --blocks 2 --to models/mine
    """


@command(app, "face.reporting:Reports.report", narrows=("labels",), shows=False)
def report(page: Result) -> None:
    """Write what an evaluation found as one page: data, methods, mistakes, what to do next.

    Of pictures without labels: what they are like, and what zero-shot finds, by station.

    Example: bioprobe report --title "Camera traps 2026" --output report.html
    """


@command(app, "face.conservation:Conserves.status", encodes=True, chooses=True)
def status(
    found: StatusAnswers,
    *,
    html: Annotated[
        Path | None, page("Also write the counts as a page, in the official colours.")
    ] = None,
) -> str:
    """Say which conservation status images have, by labels or answers, and count them.

    Statuses come from a table of your own, or from the IUCN Red List with your token. Of answers
    the probabilities of all species are summed by status; what is not listed is unknown.

    Example: bioprobe status statuses.csv --labels --by site --table counts
    """
    return write_page(found, html)


@command(app, "face.estimating:Infers.estimate")
def estimate(
    found: Estimates | Table,
    *,
    html: Annotated[
        Path | None, page("Also write figures and the table as a page.", Without("draw"))
    ] = None,
) -> str:
    """Count taxa by site or time, with intervals that hold although the classifier errs.

    Raw counts of answers are biased. Labels of a random sample mend them: draw one, label it, name
    it; shares, counts and rates then have intervals, beside the raw count and the one over a
    threshold.

    Example: bioprobe estimate --target family --labelled audit.csv --by site --width 0.05
    """
    if html is None or not hasattr(found, "write_page"):
        return ""
    return write_page(found, html)


@command(app, "face.exporting:Exports.export_answers", name="export", shows=False)
def export(done: AnswerExport) -> None:
    """Write answers in the format of another tool: predictions, or the labels in the store.

    A file is replaced, a folder must be new; either is whole or not there at all.

    Example: bioprobe export answers.csv --as camtrap-dp --output package --time-zone UTC
    """


@command(
    app, "face.annotating:Annotates.annotate", narrows=("where", "mask", "split", "labels"),
    encodes=True, sources="-", shows=False,
)  # fmt: skip
def annotate(
    done: Annotation,
    *,
    table: Annotated[
        Path | None,
        Option("Also write what is said of each region as a table.", writes="file"),
    ] = None,
) -> str:
    """Write answers upon copies of pictures, on contact sheets and on sequences that move.

    The answers are those of --answers FILE, of --probe NAME, the --labels in the store, or else
    zero-shot's.

    Example: bioprobe annotate --level family --output annotated --montage sheet.png
    """
    if table is None:
        return ""
    write_answer(done, str(table), None, quiet=True)
    return f"wrote {count(len(done.frame), 'row')} to {table}"
