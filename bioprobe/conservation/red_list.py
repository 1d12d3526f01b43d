"""The API of the IUCN Red List, version 4, asked with the user's own token.

What it answers is kept in the cache under the version of the Red List, and is asked anew once there
is another: its terms allow no copy of it to be passed on, so that none ships with bioprobe. It is
asked one call after the other, with a pause between.

References
----------
IUCN Red List API, version 4, https://api.iucnredlist.org/api-docs; *IUCN Red List Terms and
Conditions of Use*, version 3 (no redistribution, citation with the version).
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import email.utils
import functools
import hashlib
import ipaddress
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bioprobe.cache import find_cache
from bioprobe.conservation.categories import Category, read_category
from bioprobe.conservation.statuses import (
    NO_LINEAGE,
    PARTS,
    Lineage,
    Status,
    Statuses,
    read_year,
)
from bioprobe.errors import SourceError
from bioprobe.files import parse_json, write_text
from bioprobe.progress import Progress, Step
from bioprobe.result import WARNING, Note, name_some
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.parsed_name import ParsedName
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.synonyms import accept_names

ADDRESS = "https://api.iucnredlist.org/api/v4/"
#: Variables of the environment: the token, and another address, such as that of a proxy.
KEY_VARIABLE, ADDRESS_VARIABLE = "IUCN_REDLIST_KEY", "IUCN_REDLIST_ADDRESS"
#: Where an assessment counts: this is the whole world.
GLOBAL = "1"
#: From so many species of a family on its pages are read, of 100 each.
FEWEST_OF_FAMILY = 3
_PAGE_ITEMS, _MOST_PAGES = 100, 1000
# A page of the largest family has less.
_MOST_BYTES = 64 << 20
# Of headers, in the spellings of several versions.
_TOTAL = ("total-count", "x-total-count", "total", "x-total")
_PAGES = ("total-pages", "x-total-pages")
# Seconds to wait for where it answers 429 and not how long; each time twice as many.
_BUSY_S = 10
_SHOWN = 5
_SIGN_UP = "https://api.iucnredlist.org/users/sign_up"


@dataclasses.dataclass(frozen=True)
class Manner:
    """How the API is asked.

    Parameters
    ----------
    pause_s : float
        Between two calls, at least.
    timeout_s : float
        Seconds that it may be silent.
    retries : int
        How often a call is tried again that found it busy or broken.
    longest_wait_s : float
        What it may ask to wait for; beyond, the work ends, and goes on where it was next time.
    sleep, clock : callable
        Of the machine.
    """

    pause_s: float = 0.5
    timeout_s: float = 30.0
    retries: int = 4
    longest_wait_s: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A taxon whose status is asked.

    Parameters
    ----------
    lineage : tuple of str, length 7
    below : str
        Whole name of a subspecies, ``""`` of a species and above.
    """

    lineage: Lineage
    below: str = ""

    @property
    def name(self) -> str:
        """Its lowest name."""
        return self.below or next((name for name in reversed(self.lineage) if name), "")

    @property
    def family(self) -> str:
        """Its family, ``""`` where that is not known."""
        return self.lineage[Rank.FAMILY.depth]


# How the names of families of animals and plants end.
_OF_FAMILY = ("idae", "aceae")


def want_name(parsed: ParsedName) -> Wanted:
    """Return what is asked of a scientific name alone, of which nothing above is known."""
    words = parsed.certain.split(" ")
    lineage = [*NO_LINEAGE]
    if parsed.is_uninomial:
        is_family = parsed.certain.endswith(_OF_FAMILY)
        lineage[(Rank.FAMILY if is_family else Rank.GENUS).depth] = parsed.certain
        return Wanted(tuple(lineage))
    lineage[Rank.GENUS.depth], lineage[Rank.SPECIES.depth] = words[0], " ".join(words[:2])
    return Wanted(tuple(lineage), parsed.certain if len(words) > 2 else "")


class _MissingError(Exception):
    """What was asked for is not in the list."""


