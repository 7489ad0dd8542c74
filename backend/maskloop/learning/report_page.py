"""The report as one HTML page that needs nothing else: figures, charts as SVG, pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskloop.errors import MaskloopError
from maskloop.learning import regions
from maskloop.learning.report import NO_LABEL, Reliability, Report, WorstCase
from maskloop.learning.tables import Verdict
from maskloop.sam.values import Image

WIDTH, HEIGHT, MARGIN = 420, 220, 34
PICTURE_SIDE = 320
PREDICTED, CORRECTED = (230, 80, 60), (40, 150, 90)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse}
td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top}th{font-weight:600;border-bottom:1px solid #ccc}
td.n{text-align:right;font-variant-numeric:tabular-nums}.row{display:flex;flex-wrap:wrap;gap:1.5rem}
figure{margin:0;max-width:420px}figcaption{font-size:.85rem;color:#555}
svg text{font:11px system-ui,sans-serif;fill:#555}
img{display:block;max-width:100%;border-radius:4px}.note{color:#555}
.before{color:rgb(230,80,60)}.after{color:rgb(40,150,90)}
"""
Row = Sequence[object]


def render(report: Report, load: Callable[[str], Image]) -> str:
    """The page. load: an image by its reference; one that can't be had is named in place of its picture."""
    total = sum(report.verdicts.values())
    parts = [
        f"<h1>{escape(report.project)}</h1>",
        f"<p>{total} regions judged: "
        + ", ".join(f"{report.verdicts.get(verdict, 0)} {verdict}" for verdict in Verdict)
        + f". {_gain(report)}</p>",
        "<h2>Quality by version</h2>",
        _table(("version", "masks judged", "accepted", "kept (mean IoU)", "gate"), _version_rows(report)),
        "<h2>Over time</h2>",
        _over_time(report),
        "<h2>What a score is worth</h2>",
        _reliability(report),
        "<h2>Labels</h2>",
        _table(
            ("label", "precision", "recall", "F1", "regions"),
            [
                (one.label, _share(one.precision), _share(one.recall), _share(one.f1), one.count)
                for one in report.classes
            ],
        ),
        "<h3>Predicted (rows) and final label (columns)</h3>",
        _confusion(report),
        "<h2>Worst cases</h2>",
        '<p class="note">What was <span class="before">predicted and removed</span>, and what was '
        '<span class="after">missing and added</span>; both outlines are filled where they differ.</p>',
        '<div class="row">' + "".join(_picture(case, load) for case in report.worst) + "</div>",
    ]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{escape(report.project)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _gain(report: Report) -> str:
    new = report.learnable - report.learned
    if new > 0:
        return f"{report.learnable} can be learned from, {new} more than the model in service has seen."
    return f"{report.learnable} can be learned from; the model in service has seen as many."


def _version_rows(report: Report) -> list[Row]:
    return [
        (
            one.version,
            one.masks,
            _share(one.acceptance),
            "" if one.kept is None else f"{one.kept:.3f}",
            one.gate.reason if one.gate else "",
        )
        for one in report.versions
    ]


def _over_time(report: Report) -> str:
    if not report.days:
        return '<p class="note">Nothing was reviewed yet.</p>'
    names = [f"{day.day:%d %b}" for day in report.days]
    charts = (
        ("masks accepted as they were, share", [day.acceptance for day in report.days], 1.0),
        ("seconds for a region, median", [day.seconds for day in report.days], None),
        ("prompts until a mask was kept, mean", [day.prompts for day in report.days], None),
    )
    return '<div class="row">' + "".join(_line(title, names, values, top) for title, values, top in charts) + "</div>"


def _reliability(report: Report) -> str:
    if not report.reliability:
        return f'<p class="note">No mask of {escape(report.served)}, which is in service, was judged yet.</p>'
    return f'<div class="row">{"".join(_of_kind(found, report.served) for found in report.reliability)}</div>'


def _of_kind(found: Reliability, version: str) -> str:
    size = HEIGHT - MARGIN
    dots = "".join(
        f'<circle cx="{MARGIN + score * size:.1f}" cy="{size - share * size + 8:.1f}" r="{2 + min(8, count**0.5):.1f}" '
        f'fill="#3a6ea5" fill-opacity=".7"><title>score {score:.2f}: {share:.0%} of {count} accepted</title></circle>'
        for score, share, count in found.bins
    )
    diagonal = f'<line x1="{MARGIN}" y1="{size + 8}" x2="{MARGIN + size}" y2="8" stroke="#bbb" stroke-dasharray="4"/>'
    labels = f'<text x="{MARGIN}" y="{HEIGHT - 6}">predicted score 0 to 1; upwards: share accepted</text>'
    masks = f"{sum(count for *_, count in found.bins)} {'clicked or boxed' if found.prompted else 'automatic'} masks"
    error = (
        "too few for a calibration error."
        if found.error is None or found.calibrated is None
        else f"expected calibration error on half of the tasks {found.error:.3f} as predicted, {found.calibrated:.3f} "
        "calibrated on the other half."
    )
    return _figure(f"{diagonal}{dots}{labels}", f"{masks} of {version}: {error}")


def _line(title: str, names: Sequence[str], values: Sequence[float | None], top: float | None) -> str:
    highest = top or max((value for value in values if value is not None), default=1.0) or 1.0
    step = (WIDTH - 2 * MARGIN) / max(1, len(values) - 1)
    points = [
        (MARGIN + number * step, HEIGHT - MARGIN - value / highest * (HEIGHT - 2 * MARGIN))
        for number, value in enumerate(values)
        if value is not None
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#3a6ea5"/>' for x, y in points)
    axis = f'<line x1="{MARGIN}" y1="{HEIGHT - MARGIN}" x2="{WIDTH - MARGIN}" y2="{HEIGHT - MARGIN}" stroke="#ccc"/>'
    ends = (
        f'<text x="{MARGIN}" y="{HEIGHT - 12}">{names[0]}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 12}" text-anchor="end">{names[-1]}</text>'
        f'<text x="0" y="{MARGIN}">{highest:.3g}</text><text x="0" y="{HEIGHT - MARGIN}">0</text>'
    )
    line = f'<polyline points="{path}" fill="none" stroke="#3a6ea5" stroke-width="2"/>'
    return _figure(axis + line + dots + ends, title)


def _confusion(report: Report) -> str:
    names = [*sorted({label for pair in report.confusion for label in pair} - {NO_LABEL}), NO_LABEL]
    rows = [(before, *(report.confusion.get((before, after), 0) or "" for after in names)) for before in names]
    return _table(("", *names), rows)


def _picture(case: WorstCase, load: Callable[[str], Image]) -> str:
    caption = f"task {case.task_id}, {case.version}: IoU {case.iou:.2f}"
    try:
        picture = compare(load(case.image), regions.mask(case.before), regions.mask(case.after))
    except (MaskloopError, regions.UnusableRegion) as error:
        return f"<figure><figcaption>{escape(caption)}. No picture: {escape(str(error))}</figcaption></figure>"
    stored = io.BytesIO()
    Pillow.fromarray(picture).save(stored, "JPEG", quality=85)
    source = base64.b64encode(stored.getvalue()).decode()
    alt = f'<img src="data:image/jpeg;base64,{source}" alt="{escape(caption)}">'
    return f"<figure>{alt}<figcaption>{escape(caption)}</figcaption></figure>"


def compare(image: Image, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Image:
    """The part of the image around both masks, coloured where they differ. Raises UnusableRegion if sizes differ."""
    if image.shape[:2] != before.shape or before.shape != after.shape:
        raise regions.UnusableRegion("the image has another size than the masks")
    tinted = image.astype(np.float32)
    for differing, colour in ((before & ~after, PREDICTED), (after & ~before, CORRECTED)):
        tinted[differing] = 0.4 * tinted[differing] + 0.6 * np.array(colour, np.float32)
    ys, xs = np.nonzero(before | after)
    if len(ys):
        border = max(20, int(0.15 * max(np.ptp(ys), np.ptp(xs))))
        top, left = max(0, ys.min() - border), max(0, xs.min() - border)
        tinted = tinted[top : ys.max() + border, left : xs.max() + border]
    picture = Pillow.fromarray(tinted.round().astype(np.uint8))
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    return np.asarray(picture)


def _figure(shapes: str, caption: str) -> str:
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">{shapes}</svg>'
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(heads: Sequence[str], rows: Iterable[Row]) -> str:
    def cell(value: object) -> str:
        return f'<td class="n">{value}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"

    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
