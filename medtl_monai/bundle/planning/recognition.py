"""What kind of images these are: two axes or three, which modality."""

from __future__ import annotations

from collections import Counter

from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.findings import Finding

PICTURE, MASK = "picture", "mask"
_TAGS = {"CT": "ct", "MR": "mri"}
_ASK = "say which one it is: --modality ct or --modality mri"


def choose_dimensions(fingerprint: Fingerprint) -> tuple[Choice[int] | None, list[Finding]]:
    """2 where every image is a picture or a single slice, 3 where none is; a mixture is an error finding."""
    cases = fingerprint.read
    flat = [case for case in cases if case.flat]
    if not cases:
        return None, []
    if not flat:
        thinnest = min(cases, key=lambda case: min(case.shape))
        reason = (
            f"all {len(cases)} images read are volumes; the thinnest ({thinnest.case}) has {min(thinnest.shape)} slices"
        )
        return Choice(3, reason), []
    if len(flat) == len(cases):
        kind = "pictures" if all(case.picture for case in cases) else "pictures or single slices"
        return Choice(2, f"all {len(cases)} images read are {kind}"), []
    few = flat if 2 * len(flat) <= len(cases) else [case for case in cases if not case.flat]
    usual, odd = ("volumes", "a single slice") if few == flat else ("single slices", "a volume")
    remedy = "keep images of one kind"
    return None, [
        Finding(
            "geometry.dimensions",
            "error",
            f"{odd}, where the others are {usual}: shape {case.shape}",
            remedy,
            case.case,
        )
        for case in few
    ]


def choose_modality(fingerprint: Fingerprint, options: PlanOptions) -> tuple[Choice[str] | None, list[Finding]]:
    """``ct``, ``mri``, ``picture``, ``mask``, or another DICOM Modality in small letters.

    Order: pictures are pictures; binary masks to be classified are masks; the DICOM tag; what the user states;
    values that look like HU. Contradictions between these, cases of several modalities, and scans of which nothing
    tells are error findings.
    """
    scans = [case for case in fingerprint.read if not case.picture]
    if len(scans) < len(fingerprint.read):
        return _pictures(fingerprint, options)
    if scans and fingerprint.task == "classification" and all(case.two_valued for case in scans):
        return Choice(MASK, f"all {len(scans)} images read hold 0 and one other value: shapes without intensities"), []
    tags = Counter(case.modality for case in scans if case.modality)
    kinds = {_TAGS.get(tag, tag.lower()) for tag in tags} | ({options.modality} if options.modality else set())
    if len(tags) > 1 or (tags and len(kinds) > 1):
        return None, _contradiction(fingerprint, options, tags)
    if tags:
        tag = next(iter(tags))
        return Choice(
            _TAGS.get(tag, tag.lower()), f"the DICOM Modality of {tags[tag]} of {len(scans)} cases is {tag}"
        ), []
    return _by_values(fingerprint, options) if scans else (None, [])


def _pictures(fingerprint: Fingerprint, options: PlanOptions) -> tuple[Choice[str] | None, list[Finding]]:
    scans = [case for case in fingerprint.read if not case.picture]
    if scans:
        remedy = "keep scans and pictures in data sets of their own"
        return None, [
            Finding("modality.mixed", "error", "a scan, where others are PNG or JPEG", remedy, case.case)
            for case in scans
        ]
    stated = f", though {options.modality} is stated: a picture holds no HU" if options.modality == "ct" else ""
    return Choice(PICTURE, f"all {len(fingerprint.read)} images read are PNG or JPEG{stated}"), []


def _contradiction(fingerprint: Fingerprint, options: PlanOptions, tags: Counter[str]) -> list[Finding]:
    if options.modality:
        wrong = [c for c in fingerprint.read if c.modality and _TAGS.get(c.modality, "") != options.modality]
        remedy = f"leave --modality out, or take these cases out of {options.modality} data"
        message = f"{options.modality} is stated, the DICOM Modality is"
        return [
            Finding("modality.contradicted", "error", f"{message} {case.modality}", remedy, case.case) for case in wrong
        ]
    usual = tags.most_common(1)[0][0]
    return [
        Finding("modality.mixed", "error", f"DICOM Modality {case.modality}, where {tags[usual]} cases have {usual}",
                "keep one modality", case.case)
        for case in fingerprint.read
        if case.modality and case.modality != usual
    ]  # fmt: skip


def _by_values(fingerprint: Fingerprint, options: PlanOptions) -> tuple[Choice[str] | None, list[Finding]]:
    cases = fingerprint.read
    like = [case for case in cases if case.hu_like]
    counted = f"{len(like)} of {len(cases)} images read have values like HU (air below -200)"
    if options.modality == "mri" and not like:
        return Choice("mri", f"stated; {counted}"), []
    if options.modality == "ct" and len(like) == len(cases):
        return Choice("ct", f"stated; {counted}"), []
    if options.modality is None and like and len(like) == len(cases):
        return Choice("ct", f"recognised: {counted}"), []
    if options.modality is None and not like:
        message = f"nothing tells the modality: {counted}, and no DICOM tag says it"
        return None, [Finding("modality.unknown", "error", message, _ASK)]
    return _odd_values(fingerprint, options)


def _odd_values(fingerprint: Fingerprint, options: PlanOptions) -> tuple[Choice[str] | None, list[Finding]]:
    """Cases whose values are not like the others', or not like what is stated.

    Cropped CT may hold no air, so the user's word counts against values that merely do not look like HU, as long as
    they can be HU; values that look like HU are never MR.
    """
    cases = fingerprint.read
    if options.modality == "ct":
        wrong = [case for case in cases if not case.hu_like and case.low >= 0 and case.high <= 255]
        if not wrong:
            cropped = sum(not case.hu_like for case in cases)
            return Choice("ct", f"stated; {cropped} of {len(cases)} images read hold little air, as crops do"), []
        message = "ct is stated, and these values cannot be HU: {low:g} to {high:g}"
    elif options.modality == "mri":
        wrong = [case for case in cases if case.hu_like]
        message = "mri is stated, and these values look like HU: {low:g} to {high:g}"
    else:
        like = [case for case in cases if case.hu_like]
        others = [case for case in cases if not case.hu_like]
        wrong = others if len(others) <= len(like) else like
        message = "values from {low:g} to {high:g}, where " + (
            f"{len(like)} cases look like HU" if wrong is others else f"{len(others)} cases do not look like HU"
        )
    remedy = f"keep one modality, or {_ASK}"
    return None, [
        Finding("modality.mixed", "error", message.format(low=case.low, high=case.high), remedy, case.case)
        for case in wrong
    ]
