"""``eif-lab convert CHECKPOINT --output DIRECTORY``: a checkpoint of Llama's form made into one of Phi-3's."""

from __future__ import annotations

from pathlib import Path

from eif_lab.commands.answer import make_parser, print_result


def main(arguments: list[str]) -> int:
    """Convert.

    Returns:
        0; 2 for a mistake in what was asked, reported in one line.
    """
    parser = make_parser("convert")
    parser.add_argument("checkpoint", help="a .gguf file, a directory in the hub's format, or a name on the hub")
    parser.add_argument("--output", type=Path, required=True, help="directory that the result goes to")
    parser.add_argument("--name", help="what plots and runs call it (its own name)")
    parser.add_argument("--origin", default="", help="where it is from, in words for the model card")
    parser.add_argument("--bos", help="the token that stands in front of every text (its tokenizer's)")
    args = parser.parse_args(arguments)

    def converted() -> str:
        from eif_lab.models.language.conversion import Conversion, convert

        report = convert(Conversion(args.checkpoint, args.name, args.origin, args.bos), args.output)
        return f"{report['name']}, {report['parameters']:,} parameters: {args.output}"

    return print_result(converted)
