"""Stores for the figures: two real jobs on digits, and jobs of made-up influence from the project's own writer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_up import LOGICAL, RATES, judge, knowledge, moved

from eif_lab.data.images.digits import Digits
from eif_lab.desiderata.evaluation import withhold_if_untaught
from eif_lab.desiderata.strength import strength_of
from eif_lab.influence.array import annotate
from eif_lab.jobs.read import read_job
from eif_lab.perturbations.noise import Noise
from eif_lab.results import job as store
from eif_lab.results.job import open_job, write_job


@pytest.fixture(scope="session")
def make_job():
    """Write a job with given influence, (stimuli, probes) or (stimuli, steps, probes), and open it."""

    def make(folder, task, values, *, method="full", engine="stacked", rate=0.01, update=(), **fields):
        values = np.asarray(values, dtype=float)
        values = values[:, None] if values.ndim == 2 else values
        steps = list(range(1, values.shape[1] + 1))
        fields = {"model": "cnn", "dataset": "digits", "view": "", "noise": "", "levels": [], "seed": 0, **fields}
        dataset = {name: fields[name] for name in ("view", "background", "worlds") if fields.get(name)}
        readouts = fields.get("readouts", ["log_prob"])
        array = xr.DataArray(
            np.repeat(values[None, ..., None], len(readouts), axis=-1),
            dims=("seed", "stimulus", "step", "probe", "readout"),
            coords={"seed": [0], "step": steps, "readout": readouts},
            attrs={
                "units": json.dumps(dict.fromkeys(readouts, "nat")),
                "model": fields["model"],
                "dataset": fields["dataset"],
            },
        )
        array = annotate(array, task, task.distances, default=next(iter(task.distances)))
        perturbation = "noise" if fields["noise"] else "together" if fields.get("facts") else "include"
        array = array.assign_attrs(method=method, perturbation=perturbation)
        verdicts, missing = judge(array)
        strength = strength_of(array, "log_prob")
        verdicts = withhold_if_untaught(verdicts, strength)  # as the pipeline has it
        trains = method != "prompt"
        manifest = {
            "name": f"{fields['model']} {fields['dataset']} {method}",
            "status": "done",
            "config": {
                "seed": fields["seed"],
                "data_seed": fields.get("data_seed", fields["seed"]),
                "dataset": dataset,
                "method": {"name": method},
                "perturbation": {name: fields.get(name) or None for name in ("noise", "levels", "facts")},
            },
            "seeds": [0],
            "base_model": {"name": fields["model"], "hash": "0", "accuracy": 0.5},
            "trained_parameters": {"count": 10 if trains else 0, "total": 20},
            "update": {
                "optimizer": "sgd" if trains else None,
                "steps": steps[-1],
                "learning_rate": rate,
                "calibration": None,
                **dict(update),
            },
            "strength": dataclasses.asdict(strength),
            "unit": "nat",
            "engine": engine,
            "stimuli": len(task.stimuli),
            "probes": len(task.probes),
        }
        with pytest.MonkeyPatch.context() as patch:  # asking git and pip takes longer than all else
            patch.setattr(store, "provenance", lambda: {"git_commit": "0123456789abcdef", "versions": {}})
            write_job(Path(folder), manifest, array, verdicts, missing)
        return open_job(Path(folder))

    return make


def run_digits(folder, cache, engine):
    """A real job on a few digits."""
    from hydra import compose, initialize_config_dir

    from eif_lab.commands.checking import to_plain_containers
    from eif_lab.configs import CONF
    from eif_lab.jobs.run import run_job

    overrides = ["model=cnn", "dataset.stimuli=30", "dataset.probes=30", "model.training.steps=40", "tracker=none"]
    overrides += ["update.learning_rate=0.002"]
    overrides += [f"engine={engine}", f"cache={cache}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_plain_containers(compose("config", overrides))
    run_job(read_job(config), config, folder, folder.parent.name, overrides)


@pytest.fixture(scope="session")
def runs(tmp_path_factory, make_job):
    """Folders of finished sweeps, by the name that the Makefile gives such runs."""
    root = tmp_path_factory.mktemp("runs")
    for engine in ("auto", "first_order"):
        run_digits(root / "images" / engine, root / "cache", engine)
    make_noise_run(root / "noise", make_job)
    make_rates_run(root / "rates", make_job)
    for view, run in (("statements", "statements"), ("probes", "knowledge")):
        for domain in ("reversal", "implication"):
            task = knowledge(domain, view)
            for number, method in enumerate(("full", "prompt")):
                values = moved(task, LOGICAL, random=number)
                fields = {"model": "phi3-tiny", "dataset": domain, "view": view, "method": method}
                make_job(root / run / f"{domain}-{method}", task, values, **fields)
    make_two_by_two_run(root / "two_by_two", make_job)
    make_strength_runs(root, make_job)
    make_seeds_run(root / "seeds", make_job)
    make_retention_run(root / "retention", make_job)
    return {path.name: path for path in root.iterdir() if path.name != "cache"}


def make_noise_run(folder, make_job):
    """Noise that takes half of the influence at its weaker and all of it at its stronger strength."""
    task = Noise(noise="occlusion", levels=[0.5, 1.0]).apply(Digits(stimuli=40, probes=40).load(0), 0)
    kept = {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}
    strength = np.array([kept[sigma] for sigma in task.stimuli.coords["sigma"]])
    values = moved(task, {"direct": 1.0, "entailed": 1.0}) * strength[:, None]
    make_job(folder / "0", task, values, noise="occlusion", levels=[0.5, 1.0])


def make_rates_run(folder, make_job):
    """Exact influence that bends away from the prediction as rate and steps grow."""
    task = Digits(stimuli=20, probes=20).load(0)
    base = moved(task, {"direct": 1.0, "entailed": 0.5}, scatter=0.3)
    steps = np.arange(1, 4)[None, :, None]
    for rate in RATES:
        line = 100 * rate * steps * base[:, None]
        bent = line - 0.1 * line**2
        for engine, values in (("stacked", bent), ("first_order", line)):
            make_job(folder / f"{engine}-{rate}", task, values, engine=engine, rate=rate)


def make_two_by_two_run(folder, make_job):
    """What follows is reached only where the background is in the context."""
    task = knowledge("implication")
    for background, reached in (("taught", 0.0), ("context", 0.8)):
        for method in ("full", "prompt"):
            values = moved(task, {"direct": 1.0, "entailed": reached})
            fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes", "background": background}
            make_job(folder / f"{background}-{method}", task, values, method=method, **fields)


def make_seeds_run(folder, make_job):
    """Three runs on the same samples: what is related moves alike, and all cells have the noise of their run."""
    task = knowledge("implication")
    for method in ("full", "lora"):
        for seed in range(3):
            values = moved(task, LOGICAL, scatter=0.1, random=seed)
            fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes", "seed": seed, "data_seed": 0}
            make_job(folder / f"{method}-{seed}", task, values, method=method, **fields)


def make_strength_runs(root, make_job):
    """Reach falls with strength, of which the largest is not reached; and it is the same after any number of steps."""
    task = knowledge("implication")
    fields = {"model": "phi3-tiny", "dataset": "implication", "view": "probes"}
    for optimizer in ("sgd", "adam"):
        for target, reached in ((0.1, 0.8), (1.0, 0.4), (10.0, 0.2)):
            taught = min(target, 3.0)
            calibration = {"target": target, "strength": taught, "reached": target == taught}
            values = taught * moved(task, {"direct": 1.0, "entailed": reached})
            recipe = {"optimizer": optimizer, "steps": 10, "calibration": calibration}
            make_job(root / "strength" / f"{optimizer}-{target}", task, values, update=recipe, **fields)
        for steps in (1, 100):
            calibration = {"target": 1.0, "strength": 1.0, "reached": True}
            recipe = {"optimizer": optimizer, "steps": steps, "calibration": calibration}
            values = moved(task, {"direct": 1.0, "entailed": 0.4})
            make_job(root / "steps" / f"{optimizer}-{steps}", task, values, update=recipe, **fields)


def make_retention_run(folder, make_job):
    """What is known beforehand loses with all weights, and half as much with LoRA."""
    task = knowledge("implication", "retention")
    asked = task.probes.coords["form"] == "background"
    for number, (method, lost) in enumerate({"full": 0.4, "lora": 0.2}.items()):
        values = moved(task, LOGICAL, random=number) - lost * asked
        fields = {"model": "phi3-tiny", "dataset": "implication", "view": "retention"}
        make_job(folder / method, task, values, method=method, readouts=["log_prob", "log_odds", "correct"], **fields)
