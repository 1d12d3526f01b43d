"""What a person may choose: every option once, with its name, help, choices and condition.

An option stands in the signature of a public question as ``Annotated[type, Option(...)]``, or by
one of the names below where several questions have it; a condition that it has in one question
alone stands beside: ``Annotated[Templates, Without("head")]``. Many that questions have together
are keys of a ``TypedDict``, each with its :class:`Default`. The command line makes its options
from these signatures, and so can a page or an API. Importing this module imports no library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ParamSpec,
    TypeVar,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from bioprobe.devices import products_on
from bioprobe.errors import BioprobeError, MisuseError

RANK_NAMES = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
#: What is done with people where pictures are written.
PEOPLE = LEAVE_OUT, OBSCURE, KEEP = ("leave-out", "obscure", "keep")
#: Which labels count, the default first.
LABELS_COUNTED = BOTH, GIVEN, CONFIRMED = ("both", "given", "confirmed")
#: What can be written of two sets of answers that are compared, the default first.
TABLES = ("queue", "moves", "agreement", "pairs")
#: Since when a gap is counted that parts records, the default first.
COMPARED_TO = LAST_RECORD, LAST_INDEPENDENT = ("last-record", "last-independent-record")
#: In what form records are written, the table itself first.
RECORD_FORMS = PLAIN, CAMTRAPR, UNMARKED, CAMTRAP_DP = (
    "plain", "camtrapr", "unmarked", "camtrap-dp",
)  # fmt: skip
#: Where work is done, the default first.
ENGINES = LOCAL, RAY = ("local", "ray")
#: Methods that start from the texts of classes.
TEXT_KINDS = ("prompt+probe", "adapter", "clap", "tip-adapter", "prolip")
#: The layout in which a text head is exchanged.
TEXT_HEAD = "treeoflife"
TEXT_TYPE_NAMES = ("sci", "com", "taxon", "sci_com", "taxon_com", "asis")

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class With:
    """Say that an option counts only beside another.

    Parameters
    ----------
    name : str
        The other parameter.
    values : tuple
        Any of these; where empty, anything but its default.
    """

    name: str
    values: tuple[Any, ...] = ()

    def holds(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Tell whether the other parameter is as it must be."""
        value = given.get(self.name, defaults[self.name])
        return value in self.values if self.values else value != defaults[self.name]

    def explain(self, options: Mapping[str, Option]) -> str:
        """Return the condition in words, in which options are named as they are given."""
        other = name_option(self.name, options)
        return f"{other} {' or '.join(map(str, self.values))}" if self.values else other


