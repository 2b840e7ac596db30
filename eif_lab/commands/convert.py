"""``eif-lab convert CHECKPOINT --output DIRECTORY``: a checkpoint of Llama's form made into one of Phi-3's."""

from __future__ import annotations

from pathlib import Path

from eif_lab.commands.answer import in_one_line, parser_of


def main(arguments: list[str]) -> int:
    """Convert.

    Returns:
        0; 2 for a mistake in what was asked, told in one line.
    """
    parser = parser_of("convert")
    parser.add_argument("checkpoint", help="a .gguf file, a directory in the hub's format, or a name on the hub")
    parser.add_argument("--output", type=Path, required=True, help="directory that the result goes to")
    parser.add_argument("--name", help="what plots and runs call it (its own name)")
    parser.add_argument("--origin", default="", help="where it is from, in words for the model card")
    parser.add_argument("--bos", help="the token that stands in front of every text (its tokenizer's)")
    asked = parser.parse_args(arguments)

    def made() -> str:
        from eif_lab.models.language.conversion import Conversion, convert

        report = convert(Conversion(asked.checkpoint, asked.name, asked.origin, asked.bos), asked.output)
        return f"{report['name']}, {report['parameters']:,} parameters: {asked.output}"

    return in_one_line(made)
