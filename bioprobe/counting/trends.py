"""Trends: by how much a taxon's rate changes from year to year, with the site as the unit."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MissingExtraError, SelectionError
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd

#: What a trend takes: sites with effort in two years at least, years, and records at these.
FEWEST_SITES, FEWEST_YEARS, FEWEST_RECORDS = 5, 3, 10
# A change from year to year of more than this factor is none that data such as these can tell.
_STEEPEST = 20.0
_CHANCE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Trend:
    """By how much the rate of a taxon changes from year to year.

    Parameters
    ----------
    taxon : str
    ratio, low, high : float
        Rate of a year over that of the year before, with the interval of 95%.
    n_sites, n_years, n_records : int
        That tell of it: sites with records, and with effort in two years at least.
    camera_days : float
        At these sites.
    dispersion : float
        Pearson's chi-squared by degrees of freedom: 1 of independent records.
    p_years : float
        How probable it is that years differ from the trend by as much as they do, if each site
        varied by itself.
    years : DataFrame
        ``year``, ``n_records``, ``camera_days`` and ``rate`` per 100 camera-days, of all sites.
    """

    taxon: str
    ratio: float
    low: float
    high: float
    n_sites: int
    n_years: int
    n_records: int
    camera_days: float
    dispersion: float
    p_years: float
    years: pd.DataFrame


def estimate_trend(taxon: str, table: pd.DataFrame) -> Trend:
    r"""Estimate a rate ratio from year to year, within sites.

    Records have the mean :math:`\mu_{st} = d_{st} e^{a_s + b t}` at site s and year t, with
    :math:`d_{st}` camera-days: each site is compared with itself, so that sites which come and go
    make no trend. The regression is negative binomial, of variance :math:`\mu + \alpha \mu^2`,
    with the :math:`\alpha` for which Pearson's chi-squared is as large as its degrees of freedom
    (0, which is Poisson's, where it is no larger). The interval is that of a jackknife that leaves
    a site out at a time, by one step from the fit, and as wide at least as the model's observed
    information has it, each with Student's quantile: records of a site need not be independent, nor
    the variance be as assumed.

    Parameters
    ----------
    taxon : str
    table : DataFrame
        One row a site and year: ``site``, ``year``, ``n_records``, ``camera_days`` (> 0).

    Raises
    ------
    SelectionError
        If there are too few sites, years or records.
    MissingExtraError
        If statsmodels is not installed.

    References
    ----------
    Breslow 1984, *Extra-Poisson variation in log-linear models* (:math:`\alpha`); MacKinnon,
    Nielsen and Webb 2023, *Fast and reliable jackknife and bootstrap methods for cluster-robust
    inference* (CV3, few clusters); Bell and McCaffrey 2002, *Bias reduction in standard errors for
    linear regression with multi-stage samples* (degrees of freedom of unlike clusters).
    """
    from scipy.stats import t

    years = _sum_years(table)
    used = _choose(taxon, table)
    base = _fit(used, used["year"].to_numpy(dtype=np.float64)[:, None])
    result, alpha = _disperse(used, base)
    estimate = float(result.params[0])
    n = used["site"].nunique()
    errors = _leave_out(used, result, alpha)
    half = max(float(t.isf(_CHANCE / 2, n_free)) * error for error, n_free in errors)
    if abs(estimate) > math.log(_STEEPEST):
        msg = (
            f"no trend of {taxon} is told: its records are nearly all of years at one end, and no "
            "rate ratio says how it came or went"
        )
        raise SelectionError(msg)
    if not half < math.log(_STEEPEST):
        msg = (
            f"the trend of {taxon} cannot be told: it hangs on a site or two of {n}, or on too few "
            "records; wait for more years or sites"
        )
        raise SelectionError(msg)
    dispersion, p_years = _check_fit(used, base)
    return Trend(
        taxon, math.exp(estimate), math.exp(estimate - half), math.exp(estimate + half), n,
        used["year"].nunique(), int(used["n_records"].sum()), float(used["camera_days"].sum()),
        dispersion, p_years, years,
    )  # fmt: skip


def _disperse(used: pd.DataFrame, base: Any) -> tuple[Any, float]:  # noqa: ANN401 - statsmodels' own
    """Fit again, with as much more variance than Poisson's as there is."""
    from scipy.optimize import brentq

    counts = used["n_records"].to_numpy(dtype=np.float64)
    year = used["year"].to_numpy(dtype=np.float64)[:, None]
    result, alpha = base, 0.0
    for _ in range(3):
        mean = np.maximum(result.mu, 1e-9)

        def excess(size: float, mean: Doubles = mean) -> float:
            chi = ((counts - mean) ** 2 / (mean + size * mean**2)).sum()
            return float(chi - base.df_resid)

        if base.df_resid < 1 or excess(0.0) <= 0:
            return base, 0.0
        alpha = float(brentq(excess, 0.0, 1e3)) if excess(1e3) < 0 else 1e3
        result = _fit(used, year, alpha)
    return result, alpha


def _leave_out(
    used: pd.DataFrame,
    result: Any,  # noqa: ANN401 - statsmodels' own
    alpha: float,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the standard errors of the jackknife and of the model, with degrees of freedom.

    What a site says is measured by the observed information: of few years a site, the expected one
    is too large by as much as the fit follows chance.
    """
    sites = np.unique(used["site"].astype(str), return_inverse=True)[1]
    year = used["year"].to_numpy(dtype=np.float64)
    counts = used["n_records"].to_numpy(dtype=np.float64)
    mean = np.maximum(np.asarray(result.mu), 1e-12)
    weight = mean * (1 + alpha * counts) / (1 + alpha * mean) ** 2
    # What a site says of the trend is how its years differ from its own mean year.
    centre = np.bincount(sites, weight * year) / np.bincount(sites, weight)
    apart = year - centre[sites]
    residual = (counts - mean) / (1 + alpha * mean)
    score, information = np.bincount(sites, apart * residual), np.bincount(sites, weight * apart**2)
    rest = information.sum() - information
    if not (rest > 0).all():
        return (math.inf, 1.0), (math.inf, 1.0)
    n = len(rest)
    spread = math.sqrt((n - 1) / n * float(((score / rest) ** 2).sum()))
    shares = information / rest
    n_effective = float(shares.sum() ** 2 / (shares**2).sum())
    by_model = 1 / math.sqrt(information.sum())
    n_rest = max(1.0, float(result.df_resid))
    return (spread, max(1.0, min(n - 1.0, n_effective - 1.0))), (by_model, n_rest)


def _sum_years(table: pd.DataFrame) -> pd.DataFrame:
    years = table.groupby("year", as_index=False)[["n_records", "camera_days"]].sum()
    return years.assign(rate=100 * years["n_records"] / years["camera_days"])


def _choose(taxon: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that tell of a trend: of sites with records, and effort in two years.

    Raises
    ------
    SelectionError
        If there are too few.
    """
    worked = table[table["camera_days"] > 0]
    by_site = worked.groupby("site")
    tells = (by_site["year"].nunique() >= 2) & (by_site["n_records"].sum() > 0)
    used = worked[worked["site"].isin(tells.index[tells])]
    n_sites, n_years = int(tells.sum()), worked["year"].nunique()
    n_records = int(used["n_records"].sum())
    for what, got, fewest in (
        ("years", n_years, FEWEST_YEARS),
        ("sites with records and cameras in two years or more", n_sites, FEWEST_SITES),
        ("years at such sites", used["year"].nunique(), FEWEST_YEARS),
        ("records at such sites", n_records, FEWEST_RECORDS),
    ):
        if got < fewest:
            msg = f"no trend of {taxon} is told from {got} {what}; {fewest} or more are needed"
            raise SelectionError(msg)
    return used


def _fit(used: pd.DataFrame, columns: Doubles, alpha: float = 0.0) -> Any:  # noqa: ANN401
    """Fit a regression on columns and sites.

    Raises
    ------
    MissingExtraError
        If statsmodels is not installed.
    """
    try:
        from statsmodels.genmod import families
        from statsmodels.genmod.generalized_linear_model import GLM
    except ImportError as error:
        msg = (
            "trends need a library that is not installed; install it: pip install "
            "'bioprobe[counting]'"
        )
        raise MissingExtraError(msg) from error
    sites = np.unique(used["site"].astype(str), return_inverse=True)[1]
    dummies = np.eye(sites.max() + 1)[sites]
    centred = columns - columns.mean(axis=0)
    design = np.column_stack([centred, dummies])
    with warnings.catch_warnings():
        # Years in which nothing was seen are fitted by rates that end at nothing.
        warnings.simplefilter("ignore")
        return GLM(
            used["n_records"].to_numpy(dtype=np.float64), design,
            family=families.NegativeBinomial(alpha=alpha) if alpha else families.Poisson(),
            offset=np.log(used["camera_days"].to_numpy(dtype=np.float64)),
        ).fit(maxiter=200)  # fmt: skip


def _check_fit(used: pd.DataFrame, base: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return the dispersion, and how probable years as different from the trend are."""
    from scipy.stats import f

    years = used["year"].to_numpy(dtype=np.float64)
    n_free = int(base.df_resid)
    dispersion = float(base.pearson_chi2 / n_free) if n_free > 0 else math.nan
    names: npt.NDArray[np.float64] = np.unique(years)
    if len(names) < 3:
        return dispersion, math.nan
    # One year each, but for the first and the last, which the line through them says.
    each = np.column_stack([years, *((years == one).astype(float) for one in names[1:-1])])
    full = _fit(used, each)
    n_more = len(names) - 2
    rest = n_free - n_more
    if rest < 1:
        return dispersion, math.nan
    # Records that come by themselves vary by as much as Poisson's at least.
    ratio = (base.deviance - full.deviance) / n_more / max(full.pearson_chi2 / rest, 1.0)
    return dispersion, float(f.sf(max(ratio, 0.0), n_more, rest))