class RedListClient:
    """One caller of the API.

    Parameters
    ----------
    token : str, optional
        By default that of the environment; it is in no error, log or file.
    address : str, optional
        Of the API.
    manner : Manner, optional
    cache : Path, optional
        Folder that keeps answers.

    Raises
    ------
    SourceError
        If there is no token, or it cannot be one.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        address: str | None = None,
        manner: Manner | None = None,
        cache: Path | None = None,
    ) -> None:
        self._token = _read_token(os.environ.get(KEY_VARIABLE) if token is None else token)
        self.address = _read_address(address or os.environ.get(ADDRESS_VARIABLE) or ADDRESS)
        self._manner = manner or Manner()
        host = quote(urlsplit(self.address).netloc, safe="")
        self._cache = (cache or find_cache("red-list")) / host
        self._pool: Any = None
        self._last_s = -float("inf")
        self._version: str | None = None
        self._is_offline = False
        self.n_calls = 0
        self.n_kept = 0
        self.notes: list[Note] = []

    def __repr__(self) -> str:
        return f"<RedListClient of {self.address}>"

    @property
    def version(self) -> str:
        """Version of the Red List, such as ``2025-1``."""
        if self._version is None:
            try:
                answer, _ = self._call("information/red_list_version", {})
            except _MissingError:
                answer = "404"
            version = answer.get("red_list_version") if isinstance(answer, dict) else None
            if not version:
                msg = (
                    f"{self.address} does not say which version of the Red List it is of (got "
                    f"{self._show(answer)}); is it the address of the API, version 4?"
                )
                raise SourceError(msg)
            self._version = str(version)
        return self._version

    def read_family(self, family: str) -> list[dict[str, Any]] | None:
        """Return the latest global assessments of a family, None where it is not in the list.

        Each page is kept as it comes, so that what stops the work loses none.
        """
        found: list[dict[str, Any]] = []
        seen, total = set[str](), None
        for page in range(1, _MOST_PAGES + 1):
            ask = functools.partial(self._read_page, family, page)
            kept = self._keep(f"family-{family}-{page}", ask)
            if kept is None and page == 1:
                return None
            listed = kept["assessments"] if kept else []
            # A server that has no pages answers the same again.
            mark = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
            if kept is None or mark in seen:
                break
            seen.add(mark)
            found += listed
            total = kept["total"] if total is None else total
            n_pages = kept["pages"]
            if n_pages is None and total is not None:
                n_pages = -(-total // _PAGE_ITEMS)
            if not listed or (page >= n_pages if n_pages is not None
                              else len(listed) < _PAGE_ITEMS):  # fmt: skip
                break
        if total is not None and len(found) < total:
            self.notes.append(Note(
                f"warning: of {total:,} assessments of {family} {len(found):,} came; what is "
                "missing is asked by name", WARNING,
            ))  # fmt: skip
        return found

    def _read_page(self, family: str, page: int) -> dict[str, Any]:
        asked = {"latest": "true", "scope_code": GLOBAL, "page": page}
        path = f"taxa/family/{quote(family, safe='')}"
        answer, headers = self._call(path, asked)
        return {
            "assessments": self._list_assessments(answer, path),
            "total": _read_number(headers, _TOTAL), "pages": _read_number(headers, _PAGES),
        }  # fmt: skip

    def _list_assessments(self, answer: object, path: str) -> list[dict[str, Any]]:
        listed = answer.get("assessments") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            msg = (
                f"the Red List API at {self.address} answers {path} without assessments (got "
                f"{self._show(answer)}); is it the address of the API, version 4?"
            )
            raise SourceError(msg)
        return [one for one in listed if isinstance(one, dict)]

    def read_species(self, name: str) -> dict[str, Any] | None:
        """Return what is said of a taxon by its name; None where it is not in the list."""
        genus, *epithets = name.replace("\u00d7", " ").split()
        asked = {"genus_name": genus, "species_name": epithets[0] if epithets else ""}
        if len(epithets) > 1:
            asked["infra_name"] = epithets[-1]

        def ask() -> dict[str, Any]:
            answer, _ = self._call("taxa/scientific_name", asked)
            listed = self._list_assessments(answer, "taxa/scientific_name")
            return {**answer, "assessments": listed}

        kept: dict[str, Any] | None = self._keep(f"name-{name}", ask)
        return kept

    def read_assessment(self, number: int | str) -> dict[str, Any] | None:
        """Return an assessment; None where there is none of the number."""

        def ask() -> dict[str, Any] | None:
            answer, _ = self._call(f"assessment/{quote(str(number), safe='')}", {})
            return answer if isinstance(answer, dict) else {}

        kept: dict[str, Any] | None = self._keep(f"assessment-{number}", ask)
        return kept

    def _keep(self, name: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - JSON
        """Return what is kept of this version of the Red List, or ask and keep it."""
        path = self._cache / f"{quote(name.casefold(), safe=' ')}.json"
        kept = _read_kept(path)
        try:
            version = self.version
        except SourceError as error:
            if kept is None or _is_refusal(error):
                raise
            # Without a network what was asked before is all there is.
            said = f"{kept['version']}, as asked on {kept['asked']}"
            text = f"warning: {error}; what is kept is taken, of version {said}, as it may be old"
            if text not in map(str, self.notes):
                self.notes.append(Note(text, WARNING))
            self._is_offline, self._version = True, str(kept["version"])
            return kept["answer"]
        if kept is not None and (self._is_offline or kept["version"] == version):
            self.n_kept += 1
            return kept["answer"]
        try:
            answer = ask()
        except _MissingError:
            answer = None
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        entry = {"version": version, "asked": today, "name": name, "answer": answer}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry, ensure_ascii=False))
        return answer

    def _call(self, path: str, asked: Mapping[str, Any]) -> tuple[Any, Mapping[str, str]]:
        """Ask once, and again as long as it is busy or the connection breaks."""
        import urllib3

        url = self.address + path + (f"?{urlencode(asked)}" if asked else "")
        problem = ""
        for n_tried in range(self._manner.retries + 1):
            wait_s = 2.0**n_tried
            self._pause()
            self.n_calls += 1
            try:
                status, headers, body = self._send(url)
            except urllib3.exceptions.HTTPError as error:
                problem = f"the connection broke ({type(error).__name__})"
            else:
                if status == 200:
                    try:
                        return parse_json(body), headers
                    except ValueError:
                        problem = "its answer is no JSON"
                elif status == 429 or status >= 500:
                    problem = f"it answers {status}"
                    # Its limit counts calls over some time, of which it may say nothing.
                    wait_s *= _BUSY_S if status == 429 else 1
                    said_s = _read_wait(headers)
                    if said_s is not None:
                        wait_s = said_s
                    if wait_s > self._manner.longest_wait_s:
                        msg = (
                            f"the Red List API asks to wait for {wait_s:,.0f} s ({status}); what "
                            "it answered so far is kept: run this again then, and it goes on there"
                        )
                        raise SourceError(msg)
                else:
                    self._refuse(status, path)
            if n_tried < self._manner.retries:
                self._manner.sleep(wait_s)
        msg = (
            f"the Red List API at {self.address} could not be asked for {path}: {problem}, "
            f"{self._manner.retries + 1} times; what it answered before is kept: try again later"
        )
        raise SourceError(msg)

    def _refuse(self, status: int, path: str) -> None:
        if status == 404:
            raise _MissingError
        if status in {401, 403}:
            msg = (
                f"the Red List API refuses the token in {KEY_VARIABLE} ({status}): it is wrong, or "
                f"no longer valid; get one at {_SIGN_UP} and set {KEY_VARIABLE} to it"
            )
            raise _RefusedError(msg)
        msg = f"the Red List API at {self.address} answers {status} to {path}; expected 200"
        raise (_OddNameError if status in {400, 422} else SourceError)(msg)

    def _pause(self) -> None:
        now_s = self._manner.clock()
        if now_s - self._last_s < self._manner.pause_s:
            self._manner.sleep(self._manner.pause_s - (now_s - self._last_s))
        self._last_s = self._manner.clock()

    def _send(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        import urllib3

        from bioprobe import __version__

        if self._pool is None:
            self._pool = urllib3.PoolManager(
                num_pools=1, maxsize=1, retries=False, timeout=self._manner.timeout_s
            )
        headers = {
            "Authorization": self._token, "Accept": "application/json",
            "User-Agent": f"bioprobe/{__version__}",
        }  # fmt: skip
        # Another host would be told the token, so that no redirection is followed.
        response = self._pool.request(
            "GET", url, headers=headers, redirect=False, preload_content=False
        )
        try:
            body = response.read(_MOST_BYTES + 1, decode_content=True)
            if len(body) <= _MOST_BYTES:
                body += response.read(decode_content=True)
        finally:
            response.release_conn()
        if len(body) > _MOST_BYTES:
            msg = f"the Red List API answers more than {_MOST_BYTES:,} bytes; expected a page"
            raise SourceError(msg)
        lowered = {str(name).lower(): str(value) for name, value in response.headers.items()}
        return int(response.status), lowered, body

    def _show(self, answer: object) -> str:
        return str(answer).replace(self._token.removeprefix("Bearer "), "…")[:60]


class _RefusedError(SourceError):
    """The token is refused: what is kept is no help."""


class _OddNameError(SourceError):
    """A name is not to the liking of the API: others may be."""


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, _RefusedError)


def _read_token(token: str | None) -> str:
    token = (token or "").strip().strip("\"'")
    if not token:
        msg = (
            f"the Red List API asks for a token of your own: get one at {_SIGN_UP}, and set the "
            f"variable {KEY_VARIABLE} of the environment to it; or give a table of statuses"
        )
        raise SourceError(msg)
    if any(not ("!" <= one <= "~") for one in token.removeprefix("Bearer ")):
        # The library that sends it would write it into its error.
        msg = (
            f"the token in {KEY_VARIABLE} has a blank, a line break or a letter that no token has; "
            "copy it again, alone"
        )
        raise SourceError(msg)
    return token


def _read_address(address: str) -> str:
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        msg = (
            f"{ADDRESS_VARIABLE} must begin with https, so that nobody reads the token on its way; "
            f"got {parts.scheme or 'no scheme'}"
        )
        raise SourceError(msg)
    return address.rstrip("/") + "/"


def _read_kept(path: Path) -> dict[str, Any] | None:
    """Return an entry of the cache, None where there is none that is whole."""
    try:
        entry = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    is_whole = isinstance(entry, dict) and {"version", "asked", "answer"} <= entry.keys()
    return entry if is_whole else None


def _read_number(headers: Mapping[str, str], names: Sequence[str]) -> int | None:
    said = next((headers[one] for one in names if one in headers), "")
    return int(said) if said.strip().isdigit() else None


def _read_wait(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to wait for, by a number or a date."""
    said = headers.get("retry-after", "").strip()
    if not said:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return max(0.0, (at - datetime.datetime.now(tz=datetime.UTC)).total_seconds())


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The assessment that counts for a taxon, or those of regions, and whether it is no latest."""

    assessment: Mapping[str, Any] | None
    regional: tuple[Mapping[str, Any], ...] = ()
    is_old: bool = False


def _choose_assessment(assessments: Iterable[Mapping[str, Any]]) -> _Chosen:
    """Choose the assessment of a taxon that counts.

    Global ones alone do: of the latest the newest; where none is the latest, the newest published.

    Examples
    --------
    >>> wolf = {"latest": True, "year_published": "2018", "assessment_id": 1, "scopes": ["2"]}
    >>> older = {"latest": False, "year_published": "2010", "assessment_id": 2, "scopes": ["1"]}
    >>> _choose_assessment([wolf]).assessment, _choose_assessment([wolf, older]).is_old
    (None, True)
    """
    listed = list(assessments)
    whole = [one for one in listed if _is_global(one)]
    latest = [one for one in whole if one.get("latest")]
    if whole:
        return _Chosen(max(latest or whole, key=_sort_key), is_old=not latest)
    newest: dict[str, Mapping[str, Any]] = {}
    for one in sorted(listed, key=lambda one: (bool(one.get("latest")), _sort_key(one))):
        newest[_name_scopes(one)] = one
    return _Chosen(None, tuple(one for _, one in sorted(newest.items())))


def _sort_key(one: Mapping[str, Any]) -> tuple[int, int]:
    number = str(one.get("assessment_id") or "")
    return read_year(str(one.get("year_published") or "")), int(number) if number.isdigit() else 0


def _list_scopes(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    scopes = one.get("scopes") or ()
    return [scope if isinstance(scope, Mapping) else {"code": scope} for scope in scopes]


def _is_global(one: Mapping[str, Any]) -> bool:
    scopes = _list_scopes(one)
    # Pages that were asked for the global ones may leave it out.
    return not scopes or any(str(scope.get("code")) == GLOBAL for scope in scopes)


def _name_scopes(one: Mapping[str, Any]) -> str:
    names = []
    for scope in _list_scopes(one):
        described = scope.get("description")
        said = described.get("en") if isinstance(described, Mapping) else described
        names.append(str(said or f"scope {scope.get('code')}"))
    return " & ".join(names) or "region"


class Asker:
    """Asks for the statuses of taxa: by pages of a family where several of it are wanted.

    Parameters
    ----------
    client : RedListClient
    synonyms : mapping of str to str, optional
        Synonym to accepted name; names that are not in the list are tried by these.
    progress : callable, optional
        Told after each name and family.
    """

    def __init__(
        self,
        client: RedListClient,
        synonyms: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._client = client
        self._synonyms = dict(synonyms or {})
        self._progress = progress
        self._missing: list[str] = []
        self._old: list[str] = []
        self._regional: list[str] = []
        self._unread: list[str] = []
        self._above: list[str] = []
        self._odd: list[str] = []

    def ask(self, wanted: Iterable[Wanted]) -> Statuses:
        """Ask for the statuses of taxa.

        Parameters
        ----------
        wanted : iterable of Wanted
            Of any rank: of a genus or family all species of the list are found.

        Raises
        ------
        SourceError
            If the API cannot be asked.
        """
        asked = list(dict.fromkeys(one for one in wanted if one.name))
        by_family: dict[str, list[Wanted]] = collections.defaultdict(list)
        for one in asked:
            by_family[one.family].append(one)
        found: dict[str, Status] = {}
        n_done = 0
        for family, several in by_family.items():
            pages = self._find_pages(family, several)
            for one in several:
                for status in self._find(one, pages):
                    found.setdefault(status.name.casefold(), status)
                n_done += 1
                if self._progress is not None:
                    self._progress(Step(n_done, len(asked), "taxa asked of the Red List", 0))
        client = self._client
        about = {
            "red_list_version": client.version, "api": "v4", "address": client.address,
            "asked": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "n_calls": client.n_calls, "n_kept": client.n_kept,
        }  # fmt: skip
        source = f"the IUCN Red List {client.version}"
        return Statuses(tuple(found.values()), source, tuple(self._describe(len(asked))), about)

    def _find_pages(self, family: str, several: Sequence[Wanted]) -> dict[str, list[Any]] | None:
        """Return the assessments of a family by name of the taxon; None where it is not read.

        Empty of a family that is not in the list.
        """
        n_species = len({one.lineage[-1] for one in several if one.lineage[-1]})
        is_wide = any(not one.lineage[-1] for one in several)
        if not family or (n_species < FEWEST_OF_FAMILY and not is_wide):
            return None
        by_name: dict[str, list[Any]] = collections.defaultdict(list)
        try:
            listed = self._client.read_family(family) or ()
        except _OddNameError as error:
            self._odd.append(f"{family} ({error})")
            return {}
        for one in listed:
            said = one.get("taxon_scientific_name")
            if not said and is_wide:
                # Pages of some versions name no taxa; a species alone is asked by name then.
                said = _read_taxon(self._complete(one)).get("scientific_name")
            by_name[_write_name(said)].append(one)
        return by_name

    def _find(self, wanted: Wanted, pages: Mapping[str, list[Any]] | None) -> list[Status]:
        if not wanted.lineage[-1] and not wanted.below:
            return self._find_wide(wanted, pages)
        name = wanted.name
        listed = (pages or {}).get(name.casefold())
        if listed and _choose_assessment(listed).assessment is not None:
            return [self._make(name, wanted.lineage, listed)]
        for tried in self._list_names(wanted):
            listed = (pages or {}).get(tried.casefold())
            if listed and _choose_assessment(listed).assessment is not None:
                return [self._make(name, wanted.lineage, listed, tried)]
            try:
                answer = self._client.read_species(tried)
            except _OddNameError as error:
                self._odd.append(f"{tried} ({error})")
                return []
            if answer is not None:
                return [self._make_named(name, wanted.lineage, answer, tried)]
        if wanted.below:
            # The species says what the list does not say of what is below it.
            return self._find(dataclasses.replace(wanted, below=""), pages)
        self._missing.append(name)
        return []

    def _list_names(self, wanted: Wanted) -> list[str]:
        """List the names by which a taxon is looked for: its own, then its synonyms."""
        name = wanted.name
        names = [name]
        if not wanted.below:
            names.append(accept_names(wanted.lineage, self._synonyms)[-1])
        names.append(self._synonyms.get(name, name))
        names += [other for other, accepted in self._synonyms.items() if accepted == name]
        return [one for one in dict.fromkeys(names) if " " in one]

    def _find_wide(self, wanted: Wanted, pages: Mapping[str, list[Any]] | None) -> list[Status]:
        """Find the species of a genus or family."""
        genus = wanted.lineage[Rank.GENUS.depth].casefold()
        if pages is None or (not genus and not wanted.family):
            self._above.append(wanted.name)
            return []
        found = []
        for key, listed in pages.items():
            words = key.split(" ")
            if len(words) != 2 or (genus and words[0] != genus):
                continue
            name = f"{words[0].capitalize()} {words[1]}"
            lineage = [*wanted.lineage]
            lineage[Rank.GENUS.depth], lineage[Rank.SPECIES.depth] = words[0].capitalize(), name
            found.append(self._make(name, tuple(lineage), listed))
        if not found:
            self._missing.append(wanted.name)
        return found

    def _make_named(
        self, name: str, lineage: Lineage, answer: Mapping[str, Any], tried: str
    ) -> Status:
        """Make a status of what is said of a name, which may be a synonym to the list."""
        taxon = _read_taxon(answer)
        accepted = _write_name(taxon.get("scientific_name")) or tried.casefold()
        listed = [one for one in answer.get("assessments") or () if isinstance(one, Mapping)]
        # Beside its own there may be those of its subspecies and populations.
        number = str(taxon.get("sis_id") or "")
        numbers = {str(one.get("sis_taxon_id") or "") for one in listed}
        if number in numbers - {""}:
            own = [one for one in listed if str(one.get("sis_taxon_id") or "") == number]
        else:
            named = [(one, _write_name(one.get("taxon_scientific_name"))) for one in listed]
            own = [one for one, said in named if said in {"", accepted, tried.casefold()}]
            own = own or [one for one, said in named if said.count(" ") == accepted.count(" ")]
        commons = [
            str(one["name"])
            for one in taxon.get("common_names") or ()
            if isinstance(one, Mapping)
            and one.get("name")
            and str(one.get("language", "eng")) in {"eng", "en", "English", "{}"}
        ]
        return self._make(name, lineage, own, accepted.capitalize(), commons)

    def _make(
        self,
        name: str,
        lineage: Lineage,
        listed: Sequence[Mapping[str, Any]],
        other: str = "",
        commons: Sequence[str] = (),
    ) -> Status:
        chosen = _choose_assessment(listed)
        others = (other,) if other and other.casefold() != name.casefold() else ()
        names = list(lineage)
        if names == list(NO_LINEAGE) and " " in name:
            names[Rank.GENUS.depth], names[Rank.SPECIES.depth] = name.split(" ")[0], name
        common = tuple(dict.fromkeys(commons))
        if chosen.assessment is None:
            regional = tuple(map(self._describe_region, chosen.regional))
            self._regional.append(f"{name} ({', '.join(regional) or 'none'})")
            return Status(name, Category("NE"), tuple(names), Rank.SPECIES, common,
                          regional=regional, synonyms=others)  # fmt: skip
        if chosen.is_old:
            self._old.append(f"{name} ({chosen.assessment.get('year_published') or 'no year'})")
        category = self._read_category(name, chosen.assessment)
        year = _sort_key(chosen.assessment)[0]
        return Status(name, category, tuple(names), Rank.SPECIES, common, year=year,
                      synonyms=others)  # fmt: skip

    def _read_category(self, name: str, one: Mapping[str, Any]) -> Category:
        said = self._complete(one)
        code = str(said.get("red_list_category_code") or "")
        category = read_category(code)
        if category is None or not category.code:
            self._unread.append(f"{name} ({code or 'none'})")
        if category is None:
            return Category("", code)
        if category.code != "CR":
            return category
        is_possibly = category.possibly_extinct or said.get("possibly_extinct") is True
        is_wild = said.get("possibly_extinct_in_the_wild") is True
        is_wild |= category.possibly_extinct_in_the_wild
        return dataclasses.replace(
            category, possibly_extinct=is_possibly, possibly_extinct_in_the_wild=is_wild
        )

    def _complete(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an assessment with its category, which lists may leave out."""
        number = one.get("assessment_id")
        if one.get("red_list_category_code") or number is None:
            return one
        whole = self._client.read_assessment(number) or {}
        said = whole.get("red_list_category")
        code = said.get("code") if isinstance(said, Mapping) else said
        return {**one, **whole, "red_list_category_code": code}

    def _describe_region(self, one: Mapping[str, Any]) -> str:
        code = str(self._complete(one).get("red_list_category_code") or "?")
        return " ".join(filter(None, (_name_scopes(one), code, str(one.get("year_published")))))

    def _describe(self, n_asked: int) -> list[Note]:
        """Say what was asked, and what the list does not say."""
        client = self._client
        said = [*client.notes, Note(
            f"{n_asked:,} taxa asked of the IUCN Red List {client.version}: {client.n_calls:,} "
            f"calls, {client.n_kept:,} answers kept from before; cite it as IUCN "
            f"{client.version.partition('-')[0]}, The IUCN Red List of Threatened Species, version "
            f"{client.version}, and pass no copy of it on"
        )]  # fmt: skip
        texts = (
            (self._missing, "not in the Red List, by name or synonym", WARNING),
            (self._regional, "have no global assessment, so NE (global); for regions", ""),
            (self._old, "have no assessment that is the latest: the newest published counts", ""),
            (self._unread, "have a category that is none of today: no status", WARNING),
            (self._odd, "have names that the API refuses", WARNING),
            (self._above, "cannot be asked: give their family, or a rank from family down",
             WARNING),
        )  # fmt: skip
        for names, text, kind in texts:
            if names:
                start = "warning: " if kind else ""
                note = f"{start}{len(names):,} taxa {text}: {name_some(names, _SHOWN)}"
                said.append(Note(note, kind) if kind else Note(note))
        return said


def _read_taxon(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    taxon = answer.get("taxon")
    return taxon if isinstance(taxon, Mapping) else {}


def _write_name(said: object) -> str:
    """Return a name as the list writes it (``Panthera leo ssp. persica``) in the form of ours."""
    text = str(said or "")
    parsed = None if PARTS.search(text) else read_name(text)
    return (parsed.certain if parsed else text).casefold()


def ask_red_list(
    wanted: Iterable[Wanted],
    *,
    synonyms: Mapping[str, str] | None = None,
    client: RedListClient | None = None,
    progress: Progress | None = None,
) -> Statuses:
    """Ask the Red List for the statuses of taxa, with the token of the environment.

    Raises
    ------
    SourceError
        If there is no token, it is refused, or the API cannot be asked.
    """
    return Asker(client or RedListClient(), synonyms, progress).ask(wanted)
