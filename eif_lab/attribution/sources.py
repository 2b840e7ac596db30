"""The programs whose scores are read: which way round they have their arrays, and what their sign and scale mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A program's convention.

    Attributes:
        probes_first: Whether a row is a probe and a column a stimulus.
        sign: What a positive score means, in words.
        scale: What the scores are measured in, in words.
    """

    probes_first: bool
    sign: str
    scale: str


HELPS = "the stimulus lowers the loss on the probe"

SOURCES = {
    "plain": Source(False, "the stimulus makes the probe's target likelier", "any"),
    "captum": Source(
        True, f"{HELPS}, where both loss_fn and test_loss_fn are losses", "loss, times the learning rates"
    ),
    "dattri": Source(False, f"{HELPS}, where both loss_func and target_func are losses", "loss, up to a factor"),
    "kronfluence": Source(True, f"{HELPS}, where compute_measurement is a loss", "loss, up to a factor"),
    "trak": Source(False, "the stimulus raises the model's output on the probe, such as its log-odds", "none"),
    "bergson": Source(
        False, f"{HELPS}, or raises it where its config has higher_is_better: false", "loss, up to a factor"
    ),
}
"""By name. Only ``bergson`` writes the sign down, and is turned by that; of the others a caller who measured something
else than a loss turns the sign (``reverse``)."""
