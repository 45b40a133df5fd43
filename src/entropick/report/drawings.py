"""All figures of a study, in the order of the page."""

from __future__ import annotations

from dataclasses import replace

from entropick.page.words import split_key
from entropick.report.ablations import ablations
from entropick.report.curves import has_results, over_iterations, over_sizes, real_shares, selected_iterations
from entropick.report.figures import Figure
from entropick.report.image_figures import image_figures
from entropick.report.look import Look
from entropick.report.record import StudyRecord
from entropick.report.relations import related
from entropick.report.sources import source_shares
from entropick.report.summary import metric_keys

_BY_SIZE = ("generalization_score", "generalization_score_ratio", "knn_entropy")
_RELATED = ("knn_entropy", "total_variance")


def study_figures(study: StudyRecord, *, for_file: bool) -> list[Figure]:
    """The figures that are drawn from numbers; in files each has its own legend, the page has one for all."""
    look = Look(study)
    found = [figure for sized in study.by_size() for figure in _of_one_size(study, sized, look, for_file)]
    keys = metric_keys(study)
    if len(study.sizes) > 1:
        by_size = [key for key in keys if split_key(key)[0] in _BY_SIZE and has_results(study, key)]
        found += [over_sizes(study, key, for_file=for_file) for key in by_size]
    for space in dict.fromkeys(split_key(key)[1] for key in keys):
        score = f"generalization_score/{space}"
        related_to = [f"{name}/{space}" for name in _RELATED]
        figures = [related(study, look, score, other, for_file=for_file) for other in related_to]
        found += [figure for figure in figures if figure]
    return found


def all_figures(study: StudyRecord) -> list[Figure]:
    """The figures as files: those of numbers, and those of images."""
    images = [_named(figure, study, sized) for sized in study.by_size() for figure in image_figures(sized)]
    return [*study_figures(study, for_file=True), *images]


def _of_one_size(study: StudyRecord, sized: StudyRecord, look: Look, for_file: bool) -> list[Figure]:
    keys = [key for key in metric_keys(sized) if has_results(sized, key)]
    figures = [over_iterations(sized, look, key, for_file=for_file) for key in keys]
    if any(selected_iterations(arm) for arm in sized.arms):
        figures.append(real_shares(sized, look, for_file=for_file))
    shares = source_shares(sized)
    figures += [shares] if shares else []
    return [_named(figure, study, sized) for figure in [*figures, *ablations(sized)]]


def _named(figure: Figure, study: StudyRecord, sized: StudyRecord) -> Figure:
    """A figure of one of several sizes says which in its name and title."""
    if not study.sizes:
        return figure
    size = sized.sizes[0]
    name, title = f"{figure.name}-size-{size}", f"{figure.title}, {size:,} images"
    return replace(figure, name=name, title=title, size=size)
