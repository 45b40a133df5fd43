"""What happened, in sentences that only repeat what the ledgers say and judge by intervals."""

from __future__ import annotations

from collections.abc import Collection

from entropick.page import words
from entropick.report.curves import warnings
from entropick.report.figure import Look
from entropick.report.intervals import CONTROLS, Comparison, compared_in, comparisons
from entropick.report.outcome import ACROSS, UPWARDS, state
from entropick.report.relations import correlation_of, described, points
from entropick.report.sources import garbage
from entropick.report.study import ArmRecord
from entropick.report.table import Table

_COURSES = ("generalization_score", "variance_ratio_real", "spacing_ratio", "knn_entropy", "frechet_distance")


def setting(table: Table) -> str:
    """What was compared, in one sentence of numbers."""
    study = table.study
    n_seeds = len({run.seed for _, run in study.runs()})
    n_iterations = max((n for arm in study.arms for n in arm.iterations), default=0)
    sizes = f"{_count(len(study.sizes), 'size')}, " if study.sizes else ""
    counts = f"{_count(len(study.arms), 'arm')}, {sizes}{_count(n_seeds, 'seed')}"
    compared = f"{counts}, {_count(n_iterations, 'iteration')} measured."
    data = next((run.values(0, "data") for _, run in study.runs() if run.values(0, "data")), None)
    if data is None:
        return compared
    shape = f" {words.TIMES} ".join(str(size) for size in data.get("image_shape") or [])
    n_real = words.listed([f"{size:,}" for size in study.sizes]) or f"{data.get('n_real', 0):,}"
    images = f"{n_real} real images" + (f" of {shape}" if shape else "")
    held_out = f" and {data['n_reference']:,} held out as reference" if data.get("n_reference") else ""
    return f"{compared} The data: {images}{held_out}."


def findings(table: Table) -> list[str]:
    """Sentences for the top of the page; none before the second iteration."""
    largest = table.by_size()[0]
    sentences = [f"{name}, {course}" for name, course in courses(largest).items()]
    sentences += [
        *_against(largest),
        *_beyond(largest),
        _most_real(largest),
        _without_choice(largest),
        _garbage(largest),
        _relation(table),
        *_warning(largest),
    ]
    return [sentence for sentence in sentences if sentence]


def courses(table: Table) -> dict[str, str]:
    """How the plain loops went, at most four, or all arms where no other is there: sentences by arm; of one size."""
    arms = [arm for arm in table.study.arms if arm.last is not None]
    plain = [arm for arm in arms if arm.method == CONTROLS[0]]
    first = (plain if len(arms) > len(plain) > 0 else arms)[:4]
    found = {arm.name: _course(table, arm) for arm in first if arm.iterations[0] != arm.last}
    return {name: course for name, course in found.items() if course}


def stories(table: Table, known: Collection[str] = ()) -> list[tuple[ArmRecord, list[str]]]:
    """What happened in each arm, without the course of those that are `known` already; of a study at one size."""
    return [(arm, _story(table, arm, with_course=arm.name not in known)) for arm in table.study.arms]


def _story(table: Table, arm: ArmRecord, *, with_course: bool) -> list[str]:
    if arm.last is None:
        return ["Nothing measured yet."]
    course = _course(table, arm) if with_course else ""
    state = []
    for name in ("precision", "recall"):
        key = f"{name}/{table.space}"
        if spread := table.over_seeds(arm, arm.last, key):
            state.append(f"{words.in_sentence(words.words(key).label)} {words.number(spread.mean)}")
    share = table.real_share(arm, arm.last)
    return [
        f"{course[:1].upper()}{course[1:]}",
        f"At iteration {arm.last}: {', '.join(state)}." if state else "",
        "" if share is None else f"Real images in its training set: {words.percent(share)}.",
    ]


def _course(table: Table, arm: ArmRecord) -> str:
    """An arm from its first to its last iteration, beside what real data scores; empty where nothing is measured."""
    first, last = arm.iterations[0], arm.last or 0
    parts = (
        ["its images are noise at the end, so no rise of a score is good"] if state(table, arm, last).is_noise else []
    )
    for key in (f"{name}/{table.space}" for name in _COURSES):
        before, after = table.over_seeds(arm, first, key), table.over_seeds(arm, last, key)
        if words.split_key(key)[0] in (ACROSS, UPWARDS) and not (before and after):
            # Of older ledgers only some iterations can be computed.
            continue
        a, b = (words.number(spread.mean if spread else None, 3) for spread in (before, after))
        if first == last:
            way = b
        elif before and after and a == b:
            way = f"stayed at {a}"
        elif before and after:
            way = f"{'rose' if after.mean > before.mean else 'fell'} from {a} to {b}"
        else:
            way = f"{a} \N{RIGHTWARDS ARROW} {b}"
        if before or after:
            known, real = words.words(key), table.over_seeds(arm, 0, key)
            unit = f" {known.unit}" if known.unit else ""
            beside = f" (real data {words.number(real.mean, 3)})" if real else ""
            parts.append(f"{words.in_sentence(known.label)} {way}{unit}{beside}")
    span = f"iteration {first}" if first == last else f"iteration {first} to {last}"
    return f"{span}: {'; '.join(parts)}." if parts else ""


def _against(table: Table) -> list[str]:
    """In what the arms of each family are better and worse than its random control, or else than its plain loop."""
    verdicts: dict[tuple[str, str, str], list[str]] = {}
    closest = {found.arm.name: found for found in comparisons(table)}
    for found in closest.values():
        verdicts.setdefault((found.arm.family, found.control.name, _verdict(table, found)), []).append(found.arm.method)
    return [
        f"{family}: {words.listed(methods)} beside {control}: {verdict}."
        for (family, control, verdict), methods in verdicts.items()
    ]