@dataclasses.dataclass(frozen=True)
class Unless:
    """Say that an option does not count beside some values of another.

    Parameters
    ----------
    name : str
        The other parameter.
    values : tuple
        None of these.
    """

    name: str
    values: tuple[Any, ...]

    def holds(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Tell whether the other parameter is none of these."""
        return given.get(self.name, defaults[self.name]) not in self.values

    def explain(self, options: Mapping[str, Option]) -> str:
        """Return the condition in words."""
        other = name_option(self.name, options)
        return f"another {other} than {' or '.join(map(str, self.values))}"


@dataclasses.dataclass(frozen=True)
class WithAny:
    """Say that an option counts only beside one at least of several others.

    Parameters
    ----------
    names : tuple of str
        The other parameters.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    def holds(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Tell whether one of the other parameters is given."""
        return any(given.get(name, defaults[name]) != defaults[name] for name in self.names)

    def explain(self, options: Mapping[str, Option]) -> str:
        """Return the condition in words."""
        return " or ".join(name_option(name, options) for name in self.names)


@dataclasses.dataclass(frozen=True)
class Without:
    """Say that an option does not count beside another that is given.

    Parameters
    ----------
    names : tuple of str
        The other parameters.
    why : str
        What the others do instead, as the end of a sentence about them.
    """

    names: tuple[str, ...]
    why: str = ""

    def __init__(self, *names: str, why: str = "") -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "why", why)

    def holds(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Tell whether the other parameters are left at their defaults."""
        return all(given.get(name, defaults[name]) == defaults[name] for name in self.names)

    def explain(self, options: Mapping[str, Option]) -> str:
        """Return the condition in words."""
        said = " and ".join(f"no {name_option(name, options)}" for name in self.names)
        return f"{said}, {self.why}" if self.why else said


@dataclasses.dataclass(frozen=True)
class Ending:
    """Say that an option counts only where a file that is given has an ending.

    Parameters
    ----------
    name : str
        The parameter that is the file.
    suffix : str
        Such as ``.npy``.
    """

    name: str
    suffix: str

    def holds(self, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Tell whether the file has the ending."""
        return str(given.get(self.name, defaults[self.name])).endswith(self.suffix)

    def explain(self, options: Mapping[str, Option]) -> str:
        """Return the condition in words."""
        return f"a {name_option(self.name, options)} that ends in {self.suffix}"


Condition = With | Unless | WithAny | Without | Ending


@dataclasses.dataclass(frozen=True)
class Option:
    """How a parameter of a question is named, explained and limited.

    Parameters
    ----------
    help : str
        For people, one or two sentences.
    flags : tuple of str
        On the command line, such as ``("--level", "--rank", "-l")``; by default the parameter's
        name with dashes. ``"-"`` alone makes it an argument without a flag.
    choices : tuple of str
        Offered for completion.
    fixed : bool
        Whether nothing but the choices is taken.
    least, most : float, optional
        Limits of a number.
    when : tuple of With, Unless, WithAny, Without or Ending
        Conditions under which it counts: given outside of one it is refused, not passed over.
    shell : type, optional
        What the command line reads, where it is not the parameter's own type; of a sequence, which
        is given one by one, each item.
    metavar : str, optional
        What stands for the value in the help.
    writes : str
        ``file`` where it names a file that is written, ``any`` a file or a folder: a command
        refuses what cannot be written before there is any work to lose.
    """

    help: str
    flags: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    fixed: bool = False
    least: float | None = None
    most: float | None = None
    when: tuple[Condition, ...] = ()
    shell: Any = None
    metavar: str | None = None
    writes: str = ""

    @property
    def is_argument(self) -> bool:
        """Whether it stands without a flag."""
        return self.flags == ("-",)


@dataclasses.dataclass(frozen=True)
class Default:
    """What an option is where it is not given, of options that several questions share.

    Such options stand as keys of a ``TypedDict``, which a question takes as ``**of: Unpack[…]``.

    Parameters
    ----------
    value : object
        The default.
    """

    value: Any


#: Of a seed, which is what numpy's generators and scikit-learn take.
SeedOption = functools.partial(Option, least=0, most=2**32 - 1)


def write_flag(name: str) -> str:
    """Return a parameter's flag on the command line.

    Examples
    --------
    >>> write_flag("text_type")
    '--text-type'
    """
    return "--" + name.strip("_").replace("_", "-")


# A whole command stays one, wherever it is read.
_FLAG = re.compile(r"bioprobe [^;,()\"]*|(?<![\w-])--([a-z][a-z0-9-]*)")


def write_plainly(text: str) -> str:
    """Return what is said in words of the shell as Python, bodies and pages name it.

    Examples
    --------
    >>> write_plainly("give --max-memory or --seed; see: bioprobe embed --help")
    'give max_memory or seed; see: bioprobe embed --help'
    """
    return _FLAG.sub(lambda one: one[1].replace("-", "_") if one[1] else one[0], text)


def name_option(name: str, options: Mapping[str, Option]) -> str:
    """Return an option as a person gives it: by its first flag, or as an argument in capitals.

    Examples
    --------
    >>> name_option("k", {"k": Option("", ("-k", "--k"))}), name_option("to", {})
    ('-k', '--to')
    >>> name_option("kind", {"kind": Option("", ("-",))})
    'KIND'
    """
    option = options.get(name)
    if option is None or not option.flags:
        return write_flag(name)
    return name.upper() if option.is_argument else option.flags[0]


@functools.cache
def read_options(question: Callable[..., Any]) -> dict[str, tuple[Any, Option]]:
    """Return the options of a question by parameter: the type and what is said of it.

    Parameters
    ----------
    question : callable
        A public function or method. Parameters without an :class:`Option` are not listed.
    """
    names = getattr(inspect.unwrap(question), "__globals__", {})
    found = {}
    for name, parameter in _read_signature(question).parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, names)  # our own source, as typing does it
            except NameError:
                # A type that only the type checker imports is no option's.
                continue
        if get_origin(annotation) is Annotated:
            kind, *extra = get_args(annotation)
            further = tuple(one for one in extra if isinstance(one, Condition))
            for one in extra:
                if isinstance(one, Option):
                    found[name] = (kind, dataclasses.replace(one, when=(*one.when, *further)))
    return found


def read_defaults(question: Callable[..., Any]) -> dict[str, Any]:
    """Return what each parameter of a question is where it is not given."""
    return {name: one.default for name, one in _read_signature(question).parameters.items()}


@functools.cache
def _read_signature(question: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a question, each option that it shares with others by itself."""
    original = inspect.unwrap(question)
    signature = inspect.signature(original)
    *own, last = [None, *signature.parameters.values()]
    if last is None or last.kind is not inspect.Parameter.VAR_KEYWORD:
        return signature
    shared = last.annotation
    if isinstance(shared, str):
        shared = eval(shared, original.__globals__)  # our own source, as typing does it
    if get_origin(shared) is not Unpack:
        return signature
    further = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=one.value, annotation=kind)
        for name, kind in get_type_hints(get_args(shared)[0], include_extras=True).items()
        for one in get_args(kind) if isinstance(one, Default)
    ]  # fmt: skip
    return signature.replace(parameters=[*filter(None, own), *further])


def _check_options(question: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse an option that is given where it does not count, or out of its limits."""
    check_numbers(question, given)
    options = {name: option for name, (_, option) in read_options(question).items()}
    check_given(options, read_defaults(question), given)


def check_numbers(question: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse what is no number, or not finite, for an option that is one.

    Parameters
    ----------
    question : callable
        Whose options they are.
    given : mapping of str to object
        Values by parameter; those at their default are not looked at.

    Raises
    ------
    MisuseError
        If one is.
    """
    options, defaults = read_options(question), read_defaults(question)
    named = {name: option for name, (_, option) in options.items()}
    for name, (kind, _) in options.items():
        wanted = {one for one in (get_args(kind) or (kind,)) if one is not type(None)}
        if name not in given or wanted not in ({int}, {float}):
            continue
        value = given[name]
        if value is defaults[name] or _is_number(value, whole=wanted == {int}):
            continue
        said = "a whole number" if wanted == {int} else "a finite number"
        msg = f"{name_option(name, named)} is {said}, got {value!r}"
        raise MisuseError(msg)


# Whole numbers beyond are none that any library counts in.
_MOST = 2**63


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    if whole:
        return isinstance(value, numbers.Integral) and abs(int(value)) < _MOST
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:
        return False


def check_given(
    options: Mapping[str, Option], defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Refuse what :func:`_check_options` refuses, of options that stand in several signatures.

    Raises
    ------
    MisuseError
        If one is.
    """
    given = {name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
    for name, option in options.items():
        if name not in given or _is_default(given[name], defaults[name]):
            continue
        value, flag = given[name], name_option(name, options)
        for condition in option.when:
            if not condition.holds(given, defaults):
                said = condition.explain(options)
                msg = f"{flag} counts only with {said}; leave it out, or change that"
                raise MisuseError(msg)
        if option.fixed and value not in option.choices:
            msg = f"{flag} is {' or '.join(option.choices)}, got {value!r}"
            raise MisuseError(msg)
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        below = is_number and option.least is not None and value < option.least
        if below or (is_number and option.most is not None and value > option.most):
            low = "" if option.least is None else f"{option.least:g} or more"
            high = "" if option.most is None else f"{option.most:g} or less"
            msg = f"{flag} is {' and '.join(filter(None, (low, high)))}, got {value}"
            raise MisuseError(msg)


def _is_default(value: object, default: object) -> bool:
    if value is default or isinstance(default, type):
        return value is default
    same = value == default
    # A table or an array is compared element by element, and is no default.
    return not getattr(same, "shape", ()) and bool(same)


def question(ask: Callable[P, R]) -> Callable[P, R]:
    """Make a question refuse options that do not count beside the others that were given.

    Its large products run on the device that was chosen.

    See Also
    --------
    _check_options : the rule.
    """
    signature = _read_signature(ask)
    own = {"self", *ask.__annotations__}
    shared = {name: one.default for name, one in signature.parameters.items() if name not in own}

    @functools.wraps(ask)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        # Of a store, as it was opened.
        device = getattr(given.get("self"), "_device", None) or given.get("device")
        try:
            _check_options(ask, given)
            with products_on(device) if device else contextlib.nullcontext():
                return ask(*args, **(shared | kwargs))
        except BioprobeError as error:
            _name_parameters(error, ask)
            raise

    plain = [one.replace(annotation=_leave_out_option(one.annotation))
             for one in signature.parameters.values()]  # fmt: skip
    checked.__signature__ = signature.replace(parameters=plain)  # type: ignore[attr-defined]
    return checked


_IN_PYTHON = "In Python: "


def _name_parameters(error: BioprobeError, ask: Callable[..., Any]) -> None:
    """Say below an error which parameters the flags are that go by another name there."""
    if any(one.startswith(_IN_PYTHON) for one in getattr(error, "__notes__", ())):
        return
    names = {flag: name for name, (_, one) in read_options(ask).items() for flag in one.flags}
    said = []
    for word in filter(None, dict.fromkeys(_FLAG.findall(str(error)))):
        flag, plain = write_flag(word), word.replace("-", "_")
        if (name := names.get(flag, plain)) != plain:
            said.append(f"{name} ({flag})")
    if said:
        error.add_note(_IN_PYTHON + ", ".join(said))


def _leave_out_option(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    """Return the type alone, as ``help()`` shows it.

    Examples
    --------
    >>> _leave_out_option("Annotated[Mapping[str, str] | None, Option('A map.')]")
    'Mapping[str, str] | None'
    """
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    head = "Annotated["
    if not (isinstance(annotation, str) and annotation.startswith(head)):
        return annotation
    depth = 0
    for place, one in enumerate(annotation := annotation.removeprefix(head)):
        depth += (one == "[") - (one == "]")
        if one == "," and not depth:
            return annotation[:place]
    return annotation


def list_given(given: Any) -> list[Any]:  # noqa: ANN401 - whatever an option takes
    """Return what may be given once, several times or not at all as a list.

    Examples
    --------
    >>> list_given("a cat"), list_given(["a cat", "a dog"]), list_given(None), list_given(3)
    (['a cat'], ['a cat', 'a dog'], [], [3])
    """
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def split_names(text: str | Sequence[str]) -> list[str]:
    """Return names that were given as a list, or as one text with commas.

    Examples
    --------
    >>> split_names("knn, linear")
    ['knn', 'linear']
    >>> split_names(["knn"])
    ['knn']
    """
    listed = text.split(",") if isinstance(text, str) else text
    return [one.strip() for one in listed if one.strip()]


def split_given(given: Any) -> list[str]:  # noqa: ANN401 - as list_given
    """Return names that may be given several times, each time with commas between.

    Examples
    --------
    >>> split_given(["knn, linear", "lda"]), split_given(None)
    (['knn', 'linear', 'lda'], [])
    """
    return [name for one in list_given(given) for name in split_names(str(one))]


Level = Annotated[
    str,
    Option(
        "Rank of the answers: kingdom, phylum, class, order, family, genus or species; or any "
        "column of the image table.",
        ("--level", "--rank", "-l"),
        RANK_NAMES,
    ),
]
OnlyLevel = Annotated[
    str | None, Option("Only of this rank or column.", ("--level", "--rank", "-l"), RANK_NAMES)
]
RowNumbers = Annotated[
    int | Sequence[int] | None,
    Option("Row of the store, by its number; repeat for several.", shell=list[int]),
]
PromisedAccuracy = Annotated[
    float,
    Option(
        "Share of answers that --abstain auto promises to be right, with a chance of 95%.",
        least=0,
        most=1,
        when=(With("abstain", ("auto",)),),
    ),
]
SafeCsv = Annotated[
    bool,
    Option(
        "Put an apostrophe before texts in a CSV that begin with =, +, - or @, which a "
        "spreadsheet would compute."
    ),
]
Taxa = Annotated[
    str | Path | None,
    Option(
        "Taxon list: a CSV, TSV or Parquet file with rank columns, a text file with a name a line, "
        "or a list that ships. By default the labels in the store. Zero-shot also takes "
        "treeoflife, the published texts of all taxa, which are asked where no label names a "
        "taxon, and a .npy of such.",
        shell=str,
    ),
]
NamedClasses = Annotated[
    str | Sequence[str] | Mapping[str, str | Sequence[str]] | None,
    Option(
        "Classes that are no taxa, such as cat,bird,bear, or values of the column that --level "
        "names; a .txt file with one a line, or a table with the columns class and text, and a row "
        "for each text of a class.",
        shell=str,
    ),
]
RankColumns = Annotated[
    Mapping[str, str] | str | Sequence[str] | None,
    Option(
        "Column of the table that holds a rank under another name. RANK=: no column holds it; one "
        "of that name is kept as source_RANK.",
        ("--rank-column",),
        shell=list[str],
        metavar="RANK=COLUMN",
    ),
]
ListColumns = Annotated[RankColumns, With("taxa")]
TextTypeName = Annotated[
    str,
    Option(
        "How a taxon is written: sci, com, taxon, sci_com, taxon_com or asis.",
        choices=TEXT_TYPE_NAMES,
    ),
]
HeadName = Annotated[
    str | None,
    Option(
        "Text head to take text embeddings from, instead of --text-type and --templates: one in "
        "the store (see: bioprobe store import), treeoflife, or a .npy of one; or a head of image "
        "prototypes (bioprobe taxa prototypes), which asks by pictures alone. Its taxa are the "
        "classes unless --taxa says otherwise, and added taxa stand beside them by the head's own "
        "recipe; only for these a model is loaded, once.",
    ),
]
Within = Annotated[
    str | Path | Sequence[str | Path] | None,
    Option(
        "What may occur: taxa at any rank with commas between, with ! before one that may not, or "
        "files (GBIF, eBird, Darwin Core, SpeciesNet's geofence, a name a line). All candidates "
        "are scored; what may not occur is not answered, and share_outside says how much of the "
        "probability it has.",
        shell=list[str],
        metavar="TAXA|FILE",
    ),
]
Country = Annotated[
    str | None,
    Option(
        "Country where all pictures were taken, by code or name, for rules of a list that count in "
        "some. [default: the column country or countryCode]",
        when=(With("within"),),
    ),
]
Admin1 = Annotated[
    str | None,
    Option(
        "State or province where all pictures were taken. [default: the column admin1 or "
        "stateProvince]",
        when=(With("within"),),
    ),
]
Site = Annotated[
    str | None,
    Option(
        "Site where all pictures were taken. [default: the column site or location]",
        when=(With("within"),),
    ),
]
SensitiveTaxa = Annotated[
    str | Path | None,
    Option(
        "List of taxa whose places are told less exactly: a .txt file with a name a line, or a "
        "table with rank columns. Taxa that a column of the store calls threatened (VU, EN, CR) "
        "count too.",
        shell=Path,
    ),
]
Generalise = Annotated[
    str, Option("How exactly, in degrees or km: 0.1, 10km; none: as exactly as is known.")
]
ThroughAdapter = Annotated[
    str | None,
    Option(
        "Probe of the kind adapter in the store, through which the pictures are seen: what it "
        "learnt from labelled images moves them towards their texts, those of species too that it "
        "never saw.",
        ("--adapter",),
    ),
]
Templates = Annotated[
    str,
    Option(
        "Template set (see: bioprobe prompts list), a text file, or one template with {} where the "
        "name goes.",
        choices=(
            "plain", "bare", "field", "camera-trap", "herbarium", "illustration", "insect-drawer",
            "museum", "openai", "underwater",
        ),
    ),
]  # fmt: skip
Where = Annotated[
    str | None, Option("Only images that meet a condition, such as \"family == 'Felidae'\".")
]
Mask = Annotated[str | None, Option("Only images that a named mask keeps.")]
Part = Annotated[
    str | None,
    Option("Only images of a part of a split, NAME:PART, such as default:test.", ("--split",)),
]
WhichLabels = Annotated[
    str | None,
    Option(
        "Which labels count. given: those that came with the pictures. confirmed: those that "
        "people gave (see: bioprobe annotations). both: these where there are any, else the given. "
        "[default: both]",
        choices=LABELS_COUNTED,
        fixed=True,
    ),
]
Engine = Annotated[
    str,
    Option(
        "ray: the nodes of a Ray cluster work on parts of the store, which all of them see under "
        "the same name (extra: bioprobe[ray]).",
        choices=ENGINES,
        fixed=True,
    ),
]
EngineThreads = Annotated[
    int | None,
    Option(
        "Cores that a part takes on a node; by default four, or as many as the smallest node has.",
        least=1,
        when=(With("engine", (RAY,)),),
    ),
]
NumberOfAnswers = Annotated[int, Option("Answers an image.", ("-k", "--k"), least=1)]
OwnColumns = Annotated[
    str | Sequence[str] | None,
    Option(
        "Columns of your own table to write beside each answer: all, none, or names with commas "
        "between. By default those whose names say which picture, where and when.",
        ("--columns",),
        ("all", "none"),
        shell=str,
        metavar="NAME,…",
    ),
]
PriorTable = Annotated[
    str | Path | None,
    Option(
        "Table of how frequent taxa are: taxon (of any rank), weight (a probability, frequency or "
        "count), and columns such as site and month that the pictures have too. Probabilities are "
        "multiplied by the weight of their class.",
        shell=str,
        metavar="FILE",
    ),
]
PriorFloor = Annotated[
    float,
    Option(
        "Least weight of a class, relative to the greatest of its place: what the table does not "
        "list has it, so that a prior never forbids.",
        most=1,
        when=(With("prior"),),
    ),
]
Beside = Annotated[
    str | Sequence[str] | None,
    Option(
        "Columns that stand beside the vectors of linear, lda, ridge and hierarchical, such as "
        "latitude,longitude,date or site: numbers, dates, places, and categories as they are, or "
        "as said behind a colon: site:category.",
        ("--with", "--with-columns"),
        shell=list[str],
        metavar="COLUMN,…",
    ),
]
Per = Annotated[
    str | None,
    Option(
        "image: what is in each image, from the answers to its regions: what was found, in how "
        "many regions, and the best of these; a person comes first. sequence: one answer to the "
        "pictures of a burst or event together.",
        choices=("image", "sequence"),
        fixed=True,
    ),
]
SequenceColumn = Annotated[
    str | None,
    Option(
        "Column whose equal values are one sequence. [default: sequence_id, seq_id or event_id; "
        "without these captured_at, as for --gap-seconds 60]",
        when=(With("per", ("sequence",)), Without("gap_seconds")),
    ),
]
GapSeconds = Annotated[
    float | None,
    Option(
        "Pictures of one camera are a sequence that captured_at (see: bioprobe embed --exif) tells "
        "no further apart. A camera is what camera, deployment_id and location say together, else "
        "the folder.",
        least=0,
        when=(With("per", ("sequence",)),),
    ),
]
ContentThresholds = Annotated[
    str | None,
    Option(
        "Thresholds by which boxes and answers together say what a picture holds, "
        "in the column decided; by default SpeciesNet's: detected=0.7, seen=0.2, "
        "classified_human=0.5, classified_vehicle=0.4, blank=0.5, surely_blank=0.99, taxon=0.8, "
        "taxon_seen=0.65, rolled_up=0.65, animal=0.5.",
        metavar="NAME=NUMBER,…",
        when=(With("per", ("image",)),),
    ),
]
PoolingRule = Annotated[
    str,
    Option(
        "How the answers to a sequence become one: log-mean (of probabilities; evaluate compares "
        "it with the others), mean, max or vote.",
        choices=("log-mean", "mean", "max", "vote"),
        fixed=True,
        when=(With("per", ("sequence",)),),
    ),
]
Split = Annotated[
    str | None,
    Option(
        "Split whose part train is learnt from; none: all labelled images.",
        ("--split",),
        shell=str,
    ),
]
Seed = Annotated[int, SeedOption("Seed of folds and of whatever is drawn.")]
StoreFolder = Annotated[
    str | Path,
    Option(
        "Folder of the store; to read one, its address too, s3://BUCKET/STORE.",
        ("--store", "-s"),
        shell=Path,
    ),
]
Model = Annotated[
    str | None,
    Option(
        "Encoder: a short name (see: bioprobe models list), hf-hub:org/name[@revision], "
        "local-dir:FOLDER, arch/tag, arch/FILE.pt, transformers:NAME, timm:NAME or onnx:FILE.",
        ("--model", "-m"),
        (
            "bioclip-2", "bioclip-2.5", "bioclip", "biocap", "clip-b16", "clip-b32", "siglip2-b16",
            "dinov2-b", "sketch", "local-dir:", "hf-hub:", "transformers:", "timm:", "onnx:",
        ),
    ),
]  # fmt: skip
AllowOutside = Annotated[
    bool,
    Option(
        "Also read files that a table or data set names outside of its folder, of --root and of "
        "the other folders that are named: only of those whose author you trust."
    ),
]
Exclude = Annotated[
    str | Sequence[str] | None,
    Option(
        "What lies below a folder that is named and matches is left out, beside bins, other "
        "programs' thumbnails and hidden files; by its path from the folder, or its name.",
        shell=list[str],
        metavar="GLOB",
    ),
]
Include = Annotated[
    str | Sequence[str] | None,
    Option(
        "What matches is taken in spite of --exclude and of what is left out by default.",
        shell=list[str],
        metavar="GLOB",
    ),
]
MinConfidence = Annotated[
    float,
    Option(
        "Of a detector's boxes, those that are as sure as this are regions; how many are not is "
        "said.",
        least=0,
        most=1,
    ),
]
Categories = Annotated[
    str | Sequence[str] | None,
    Option(
        "Only detections of these categories, with commas between, such as animal; a person is "
        "human. By default all.",
        ("--category",),
        shell=str,
        metavar="NAME,…",
    ),
]
NoLabel = Annotated[
    str | Sequence[str] | None,
    Option(
        "Labels that are none, with commas between, such as '#N/A,?,TBD', whatever their case: "
        "these cells are left empty.",
        shell=str,
        metavar="VALUE,…",
    ),
]
Device = Annotated[
    str,
    Option(
        "Where the encoder and large products run: auto, cpu, cuda, cuda:1 or mps.",
        choices=("auto", "cpu", "cuda", "mps"),
    ),
]
Backend = Annotated[
    str,
    Option(
        "What runs whole batches: torch, as the model's own library does; traced, packed for the "
        "processor; numpy, by its products, a thread for some of the rows each; onnx, openvino, "
        "zentorch or, on a GPU, tensorrt, where installed; compile, which takes minutes; auto, the "
        "one that is measured to be fastest here, with the same vectors (cosine at least .9999).",
        choices=(
            "auto",
            "torch",
            "traced",
            "numpy",
            "onnx",
            "openvino",
            "zentorch",
            "tensorrt",
            "compile",
        ),
    ),
]
Precision = Annotated[
    str | None,
    Option(
        "fp32, bf16 or fp16: what the weights are cast to. auto is bf16 where that is measured to "
        "be faster and to give the same vectors, else fp32. int8 and fp8: the model as it was "
        "quantised here (see: bioprobe models quantise), into a store of its own. Of embed by "
        "default as the store was begun, a new one auto.",
        choices=("auto", "fp32", "bf16", "fp16", "int8", "fp8"),
    ),
]
