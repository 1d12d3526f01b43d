"""What the statistics on a page are called, and what each means in a sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bioprobe.errors import MisuseError
from bioprobe.result import say_time

if TYPE_CHECKING:
    from markupsafe import Markup

    from bioprobe.provenance import Provenance

EXPLANATIONS = {
    "accuracy": "Share of the judged pictures whose answer is right. Every picture counts alike.",
    "accuracy, kept only": "Accuracy over those judged pictures that the mask keeps.",
    "top 5": "Share of the pictures whose right class is among the five likeliest answers.",
    "macro-F1": "The F1 of each class, and the mean of these: a rare class counts as much as a "
    "frequent one.",
    "balanced accuracy": "The recall of each class, and the mean of these.",
    "AUROC": "How often a picture that is of a class has a higher probability of it than one that "
    "is not: 1 is always, .5 is by chance.",
    "average precision": "The precision at every threshold, averaged over the recall that each "
    "adds: 1 is perfect, the share of the class is by chance.",
    "log-loss": "How little probability the right class gets: the mean of minus its logarithm. "
    "Lower is better; sure and wrong costs most.",
    "ECE as it comes": "Expected calibration error of the probabilities as the method gives them: "
    "how far they are from how often they are right, on average. Lower is better, 0 is honest.",
    "ECE calibrated": "Expected calibration error after calibration by temperature scaling, on "
    "pictures that neither taught nor judge.",
    "expected calibration error": "How far probabilities are from how often they are right, on "
    "average: 0.05 means that an answer of 80% is right about 75 or 85 times in 100.",
    "temperature": "What logits are divided by, so that probabilities mean what they say: above 1 "
    "they become more cautious, 1 leaves them as they are.",
    "calibration": "Making a probability of 80% right 8 times in 10, by pictures that neither "
    "taught nor judge.",
    "mistake severity": "Over wrong answers: how many ranks one goes up from the answer to what it "
    "shares with the truth. Lower is better.",
    "HCA": "Hierarchical consistent accuracy: share of the pictures that are right at every rank, "
    "and whose best taxon at each rank lies above the best class.",
    "top-down consistency": "Share of the pictures whose best taxon at each rank, by summed "
    "probability, lies above the best class.",
    "precision": "Of the pictures that are called so, the share that are.",
    "recall": "Of the pictures that are so, the share that are called so.",
    "F1": "One figure of precision and recall, their harmonic mean: high only if both are.",
    "specificity": "Of the pictures that are not so, the share that are not called so.",
    "share flagged": "Share of all pictures that are called so.",
    "threshold": "The probability from which on a picture is called so.",
    "false positive rate": "Of the pictures that are not so, the share that are called so.",
    "95% interval": "Where the figure would lie for 95 of 100 collections of pictures such as "
    "this: few pictures, a wide interval.",
    "p": "How probable a difference as great would be if the two methods were equally good: "
    "McNemar's test, or a bootstrap by groups, adjusted for the number of pairs (Holm). Below .05 "
    "it is hardly chance.",
    "difference": "Accuracy of this method less that of the best, on the same pictures.",
    "probability": "How sure a method is of its answer, between 0 and 1.",
    "confidence": "The probability of the answer that is given.",
    "similarity": "Cosine of the angle between the vectors of two pictures: 1 is the same.",
    "stability": "The share of a cluster that is together again when four fifths of the pictures "
    "are clustered anew, on average: above .75 it is steady, below .5 it is not there.",
    "adjusted rand": "How far clusters and labels put the same pictures together: 1 is the same, 0 "
    "is by chance.",
    "v measure": "How far a cluster has one label, and a label one cluster, in one figure: 1 is "
    "the same, 0 is nothing in common.",
    "purity": "Share of the pictures that have the most frequent label of their cluster; small "
    "clusters make it high.",
    "trustworthiness": "1 where on a map no picture lies near that is not alike: it counts how far "
    "away those that intrude really are, by rank.",
    "continuity": "1 where on a map no picture lies far that is alike: it counts how far away it "
    "lies there, by rank.",
    "neighbours kept": "Share of the nearest pictures by their vectors that are among the nearest "
    "on a map.",
    "sharpness": "The finest detail of a picture beside detail twice as coarse: 0.7 or "
    "more of a sharp photograph, whatever it shows, less of a blurred one.",
    "brightness": "What the lightest twentieth of a picture reaches: 0 is black, 1 is white.",
    "likeness": "Mean similarity to the five pictures that are most like it: what is low is unlike "
    "all the rest.",
    "threatened": "Critically Endangered, Endangered or Vulnerable by the IUCN Red List.",
    "no status": "Nothing is listed for the name, or it covers taxa of several statuses. That is "
    "unknown, and not the same as least concern.",
    "score": "How sure it is, between 0 and 1.",
    "flip rate": "Share of the pictures whose best answer is another once they are altered.",
    "cosine to the unaltered": "How near the vector of an altered copy is to that of its picture: "
    "1 is the same.",
    "coverage": "Share of the pictures that are answered, the surest first; a person does the "
    "rest.",
    "confusion": "Which class is taken for which: of each true class (a line) the share of its "
    "pictures that are given each answer (a column).",
    "zero-shot": "Names are written as text, and each picture takes the nearest; nothing is learnt "
    "from labelled pictures.",
    "standard deviation": "How far repeated measurements lie from their mean.",
    "expected gain": "Test pictures that would be right in place of wrong if the class had twice "
    "as many training pictures: its mistakes, times the share of mistakes that doubling took away "
    "on the curve of labels.",
    "agreement": "Share of the pictures on which both answers are the same; at any rank, an answer "
    "that is above the other counts.",
    "kappa": "Cohen's kappa: how much more two answers agree than if each were drawn at random, as "
    "often as it is given: 1 is always, 0 is by chance.",
    "seconds": "Time to learn and to answer. Reading names by the encoder, and loading it, are not "
    "counted: the store keeps what was read.",
    "raw count": "Pictures that the classifier gives this answer, right or wrong.",
    "count over the threshold": "Pictures that it gives this answer with a score of at least the "
    "threshold: fewer are wrong, and many that are right are not counted.",
    "share": "How many of 100 pictures are of the class, as a fraction of 1.",
    "rate": "Pictures of the class in 100 days of a working camera.",
    "pictures of the sample": "Pictures of the random sample that a person labelled.",
    "training pictures": "Labelled pictures that a method learnt from.",
    "camera-days": "Days on which cameras worked, each camera for itself, without gaps and "
    "failures.",
    "rate ratio": "Records in 100 camera-days of a year over those of the year before: 1 is no "
    "change, 0.9 is a tenth less each year.",
    "dispersion": "How much more records vary than if each came by itself: 1 is no more.",
    "activity overlap": "The area below the activity curves of both taxa: 1 if they are active at "
    "the same times, 0 if never.",
    "Chao1": "How many taxa there are at least, by how many were seen once and twice.",
    "completeness": "Share of the taxa there are, by Chao1, that were seen.",
    "test pictures": "Labelled pictures that no method learnt from; all figures are of these.",
}  # fmt: skip


class Words:
    """The words of one page: each is a link to its explanation, and those used are listed."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}

    def __call__(self, word: str, shown: str = "") -> Markup:
        """Return a word as a link to what it means.

        Raises
        ------
        MisuseError
            If it has no explanation: none is to stand on a page.
        """
        from markupsafe import Markup

        if word not in EXPLANATIONS:
            msg = f"{word!r} has no explanation; give it one in bioprobe/page/words.py"
            raise MisuseError(msg)
        self.used[word] = EXPLANATIONS[word]
        return Markup('<a class="word" href="#{}">{}</a>').format(name_anchor(word), shown or word)


def name_anchor(word: str) -> str:
    """Return the name by which a page links to the explanation of a word.

    Examples
    --------
    >>> name_anchor("top 5")
    'word-top-5'
    """
    return "word-" + re.sub(r"\W+", "-", word.lower()).strip("-")


def sign(source: Provenance) -> str:
    """Return what made a page, and when."""
    return f"bioprobe {source.version} · {say_time(source.time)}"