def _verdict(table: Table, found: Comparison) -> str:
    judged = list(zip(words.short_names(compared_in(table)), found.verdicts, strict=True))
    better, worse = ([name for name, verdict in judged if verdict == side] for side in (1, -1))
    parts = [f"better in {words.listed(better)}" if better else "", f"worse in {words.listed(worse)}" if worse else ""]
    if any(parts):
        return "; ".join(part for part in parts if part)
    if any(difference and difference.n > 1 for difference in found.differences):
        return "no measure differs clearly"
    # From one seed no difference is clear, but both sides of what was seen are told.
    keys = compared_in(table)
    signs = [(d.estimate * words.words(k).better if d else 0.0) for d, k in zip(found.differences, keys, strict=True)]
    above, below = list[str](), list[str]()
    for name, sign, nearer in zip(words.short_names(keys), signs, found.nearer, strict=True):
        if sign * nearer > 0 or (sign and not nearer):
            (above if sign > 0 else below).append(name)
    parts = [f"ahead in {words.listed(above)}" if above else "", f"behind in {words.listed(below)}" if below else ""]
    return f"{'; '.join(part for part in parts if part) or 'no difference'} (one seed, so no interval)"


def _beyond(table: Table) -> list[str]:
    """Where arms are "better" than real data: what that means instead of praise."""
    found: dict[str, list[str]] = {}
    for arm in table.study.arms:
        for name in ("precision", "density"):
            real = table.real(f"{name}/{table.space}")
            spread = table.over_seeds(arm, arm.last, f"{name}/{table.space}") if arm.last else None
            if real and spread and spread.mean > real.mean:
                found.setdefault(name, []).append(f"{arm.name} {words.number(spread.mean, 3)}")
    if "precision" not in found:
        return []
    real = table.real(f"precision/{table.space}")
    own = words.number(real.mean if real else None, 3)
    return [
        f"Precision above that of real data ({own}) is no merit: {words.listed(found['precision'])}. Images that "
        "shrink towards the middle of the real ones, and copies, lie among them more often than real images do."
    ]


def _most_real(table: Table) -> str:
    """Which of the arms that have come farthest kept most real images, beside their share of its pool."""
    last = max((arm.last for arm in table.study.arms if arm.last), default=0)
    shares = [(table.real_share(arm, last) or 0.0, arm) for arm in table.study.arms if arm.last == last > 0]
    share, arm = max(shares, key=lambda found: found[0], default=(0.0, None))
    if arm is None or share == 0:
        return ""
    kept = f"Most real images are kept by {arm.name}: {words.percent(share)} of its training set at iteration {last}"
    pools = [run.values(last, "select").get("pool_shares") for run in arm.runs]
    of_pool = [shares.get("0", 0.0) for shares in pools if shares]
    return f"{kept}, {words.percent(sum(of_pool) / len(of_pool))} of its pool." if of_pool else f"{kept}."


def _without_choice(table: Table) -> str:
    """Which arms have a selector that had nothing to choose: it took its whole pool each time."""
    idle = [arm.name for arm in table.study.arms if arm.config.get("selector") and _takes_all(arm)]
    if not idle:
        return ""
    return (
        f"{words.listed(idle)}: the selector took its whole pool in every iteration, so it chose nothing. More images "
        "to choose from: pool_factor, or n_generated."
    )


def _takes_all(arm: ArmRecord) -> bool:
    """Whether training sets were as large as their pools, in all of at least two iterations."""
    found = [run.values(n, "select") for run in arm.runs for n in arm.selected]
    sizes = {(of.get("n_pool"), of.get("n_selected")) for of in found if of}
    return len(arm.selected) > 1 and bool(sizes) and all(pool == taken for pool, taken in sizes)


def _garbage(table: Table) -> str:
    """How much of the garbage that was planted the arms train on that have come farthest."""
    found = [(arm, garbage(table, arm)) for arm in table.study.arms]
    last = max((n for _, by_iteration in found for n in by_iteration), default=0)
    shares = [(arm, by_iteration[last]) for arm, by_iteration in found if last in by_iteration]
    if not shares:
        return ""
    pools = [table.over_seeds(arm, last, "pool", "garbage") for arm, _ in shares]
    known = [pool.mean for pool in pools if pool]
    of_pool = f", of the pool {words.percent(min(known))}" if known else ""
    of_arms = words.listed([f"{arm.name} {words.percent(share)}" for arm, share in shares])
    return f"Planted garbage in the training set of the last iteration{of_pool}: {of_arms}."


def _relation(table: Table) -> str:
    """How the score goes with the entropy and with the variance of the training set."""
    look, parts = Look(table.study), []
    others = (("knn_entropy", False, "entropy"), ("total_variance", True, "log variance"))
    for name, log, label in (*others, ("total_variance", False, "variance")):
        found = correlation_of(points(table, look, f"{name}/{table.space}"), log=log)
        parts += [f"with {label} r = {described(found)}"] if found else []
    return f"The logarithm of the generalization score goes {', '.join(parts)}." if parts else ""


def _warning(table: Table) -> list[str]:
    """Which arms are on their way to copying, by what; and of the others why nothing is foretold."""
    warned = warnings(table, table.space)
    found = [one for one in warned if one.found.iteration is not None]
    silent: dict[str, list[str]] = {}
    for one in warned:
        if one.found.iteration is None:
            silent.setdefault(one.text, []).append(one.arm.name)
    reasons = [f"{words.listed(names)}: {reason}" for reason, names in silent.items()]
    return [
        f"Early warning: {'; '.join(f'{one.arm.name} {one.text}' for one in found)}." if found else "",
        f"No early warning: {'; '.join(reasons)}." if reasons else "",
    ]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
