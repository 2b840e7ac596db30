"""Image classifiers of transformers and torchvision: loaded as they are, prepared as their processors do, measured."""

import json

import numpy as np
import pytest
import torch
from image_models import PROCESSORS, save_classifier, small_torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import SqueezeNet1_1_Weights, VisionTransformer

from eif_lab import measure_influence
from eif_lab.data.images.base import related_images
from eif_lab.data.task import Images
from eif_lab.errors import ConfigError
from eif_lab.models import hub
from eif_lab.models.base import weights_hash
from eif_lab.models.images import classifier
from eif_lab.models.images import torchvision_nets as nets
from eif_lab.models.images.classifier import ImageClassifier, outputs_of

NAMES = ("ant", "bee", "cat")


def images(count=6, channels=3, side=20, classes=NAMES):
    """As `Images`, and as Pillow's."""
    random = np.random.default_rng(0)
    raw = random.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return Images(
        pixels=torch.tensor(raw).permute(0, 3, 1, 2) / 255,
        labels=torch.arange(count) % len(classes),
        classes=tuple(classes),
        ids=np.array([f"image {number}" for number in range(count)]),
    ), [Image.fromarray(one if channels > 1 else one[..., 0]).convert("RGB") for one in raw]


def task_of(samples):
    return related_images(samples, samples, None, None)


@pytest.fixture(scope="module")
def task():
    return task_of(images()[0])


def prepare(task, tmp_path, **options):
    return ImageClassifier(**options).prepare(task, tmp_path / "cache", 0, "cpu")


