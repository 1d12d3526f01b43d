"""What the demonstration asks of the vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from bioprobe.classify import Predictions, zeroshot
from bioprobe.index import Neighbors, search
from bioprobe.prompts import PromptSet, TextType, read_templates
from bioprobe.sketch import SketchSpecies, read_species
from bioprobe.store import EmbeddingStore, TextCache, add_taxon
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy

#: The species without training pictures that the page tells of.
STORY_SPECIES = "Panthera uncia"
#: What the search by picture starts from.
SEARCH_SPECIES = "Danaus plexippus"
SEARCH_TEXT = "a spotted cat"
_N_FOUND = 6
_TRAINED_ANIMALS = "role == 'trained' and kind == 'animal'"


@dataclasses.dataclass(frozen=True)
class Answers:
    """Everything that the page shows.

    Parameters
    ----------
    by_rank : tuple of Predictions
        Trained species' pictures, labelled at every rank from phylum to species.
    story : SketchSpecies
        Species that is added by text.
    before, after : Predictions
        Its pictures, with and without it among the classes.
    seen, unseen : Predictions
        Pictures of trained species, and of those known by text alone, with both among the
        classes.
    by_image, by_text : Neighbors
        Search results; of the first, the first answer is the query.
    """

    by_rank: tuple[Predictions, ...]
    story: SketchSpecies
    before: Predictions
    after: Predictions
    seen: Predictions
    unseen: Predictions
    by_image: Neighbors
    by_text: Neighbors


def ask(store: EmbeddingStore, texts: TextCache) -> Answers:
    """Ask the questions of the demonstration, and add the story's species to the store.

    Parameters
    ----------
    store : EmbeddingStore
        Pictures that the sketch drew, with the columns of its table.
    texts : TextCache
        Of the same store.
    """
    species = read_species()
    story = next(one for one in species if one.name == STORY_SPECIES)
    trained = Taxonomy(tuple(_to_taxa(one for one in species if one.role == "trained")))
    described = tuple(_to_taxa(one for one in species if one.role == "unseen"))

    def label(taxa: Taxonomy, condition: str, rank: Rank = Rank.SPECIES) -> Predictions:
        prompts = PromptSet(taxa.at(rank), TextType.TAXON_COM, read_templates("plain"))
        return zeroshot(store, prompts, texts.encode_text, rank=rank, condition=condition)

    of_story = f"species == '{STORY_SPECIES}'"
    before = label(trained, of_story)
    (story_taxon,) = _to_taxa([story])
    add_taxon(store, story_taxon)
    everything = Taxonomy((*trained, *described))
    return Answers(
        by_rank=tuple(label(trained, _TRAINED_ANIMALS, rank) for rank in RANKS[1:]),
        story=story,
        before=before,
        after=label(Taxonomy((*trained, story_taxon)), of_story),
        seen=label(everything, _TRAINED_ANIMALS),
        unseen=label(everything, "role == 'unseen'"),
        by_image=_search_by_image(store),
        by_text=search(store, texts.encode_text([SEARCH_TEXT]), k=_N_FOUND),
    )


def _search_by_image(store: EmbeddingStore) -> Neighbors:
    query = store.select(f"species == '{SEARCH_SPECIES}'")[:1]
    return search(store, store.read_vectors(np.asarray(query)), k=_N_FOUND)


def _to_taxa(species: Iterable[SketchSpecies]) -> Iterator[Taxon]:
    for one in species:
        names = {rank.value: name for rank, name in zip(RANKS, one.lineage, strict=True)}
        # A species that was trained on is known by its names, another by its description.
        prompts = (one.description,) if one.role == "unseen" else ()
        yield Taxon.from_names(names, common_name=one.common_name, prompts=prompts)
