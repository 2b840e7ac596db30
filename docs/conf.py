"""The documentation as a site, for Sphinx: ``make docs``.

Its sources are the repository's own tree, so that a link holds on the site as it does in the repository. Neither the
build nor the pages fetch anything.
"""

from importlib.metadata import version as version_of

from docutils import nodes
from latex2mathml.converter import convert
from pygments.lexers.data import JsonLexer
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "eif_lab"
copyright = "the eif_lab authors; MIT licence"
version = release = version_of("eif-lab")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "benchmarks/**.md", "docs/**.md", "eif_lab/models/*/README.md"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 6

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "py:obj"
maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_math_renderer = "mathml"


def in_line(writer: HTML5Translator, formula: nodes.math) -> None:
    """Write a formula within a sentence in MathML, which browsers draw without a script."""
    writer.body.append(convert(formula.astext()))
    raise nodes.SkipNode


def on_its_own(writer: HTML5Translator, formula: nodes.math_block) -> None:
    """Write a formula that stands alone."""
    drawn = convert(formula.astext(), display="block")
    writer.body.append(f'<div style="padding: 0.3em 0">{drawn}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add the renderer of formulas, since Sphinx's others need a script or TeX, and the name of JSON lines."""
    app.add_html_math_renderer("mathml", inline_renderers=(in_line, None), block_renderers=(on_its_own, None))
    app.add_lexer("jsonl", JsonLexer)