# Preparation


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("processor", list(PROCESSORS))
def test_images_are_read_as_the_models_own_processor_reads_pictures(processor, channels, tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", NAMES, processor=processor)
    samples, pictures = images(channels=channels)
    inputs, targets = prepare(task_of(samples), tmp_path, checkpoint=folder).encode(samples)
    expected = PROCESSORS[processor]()(images=pictures, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(inputs, expected)
    assert torch.equal(targets, samples.labels)


def test_size_and_scale_can_be_stated(tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", NAMES, processor=None)
    samples, _ = images()
    stated = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "size": [8, 12]}
    inputs, _ = prepare(task_of(samples), tmp_path, checkpoint=folder, **stated).encode(samples)
    resized = torch.nn.functional.interpolate(samples.pixels, (8, 12), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(stated[name])[:, None, None] for name in ("mean", "std"))
    torch.testing.assert_close(inputs, (resized - mean) / std)


def test_torchvisions_own_processor_is_that_of_its_published_weights(task, tmp_path, monkeypatch):
    published, asked = small_torchvision("squeezenet1_1", 1000), []

    def deliver(weights, **options):
        asked.append((weights, options["check_hash"]))
        return published.state_dict()

    monkeypatch.setattr(SqueezeNet1_1_Weights, "get_state_dict", deliver)
    classes = SqueezeNet1_1_Weights.DEFAULT.meta["categories"][7:1:-2]
    samples, _ = images(classes=[one.upper() for one in classes])
    base = prepare(task_of(samples), tmp_path, architecture="squeezenet1_1")
    inputs, targets = base.encode(samples)
    preset = SqueezeNet1_1_Weights.DEFAULT.transforms()
    torch.testing.assert_close(inputs, preset((samples.pixels * 255).round().to(torch.uint8)))
    assert targets.tolist() == [7, 5, 3] * 2  # found among the outputs by their names
    assert asked == [(SqueezeNet1_1_Weights.DEFAULT, True)] and weights_hash(base.module.network) == weights_hash(
        published
    )
    assert base.features(inputs).shape == (6, 1000)  # it has no linear layer


# Networks


def test_a_checkpoint_is_loaded_as_it_is_and_called_what_it_is(task, tmp_path):
    folder = save_classifier(tmp_path / "mine", "vit", NAMES)
    base = prepare(task, tmp_path, checkpoint=folder)
    inputs, targets = base.encode(task.probes)
    logits = base.module(inputs)
    assert base.name == "mine" and base.report["architecture"] == "ViTForImageClassification"
    assert base.report["accuracy_on_probes"] == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    head = base.module.network.classifier
    torch.testing.assert_close(head(base.features(inputs)), logits)
    assert not list(tmp_path.glob("cache/*")) and not head._forward_pre_hooks


@pytest.mark.parametrize("form", ["pth", "safetensors", "wrapped"])
def test_a_file_of_weights_is_loaded_as_it_is_and_called_what_it_is(form, task, tmp_path):
    net, file = small_torchvision("shufflenet_v2_x0_5", 3), tmp_path / f"mine.{form}"
    if form == "safetensors":
        save_file(net.state_dict(), file)
    else:
        torch.save({"state_dict": net.state_dict(), "epoch": 3} if form == "wrapped" else net.state_dict(), file)
    base = prepare(task, tmp_path, architecture="shufflenet_v2_x0_5", checkpoint=str(file))
    inputs, _ = base.encode(task.probes)
    assert base.name == "mine (shufflenet_v2_x0_5)" and weights_hash(base.module.network) == weights_hash(net)
    assert torch.equal(inputs, task.probes.pixels)  # it has no processor
    torch.testing.assert_close(net.fc(base.features(inputs)), net(inputs))


def test_the_identity_of_a_model_is_what_its_files_hold(tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", NAMES)
    net, file = small_torchvision("squeezenet1_1", 3), tmp_path / "mine.pth"
    torch.save(net.state_dict(), file)
    for model in (
        ImageClassifier(checkpoint=folder),
        ImageClassifier(checkpoint=str(file), architecture="squeezenet1_1"),
    ):
        before = model.identity()
        path = file if model.architecture else tmp_path / "mine" / "preprocessor_config.json"
        path.write_bytes(path.read_bytes() + b" ")
        assert before and model.identity() != before
    assert "squeezenet1_1" in ImageClassifier(architecture="squeezenet1_1").identity()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_engines_agree_on_it(kind, method, task, tmp_path):
    base = prepare(task, tmp_path, checkpoint=save_classifier(tmp_path / "mine", kind, NAMES))
    samples = base.encode(task.stimuli)
    stimuli = tuple(part[:2] for part in samples)
    arrays = {
        engine: measure_influence(
            base.module, base.loss, stimuli, samples, method=method, engine=engine, update={"learning_rate": 0.05}
        )
        for engine in ("auto", "stacked", "reference")
    }
    largest = float(np.abs(arrays["reference"]).max())
    assert largest > 1e-3
    for engine in ("auto", "stacked"):
        np.testing.assert_allclose(arrays[engine], arrays["reference"], atol=1e-3 * largest)


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_engines_agree_on_torchvisions(architecture, tmp_path):
    """Fire modules without a linear head; grouped convolutions and batch-norms."""
    samples, _ = images(count=3, side=32)
    file = tmp_path / "mine.pth"
    torch.save(small_torchvision(architecture, 3).state_dict(), file)
    base = prepare(task_of(samples), tmp_path, architecture=architecture, checkpoint=str(file))
    probes = base.encode(samples)
    stimuli = tuple(part[:2] for part in probes)
    auto, loop = (
        measure_influence(base.module, base.loss, stimuli, probes, engine=engine, update={"learning_rate": 1e-3})
        for engine in ("auto", "loop")
    )
    np.testing.assert_allclose(auto, loop, atol=1e-3 * float(np.abs(loop).max()))


def test_a_plan_needs_no_weights(task, tmp_path, monkeypatch):
    folder = save_classifier(tmp_path / "mine", "vit", NAMES)
    model = ImageClassifier(checkpoint=folder)
    whole, outline = model.sketch(task, tmp_path, 0, "cpu").base, model.sketch(task, tmp_path, 0, "meta").base
    assert next(outline.module.parameters()).is_meta and not next(whole.module.parameters()).is_meta
    assert [part.shape for part in outline.module.parameters()] == [part.shape for part in whole.module.parameters()]
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    samples, _ = images(classes=SqueezeNet1_1_Weights.DEFAULT.meta["categories"][:3])
    base = ImageClassifier(architecture="squeezenet1_1").sketch(task_of(samples), tmp_path, 0, "cpu").base
    assert next(base.module.parameters()).is_meta and base.report["parameters"] == 1_235_496


# Classes


def test_classes_are_found_by_name_in_any_order_and_case_or_taken_in_their_order():
    assert outputs_of(["Cat", "ant"], NAMES, "it").tolist() == [2, 0]
    assert outputs_of(NAMES, 3, "it").tolist() == [0, 1, 2]


def test_outputs_without_names_are_the_datasets_classes_unless_they_are_named(task, tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", [f"LABEL_{number}" for number in range(3)])
    _, targets = prepare(task, tmp_path, checkpoint=folder).encode(task.probes)
    assert torch.equal(targets, task.probes.labels)
    _, targets = prepare(task, tmp_path, checkpoint=folder, classes=["cat", "bee", "ant"]).encode(task.probes)
    assert torch.equal(targets, 2 - task.probes.labels)


# Mistakes


def refusal(task, tmp_path, **options):
    with pytest.raises(ConfigError) as caught:
        prepare(task, tmp_path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_what_is_no_classifier_is_refused_in_one_line(task, tmp_path, monkeypatch, tokenizer):
    from language import save_checkpoint

    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    written = save_checkpoint(tmp_path / "words", tokenizer)
    assert "be an image classifier, this one is Phi3ForCausalLM" in refusal(task, tmp_path, checkpoint=written)
    nowhere = refusal(task, tmp_path, checkpoint=str(tmp_path / "nowhere"))
    assert nowhere.startswith("model.checkpoint must be a directory that exists")
    assert "hub delivers" in refusal(task, tmp_path, checkpoint="nobody/nothing")
    assert "or model.architecture be given, got None. Try" in refusal(task, tmp_path)
    file = tmp_path / "mine.pth"
    file.write_bytes(b"x")
    assert "For a file try model.architecture=" in refusal(task, tmp_path, checkpoint=str(file))
    bare = save_classifier(tmp_path / "bare", "resnet", NAMES, processor=None)
    assert "hold a preprocessor_config.json, or model.size, " in refusal(task, tmp_path, checkpoint=bare)
    lacking = save_classifier(tmp_path / "lacking", "resnet", NAMES)
    config = tmp_path / "lacking" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"depths": [2, 1]}))
    assert "model.checkpoint must hold all weights, " in refusal(task, tmp_path, checkpoint=lacking)


def test_a_file_of_other_weights_is_refused_in_one_line(task, tmp_path):
    def of(content, architecture="squeezenet1_1", **options):
        torch.save(content, tmp_path / "mine.pth")
        return refusal(task, tmp_path, architecture=architecture, checkpoint=str(tmp_path / "mine.pth"), **options)

    weights = small_torchvision("squeezenet1_1", 4).state_dict()
    first, *_, last = weights
    assert "3 classes, classifier.1.weight is (4, 512, 1, 1) and not (3, 512, 1, 1)" in of(weights)
    lacking = {name: one for name, one in weights.items() if name != last}
    named = {"classes": ["ant", "bee", "cat", "dog"]}
    assert f"{last} is missing" in of(lacking, **named)
    assert "it has no other" in of(weights | {"other": torch.zeros(1)}, **named)
    broken = weights | {first: torch.full_like(weights[first], torch.nan)}
    assert f"hold finite numbers, {first} has NaN" in of(broken, **named)
    assert "is missing" in of(weights, "resnet18")
    assert "hold tensors by name" in of([1, 2])
    assert "be the name of a classifier of torchvision, got 'resnet19'. Did you mean resnet1" in of([], "resnet19")
    assert "be a file of weights with model.architecture" in refusal(
        task, tmp_path, architecture="resnet18", checkpoint=str(tmp_path / "nowhere.pth")
    )


def test_a_pickle_for_weights_is_refused_and_not_run(task, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"fc.weight": Trap()}, tmp_path / "mine.pth")
    told = refusal(task, tmp_path, architecture="resnet18", checkpoint=str(tmp_path / "mine.pth"))
    assert "be a file of tensors alone" in told and not (tmp_path / "sprung").exists()


def test_weights_that_torchvision_cannot_deliver_are_told_in_one_line(task, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", "http://127.0.0.1:9/squeezenet-00000000.pth", False)
    told = refusal(task, tmp_path, architecture="squeezenet1_1")
    assert "be a file where http://127.0.0.1:9/squeezenet-00000000.pth cannot be had" in told


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["ant", "bee", "dog"], {}, "dataset must hold classes that mine knows (ant, bee, dog), got 'cat'."),
        (["LABEL_0", "LABEL_1"], {}, "dataset must hold as many classes as mine has outputs, 2, since these have no"),
        (["LABEL_0", "LABEL_1"], {"classes": ["ant"]}, "model.classes must name each of the 2 outputs of mine, got"),
        (NAMES, {"mean": [0.5, 0.5], "std": [1.0]}, "model.mean and model.std must have a value for each of 3 chan"),
    ],
)
def test_classes_and_numbers_that_do_not_fit_are_told_in_one_line(names, options, told, task, tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", names)
    assert told in refusal(task, tmp_path, checkpoint=folder, **options)


def test_colours_for_a_network_that_reads_grey_are_told_in_one_line(task, tmp_path):
    folder = save_classifier(tmp_path / "mine", "resnet", NAMES, channels=1)
    told = refusal(task, tmp_path, checkpoint=folder)
    assert told == "dataset must hold images of 1 channels, or of 1, for this model, got 3. Try dataset.colour=false."


@pytest.mark.parametrize("kind", ["transformers", "vision transformer", "squeezenet"])
def test_a_size_that_the_network_cannot_take_is_told_in_one_line(kind, task, tmp_path, monkeypatch):
    stated = {"mean": [0.5] * 3, "std": [0.2] * 3, "size": [4, 4]}
    if kind == "transformers":
        name, options = "mine", {"checkpoint": save_classifier(tmp_path / "mine", "vit", NAMES, processor=None)}
    else:
        name, file = "mine (squeezenet1_1)", tmp_path / "mine.pth"
        torch.save(small_torchvision("squeezenet1_1", 3).state_dict(), file)
        options = {"checkpoint": str(file), "architecture": "squeezenet1_1"}
        if kind == "vision transformer":
            net = VisionTransformer(16, 8, 1, 2, 16, 16, num_classes=3)
            monkeypatch.setattr(nets, "net_from_file", lambda *_: net)
    told = refusal(task, tmp_path, **options, **stated)
    assert told.startswith(f"model.size must be one that {name} takes (")
    assert told.endswith("), got [4, 4]. Try [224,224].")


def test_memory_that_runs_out_is_not_taken_for_a_wrong_size(task, tmp_path, monkeypatch):
    def short(*_):
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(classifier, "accuracy", short)
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory"):
        prepare(task, tmp_path, checkpoint=save_classifier(tmp_path / "mine", "resnet", NAMES))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": [8]}, "model.size must be a height and a width, got [8]"),
        ({"mean": [0.5]}, "model.mean must be given with model.std, got [0.5]"),
        ({"classes": ["a", "a"]}, "model.classes must be names that differ, got ['a', 'a']"),
        ({"mean": [0.5], "std": [0.0]}, "model.std must be above 0, got 0.0"),
    ],
)
def test_options_that_are_none_are_told_at_once(options, told):
    with pytest.raises(ConfigError) as caught:
        ImageClassifier(**options)
    assert told in str(caught.value)
