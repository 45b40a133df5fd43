"""What happened, in a few sentences of numbers; each repeats what the ledgers say and judges by intervals."""

from __future__ import annotations

from entropick.page import words
from entropick.report import comparisons
from entropick.report.content import first_space, listed
from entropick.report.forecasts import forecasts
from entropick.report.look import Look
from entropick.report.record import ArmRecord, StudyRecord
from entropick.report.relations import correlation_of, described, points
from entropick.report.summary import metric_over_seeds, real_over_seeds, shares_over_seeds

_COURSES = ("generalization_score", "knn_entropy", "frechet_distance")


def findings(study: StudyRecord) -> list[str]:
    """Sentences for the top of the page; none before the second iteration."""
    largest = study.by_size()[0]
    arms = [arm for arm in largest.arms if arm.last is not None]
    plain = [arm for arm in arms if arm.method == comparisons.CONTROLS[0]]
    told = [_course(largest, arm) for arm in (plain if len(arms) > len(plain) > 0 else arms)[:4]]
    told += _against(largest)
    told += [_real_share(arms), _relation(study), _forecast(largest)]
    return [sentence for sentence in told if sentence]


def _course(study: StudyRecord, arm: ArmRecord) -> str:
    """How the plain loop went: from the first to the last iteration."""
    first, last = arm.iterations[0], arm.last or 0
    if first == last:
        return ""
    space, told = first_space(study), []
    for name in _COURSES:
        key = f"{name}/{space}"
        before, after = metric_over_seeds(arm, first, key), metric_over_seeds(arm, last, key)
        if before and after:
            real = real_over_seeds(study, key)
            beside = f" (real data {words.number(real.mean, 3)})" if real else ""
            label, verb = words.in_sentence(words.words(key).label), "rose" if after.mean > before.mean else "fell"
            told.append(f"{label} {verb} from {words.number(before.mean, 3)} to {words.number(after.mean, 3)}{beside}")
    return f"{arm.name}, iteration {first} to {last}: {'; '.join(told)}." if told else ""


def _against(study: StudyRecord) -> list[str]:
    """In what the arms of each family are better and worse than its random control, or else than its plain loop."""
    told: dict[tuple[str, str, str], list[str]] = {}
    closest = {found.arm.name: found for found in comparisons.comparisons(study)}
    for found in closest.values():
        told.setdefault((found.arm.family, found.control.name, _verdict(study, found)), []).append(found.arm.method)
    return [
        f"{family}: {listed(methods)} beside {control}: {verdict}."
        for (family, control, verdict), methods in told.items()
    ]


def _verdict(study: StudyRecord, found: comparisons.Comparison) -> str:
    names = words.short_names(comparisons.measures(study))
    better = [name for name, verdict in zip(names, found.verdicts, strict=True) if verdict > 0]
    worse = [name for name, verdict in zip(names, found.verdicts, strict=True) if verdict < 0]
    parts = [f"better in {listed(better)}" if better else "", f"worse in {listed(worse)}" if worse else ""]
    return "; ".join(part for part in parts if part) or _undecided(found)


def _undecided(found: comparisons.Comparison) -> str:
    if any(difference and difference.n > 1 for difference in found.differences):
        return "no measure differs clearly"
    return "one seed, so no interval"


def _real_share(arms: list[ArmRecord]) -> str:
    """Which arm kept most real images, beside an equal share of all sources."""
    shares = [(shares_over_seeds(arm, arm.last or 0).get(0, 0.0), arm) for arm in arms]
    if not shares or max(share for share, _ in shares) == 0:
        return ""
    share, arm = max(shares, key=lambda found: found[0])
    last = arm.last or 1
    return (
        f"Most real images are kept by {arm.name}: {words.percent(share)} of its training set at iteration {last}, "
        f"where an equal share of all sources would be {words.percent(1 / last)}."
    )


def _forecast(study: StudyRecord) -> str:
    """Which arms are on their way to copying."""
    found = [one for one in forecasts(study, first_space(study)) if one.found.iteration is not None]
    return f"Forecast: {'; '.join(f'{one.arm.name} {one.told}' for one in found)}." if found else ""


def _relation(study: StudyRecord) -> str:
    """How the score goes with the entropy and with the variance of the training set."""
    space, look = first_space(study), Look(study)
    told = []
    for name, label in (("knn_entropy", "entropy"), ("total_variance", "variance")):
        found = correlation_of(points(study, look, f"generalization_score/{space}", f"{name}/{space}"))
        told += [f"with {label} r = {described(found)}"] if found else []
    return f"The logarithm of the generalization score goes {', '.join(told)}." if told else ""
