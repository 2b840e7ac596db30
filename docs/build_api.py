"""Write the API reference, ``docs/api/*.md``, from the docstrings: ``make docs``."""

import re
import sys
from pathlib import Path

import griffe
from griffe2md import ConfigDict, render_object_docs

ROOT = Path(__file__).parents[1]

PAGES = {
    "functions": [
        "library.tasks.load_task",
        "library.tasks.make_task",
        "library.measure.measure_task",
        "influence.measure.measure_influence",
        "influence.context.measure_context",
        "influence.calibrate.calibrate",
        "influence.array.annotate",
        "desiderata.evaluation.judge",
        "results.sweep.open_results",
        "figures.array.plot_array",
        "figures.forest.plot_forest",
    ],
    "data": ["data.dataset.Dataset", "data.task.Task", "data.task.Images", "data.task.Texts"],
    "models": ["models.base.Model", "models.base.BaseModel", "models.base.Sketch"],
    "measuring": [
        "influence.update.Update",
        "influence.update.Stepping",
        "influence.learning_rate.Calibration",
        "methods.method.Method",
        "methods.method.ContextMethod",
        "perturbations.perturbation.Perturbation",
        "readouts.readout.Readout",
        "influence.engines.engine.Engine",
        "influence.engines.engine.Prepared",
        "influence.setup.Setup",
        "influence.problem.Problem",
        "influence.per_sample.layers.layer.LayerRule",
    ],
    "judging": [
        "desiderata.desideratum.Desideratum",
        "desiderata.verdict.Verdict",
        "desiderata.verdict.Finding",
    ],
    "results": [
        "results.sweep.SweepResults",
        "results.job.JobResults",
        "results.manifest.Manifest",
        "results.trackers.tracker.Tracker",
        "results.trackers.tracker.Run",
    ],
}
"""What each page shows, in its order."""

PARSING = {"returns_multiple_items": False, "returns_named_value": False, "warn_unknown_params": False}

CONFIG = ConfigDict(
    docstring_style="google",
    docstring_options=PARSING,
    show_signature_annotations=True,
    separate_signature=True,
    line_length=120,
    merge_init_into_class=True,
    inherited_members=False,
    members_order="source",
    filters=["!^_"],
    summary=False,
    show_root_full_path=False,
    show_object_full_path=False,
    show_root_members_full_path=False,
)


def pages() -> dict[str, str]:
    """The reference, by the name of its file."""
    package = griffe.load("eif_lab", docstring_parser="google", docstring_options=PARSING, search_paths=[str(ROOT)])
    texts, index = {}, ["# API reference", "", "Generated from the docstrings by `make docs`.", ""]
    for page, names in PAGES.items():
        parts = [f"# {page.capitalize()}"]
        for name in names:
            shown = package[name]
            parts.append(plain_links(render_object_docs(without_attributes(shown), CONFIG)).strip())
            summary = " ".join(shown.docstring.value.split("\n\n")[0].split())
            index.append(f"- [`{shown.name}`]({page}.md#{shown.name.lower()}) ({shown.path}): {summary}")
        texts[f"{page}.md"] = "\n\n".join(parts) + "\n"
    return {"README.md": "\n".join(index) + "\n", **texts}


def without_attributes(shown: griffe.Object) -> griffe.Object:
    """A class with its methods and properties alone: its fields stand in its docstring's own section."""
    for name, member in list(shown.members.items()):
        if member.is_attribute and "property" not in member.labels:
            del shown.members[name]
    return shown


def plain_links(text: str) -> str:
    """The page without links to what no page shows, and with formulas as GitHub draws them."""
    text = re.sub(r"\[(.*?)\]\(#[^)]*\)", r"\1", text)
    text = text.replace("```python\n", "```py\n")  # a signature is no program
    text = re.sub(r"\.\. math:: (.*)", r"$$\1$$", text)
    return re.sub(r":math:`(.*?)`", r"$\1$", text)


if __name__ == "__main__":
    folder = ROOT / "docs" / "api"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{folder.relative_to(ROOT)}: {len(PAGES) + 1} pages\n")
