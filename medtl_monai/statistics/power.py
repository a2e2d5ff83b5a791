"""How many seeds an effect needs, and which effect a number of seeds can show."""

from __future__ import annotations

import math

from scipy import optimize, special, stats

from medtl_monai.errors import ConfigError
from medtl_monai.statistics.scores import check_fraction

_MANY = 1000  # seeds, from where the t distribution is the normal one to within one seed in a thousand
_FARTHEST = 10.0  # critical values of t; at one degree of freedom a power of 0.999 needs a shift of 3.3 of them


def seeds_needed(
    sd: float, effect: float, power: float = 0.8, *, level: float = 0.95, case_error: float = 0.0
) -> int | None:
    """Fewest seeds with which a two-sided paired t test shows a true difference with the given power.

    Exact (noncentral t) for ``case_error`` 0. An SD that comes from few seeds is itself uncertain, and so is the
    result: it is a rough plan, not a promise.

    Args:
        sd: standard deviation of the seeds' mean differences, in units of the score.
        effect: true difference to be shown, in the same units; its sign does not matter.
        power: wanted chance to show it.
        level: 1 minus the accepted chance of a false positive.
        case_error: standard error that more seeds do not remove (`Interval.case_error`). With it the result errs
            towards too many seeds.

    Returns:
        The number of seeds, at least 2; None if no number of seeds is enough, because of ``case_error``.

    Raises:
        ConfigError: no effect, a negative or non-finite SD, or power and level not between 0 and 1.
    """
    _check_sizes(sd, effect, case_error)
    check_fraction(power, "power")
    quantiles = _quantile(level) + float(special.ndtri(power))
    left = (abs(effect) / quantiles) ** 2 - case_error**2 if quantiles > 0 else math.inf
    if left <= 0:
        return None
    normal = sd**2 / left
    if normal > _MANY:
        return math.ceil(normal)
    seeds = max(2, int(normal))  # the t test never needs fewer than the normal formula says
    while normal > 0 and _power(abs(effect) / math.sqrt(sd**2 / seeds + case_error**2), seeds - 1, level) < power:
        seeds += 1
    return seeds


def smallest_effect(standard_error: float, degrees_of_freedom: float, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest true difference that a t test with this standard error shows with the given power.

    Raises:
        ConfigError: the standard error or the degrees of freedom are not positive, or power and level not between 0
            and 1, or power is not above the chance of a false positive.
    """
    check_fraction(power, "power")
    check_fraction(level, "level")
    if not (0 < standard_error < math.inf and degrees_of_freedom > 0 and power > 1 - level):
        raise ConfigError(
            "no smallest effect exists",
            expected="a positive standard error, positive degrees of freedom and a power above 1 - level",
            got=(standard_error, degrees_of_freedom, power),
        )
    farthest = _FARTHEST * _critical(degrees_of_freedom, level)
    return standard_error * float(
        optimize.brentq(lambda shift: _power(shift, degrees_of_freedom, level) - power, 0.0, farthest)
    )


def _power(shift: float, degrees_of_freedom: float, level: float) -> float:
    """Chance that a two-sided t test rejects when the mean lies ``shift`` standard errors from zero."""
    limit = _critical(degrees_of_freedom, level)
    if shift > _FARTHEST * limit:
        return 1.0
    return float(stats.nct.sf(limit, degrees_of_freedom, shift) + stats.nct.sf(limit, degrees_of_freedom, -shift))


def _critical(degrees_of_freedom: float, level: float) -> float:
    return float(special.stdtrit(degrees_of_freedom, 0.5 + level / 2))


def _quantile(level: float) -> float:
    return float(special.ndtri(0.5 + check_fraction(level, "level") / 2))


def _check_sizes(sd: float, effect: float, case_error: float) -> None:
    fine = 0 < abs(effect) < math.inf and 0 <= sd < math.inf and 0 <= case_error < math.inf
    if not fine:
        raise ConfigError(
            "no number of seeds exists",
            expected="a difference that is not 0, and spreads that are finite and not negative",
            got=f"difference {effect}, SD {sd}, case error {case_error}",
        )
