"""The required keys of ``configs/metadata.json``; the full check against MONAI's schema is not made here."""

from __future__ import annotations

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_nodes import Node

_TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version")
_TEXTS_TO_READ = ("task", "description", "authors", "copyright")
_MAPPINGS = ("network_data_format",)
_PACKAGES = ("required_packages_version", "optional_packages_version")  # schemas of 2024, of 2022


def check_metadata(root: Node, report: Report) -> None:
    """Check that the keys that MONAI's metadata schema requires are there and have its types."""
    if not isinstance(root.value, dict):
        report.add("metadata.type", root.file, root.line, "no mapping", "write a mapping of keys")
        return
    for names, kind in (((*_TEXTS, *_TEXTS_TO_READ), str), (_MAPPINGS, dict)):
        for name in names:
            node = root.child(name)
            if node is None:
                report.add("metadata.key", root.file, root.line, f"no key {name}", "add it: the schema requires it")
            elif not isinstance(node.value, kind):
                message = f"{name} is {shown(type(node.value).__name__)}"
                remedy = "write a text" if kind is str else "write a mapping"
                report.add("metadata.type", node.file, node.line, message, remedy)
    if not any(root.child(name) for name in _PACKAGES):
        remedy = "add it: the schema requires it"
        report.add("metadata.key", root.file, root.line, f"no key {_PACKAGES[0]}", remedy)
